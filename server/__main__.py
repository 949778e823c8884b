"""``python -m server``: serve, or make an API key. Every setting is a flag here and a variable in the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from engine import EngineError
from engine.command_line import CALLERS_MISTAKE, FAILED, Parser, say
from server.settings import PREFIX, BadSettings, Settings, check_key_name, read_settings
from server.web.access import new_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status: 0, 1 for what went wrong, 2 for a caller's mistake."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["key"]:
        return _make_key(words[1:])
    flags = {name: text for name, text in vars(_parser().parse_args(words)).items() if text is not None}
    try:
        settings = read_settings(flags)
    except BadSettings as error:
        return say(error, CALLERS_MISTAKE)
    return _serve(settings)


def _serve(settings: Settings) -> int:
    import uvloop  # as the web framework, imported only where it is needed

    from server.observing.logs import configure
    from server.serving import CannotListen, serve
    from server.store import StoreUnusable

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
    key, digest = new_key()
    print(f"{key}\n\nThe key is shown only now. The server is told its hash:\n\n    {PREFIX}API_KEYS={name}:{digest}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m server",
        description="Serve pictures over HTTP. Each flag is also a variable in the environment: "
        f"--max-queued is {PREFIX}MAX_QUEUED; the flag wins.",
        epilog="python -m server key NAME makes an API key.",
    )
    for name, field in Settings.model_fields.items():
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if isinstance(field.default, bool) else {}
        default = "" if switch or field.default_factory else f" (default: {_shown(field.default)})"
        help_text = f"{field.description}{default}".replace("%", "%%")
        parser.add_argument("--" + name.replace("_", "-"), metavar="VALUE", help=help_text, **switch)
    return parser


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
