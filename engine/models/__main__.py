"""The command line for the models folders: ``python -m engine.models list | pull | verify | add``.

Exit status 0, 2 for a caller's mistake (said in one line), 1 for anything else; loads no weights.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.command_line import CALLERS_MISTAKE, FAILED, Parser, add_models_flag, chosen_folders, say
from engine.errors import BadRequest, EngineError
from engine.models import catalog
from engine.models.catalog import CatalogEntry
from engine.models.folders import KINDS, Folders
from engine.models.hashes import Progress, remember, silent, verified_hash
from engine.models.incoming import AlreadyThere, checked_name, safe_name
from engine.models.inspecting import inspect_file
from engine.models.layouts import SUFFIXES, kind_folder
from engine.models.states import by_hand, folder_states, hash_words, known_entry, known_file, state_of, table
from engine.tensors.kinds import FileKind

if TYPE_CHECKING:
    from engine.models.download import Source


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except BadRequest as error:
        return say(error, CALLERS_MISTAKE)
    except (EngineError, OSError) as error:
        return say(error, FAILED)
    except KeyboardInterrupt:
        return say("stopped; what was downloaded is kept, run it again to go on from there", FAILED)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m engine.models",
        description="Manage the models folders: checkpoints, LoRAs, VAEs, … New files go into the first.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, help_text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
        add_models_flag(added)
        added.set_defaults(command=run)
        return added

    listing = command("list", _list, "Show the files of the catalog and all installed ones.")
    pull = command("pull", _pull, "Download a file of the catalog; an interrupted download continues.")
    verify = command(
        "verify", _verify, "Compute the SHA-256 of files, compare it with the catalog, check what is in them."
    )
    add = command("add", _add, "Bring a file, or what a URL gives, into the folder for its kind.")
    pull.add_argument("name", metavar="NAME", help="a name that list shows")
    verify.add_argument("names", metavar="NAME", nargs="*", help="names of installed files (default: all)")
    for parser_with_kind in (listing, verify):
        parser_with_kind.add_argument("--kind", choices=KINDS, help="files of this kind alone (default: all kinds)")
    add.add_argument("source", metavar="URL-OR-PATH")
    add.add_argument("--name", help="the file's name in the folder (default: the one it has)")
    add.add_argument(
        "--sha256", metavar="HEX", help="what its SHA-256 must be (default: the catalog's, if it is known)"
    )
    for parser_with_json in (listing, verify):
        parser_with_json.add_argument("--json", action="store_true", help="print one JSON line per file")
    for parser_with_token in (pull, add):
        parser_with_token.add_argument(
            "--token-env", metavar="VARIABLE", help="environment variable that holds a bearer token for the download"
        )
    return parser


def _list(options: argparse.Namespace) -> int:
    states = folder_states(chosen_folders(options), _kinds(options))
    print("\n".join(json.dumps(dataclasses.asdict(state)) for state in states) if options.json else table(states))
    return 0


def _pull(options: argparse.Namespace) -> int:
    from engine.models.download import download  # an HTTP client, which the other commands need not import

    entry = known_entry(options.name)
    folders = chosen_folders(options)
    places = [kind_folder(folder, entry.kind) / entry.file for folder in folders]
    target = next(filter(os.path.lexists, places), places[0])
    try:
        if os.path.lexists(target):
            raise AlreadyThere(target)
        if entry.download is None:
            raise BadRequest("name", entry.name, f"one with a direct download; {by_hand(entry, places[0].parent)}")
        with _bar(entry.name) as progress:
            sha256 = download(_source(options, entry.download, entry.sha256, progress), target)
    except AlreadyThere:
        print("it is there already; verify checks it", file=sys.stderr)
        print(target)
        return 0
    return _arrived(target, entry.kind, sha256)


def _verify(options: argparse.Namespace) -> int:
    folders, kinds = Folders(chosen_folders(options)), _kinds(options)
    found = folders.by_kind()
    files = {(kind, name): path for kind in kinds for name, path in found[kind].items()}
    if options.names:
        files = dict(_named(name, kinds, chosen_folders(options)) for name in options.names)
    bad = [path.name for (kind, name), path in files.items() if not _verified(kind, name, path, as_json=options.json)]
    if not files:
        print(f"there is no file in {' and '.join(map(str, chosen_folders(options)))}", file=sys.stderr)
    return say(f"{len(bad)} of {len(files)} failed: {', '.join(bad)}", FAILED) if bad else 0


def _named(name: str, kinds: Sequence[FileKind], folders: Sequence[Path]) -> tuple[tuple[FileKind, str], Path]:
    """The file of one of ``kinds`` called ``name``. Raises ``UnknownFile``, which speaks of the last of them."""
    for kind in kinds:
        found = Folders(folders).get(kind, name)
        if found is not None:
            return (kind, found.name), found
    found = catalog.find(name, folders) if kinds[0] == "checkpoints" else Folders(folders).find(kinds[0], name)
    return (kinds[0], found.name), found


def _kinds(options: argparse.Namespace) -> Sequence[FileKind]:
    return KINDS if options.kind is None else (options.kind,)


def _verified(kind: FileKind, name: str, path: Path, *, as_json: bool) -> bool:
    """Print what is found out about one file, and return whether it is sound."""
    with _bar(path.name) as progress:
        verified_hash(path, progress)
    state = state_of(path, kind, name)
    found, problem = None, None
    try:
        found = inspect_file(path)
    except EngineError as error:
        problem = getattr(error, "reason", str(error))
    parameters = None if found is None else found.parameters
    if as_json:
        print(json.dumps(dataclasses.asdict(state) | {"parameters": parameters, "problem": problem}))
    else:
        print(f"{path}\n  SHA-256     {state.sha256}\n  short hash  {hash_words(state)}")
        print(f"  content     {problem if found is None else f'{found.words}, {found.parameters:,} parameters'}")
    return problem is None and state.hash != "differs"


def _add(options: argparse.Namespace) -> int:
    from engine.models.download import copy, download, remote_name

    is_url = "://" in options.source
    name = options.name
    if name is None:
        name = remote_name(_source(options, options.source)) if is_url else safe_name(Path(options.source).name)
    if name is None:
        raise BadRequest("name", None, f"--name FILE: the source names no file that ends in {', '.join(SUFFIXES)}")
    folder = chosen_folders(options)[0]
    target = folder / checked_name(name)
    sha256 = _expected_hash(options.sha256, known_file(target))
    places = {kind: kind_folder(folder, kind) / name for kind in KINDS}
    for place in (target, *places.values()):
        if os.path.lexists(place):
            raise AlreadyThere(place)
    with _bar(name) as progress:
        if is_url:
            digest = download(_source(options, options.source, sha256, progress), target, places.__getitem__)
        else:
            path = Path(options.source)
            digest = copy(path, places[inspect_file(path).kind], sha256=sha256, progress=progress)
    kind = next(kind for kind, place in places.items() if os.path.lexists(place))
    return _arrived(places[kind], kind, digest)


def _source(options: argparse.Namespace, url: str, sha256: str | None = None, progress: Progress = silent) -> Source:
    from engine.models.download import Source

    return Source(url=url, sha256=sha256, token=_token(options.token_env), progress=progress, note=_note)


def _token(variable: str | None) -> str | None:
    """Read the token from the environment variable. Raises ``BadRequest``, which never shows it."""
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise BadRequest("token-env", variable, "an environment variable that holds a token, ASCII without spaces")
    return token


def _expected_hash(given: str | None, entry: CatalogEntry | None) -> str | None:
    known = entry.sha256 if entry else None
    if given is None:
        return known
    if not re.fullmatch(r"[0-9a-fA-F]{64}", given):
        raise BadRequest("sha256", given, "64 hexadecimal digits")
    if known not in (None, given.lower()):
        raise BadRequest("sha256", given, f"what the catalog knows for this name: {known}")
    return given.lower()


def _arrived(path: Path, kind: FileKind, sha256: str) -> int:
    remember(path, sha256)
    print(f"SHA-256 {sha256}, short hash {hash_words(state_of(path, kind))}", file=sys.stderr)
    print(path)
    return 0


def _note(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)  # above a bar, where there is one


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:

        def show(done: int, total: int | None) -> None:
            if bar.disable:
                return
            if bar.n == 0:
                bar.initial = bar.n = bar.last_print_n = done  # what an earlier run brought is no part of the speed
            bar.total = total
            bar.update(done - bar.n)

        yield show


if __name__ == "__main__":
    sys.exit(main())
