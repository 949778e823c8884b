"""Runs ``python -m server``: serve, or make an API key. Every setting is a flag, and a variable in the environment."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from engine import EngineError
from engine.command_line import CALLERS_MISTAKE, FAILED, Parser, imports_kept_from_collector, say
from server.command_line import BadSettings, read_settings
from server.settings import PREFIX, Settings, check_key_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a failure, 2 for a caller's mistake."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["key"]:
        return _make_key(words[1:])
    given = {name: value for name, value in vars(_parser().parse_args(words)).items() if value is not None}
    flags = {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        settings = read_settings(flags)
    except BadSettings as error:
        return say(error, CALLERS_MISTAKE)
    return _serve(settings)


def _serve(settings: Settings) -> int:
    with imports_kept_from_collector():
        import uvloop  # as the web framework, imported only where it is needed

        from server.observing.logs import configure
        from server.serving import CannotListen, serve
        from server.store import StoreUnusable

    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no log line shows these,
    logging._srcfile = None  # nor where in the code it was logged; looking that up takes longest
    configure(settings.log_format, settings.log_level)
    try:
        uvloop.run(serve(settings))
    except (CannotListen, StoreUnusable, EngineError, OSError) as error:
        return say(error, FAILED)
    except KeyboardInterrupt:
        return FAILED
    return 0


def _make_key(words: Sequence[str]) -> int:
    parser = Parser(prog="python -m server key", description="Make an API key.")
    parser.add_argument("name", help="who is to use it; shown in the log and in the list of jobs")
    name = parser.parse_args(words).name
    try:
        check_key_name(name)
    except ValueError as error:
        return say(error, CALLERS_MISTAKE)
    from server.web.access import new_key  # which imports the web framework

    key, digest = new_key()
    print(f"{key}\n\nThe key is shown only now. Give the server its hash:\n\n    {PREFIX}API_KEYS={name}:{digest}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m server",
        description="Serve pictures over HTTP. Each flag is also a variable in the environment: "
        f"--max-queued is {PREFIX}MAX_QUEUED; the flag wins.",
        epilog="python -m server key NAME makes an API key.",
    )
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        help_text, kind = field.description or "", _KINDS.get(type(default), {})
        if not isinstance(default, bool):
            help_text += f" (default: {_shown(default)})"
        parser.add_argument("--" + name.replace("_", "-"), metavar="VALUE", help=help_text.replace("%", "%%"), **kind)
    return parser


_KINDS: dict[type, dict[str, Any]] = {bool: {"nargs": "?", "const": "true"}, tuple: {"action": "append"}}
"""How flags differ by their default's type: true needs no value, and a list's flag may be given several times."""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None or value == {} else str(value)


if __name__ == "__main__":
    sys.exit(main())
