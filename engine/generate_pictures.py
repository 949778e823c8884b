"""What ``python -m engine.generate`` does: makes the pictures that its flags ask for, and writes their files.

Knows the flags by name; how they are written is for ``generate_flags`` to know.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.command_line import chosen_folders, imports_kept_from_collector
from engine.config import EngineConfig
from engine.errors import BadRequest
from engine.folders import cache_folder
from engine.formats.comfyui import read_replaced, request_of, text_of_file
from engine.formats.png import (
    encode_png,
    picture_metadata,
    record_from_png,
    wanted_from_png,
    workflow_metadata,
    writable_folder,
    write_png,
)
from engine.generate_flags import PARAMETERS, given_parameters
from engine.missing import missing_files
from engine.models import catalog
from engine.models.hashes import recorded_hash, short_hash
from engine.parameters import to_json
from engine.pictures.inputs import Picture, Source, sources_of
from engine.request import GenerationRequest
from engine.workflow.from_request import field_of
from engine.workflow.needs import checkpoints_of
from engine.workflow.picture_sizes import LOADED
from engine.workflow.workflow import Workflow

if TYPE_CHECKING:
    from engine.handle import GenerationResult, Handle


def generate(options: argparse.Namespace) -> None:
    """Check everything that can be checked before torch is imported, which takes long, then make the pictures."""
    wanted = _wanted(options)
    config = EngineConfig(
        models_folders=chosen_folders(options),
        device=options.device,
        dtype=options.dtype,
        batching=options.batching,
        cache_folder=cache_folder(),
    )
    inputs = (*sources_of(options.input), _named_files(wanted))
    _ensure_all_there(wanted, config.models_folders, inputs)
    names = checkpoints_of(wanted) if isinstance(wanted, Workflow) else (wanted.model,)
    checkpoints = [catalog.file_of(name, config.models_folders) for name in names]
    folder = writable_folder(options.out)
    if options.save_latents is not None:
        _check_latents_file(options.save_latents)
    earlier = record_from_png(options.repeat) if options.repeat is not None else {}

    with imports_kept_from_collector():
        from engine import Engine
    engine = Engine(config)
    try:
        if None in names:
            _print_model(checkpoints[names.index(None)], config.models_folders)
        result = _watched(engine.submit(wanted, inputs=inputs))
    except Exception:
        engine.close()
        raise
    engine.close()
    if options.save_latents is not None:
        _write_latents(options.save_latents, result)
    if result.request is not None:
        _write(result, result.request, checkpoints[0], folder, options)
    else:
        _write_outputs(result, folder, options)
    if earlier and not any(hasattr(options, name) for name in PARAMETERS):
        _compare(earlier, result.record)


def _print_model(checkpoint: Path, folders: Sequence[Path]) -> None:
    first = checkpoint.stem == catalog.DEFAULTS[0]
    note = next((entry.note for entry in catalog.known_checkpoints() if entry.name == checkpoint.stem), None)
    advice = "" if first else f" ({note}); for {catalog.DEFAULTS[0]}, {catalog.how_to_get_the_first(folders)}"
    print(f"model: {checkpoint.stem}{advice}", file=sys.stderr)


def _check_latents_file(file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise BadRequest("save-latents", str(file), "a file in a folder that exists and is writable")


def _wanted(options: argparse.Namespace) -> GenerationRequest | Workflow:
    """Return what is to be made: the workflow or picture that is named, with the flags' values over its parameters.

    Raises ``BadRequest`` for flags beside a workflow that is more than a request: a parameter has no one place in it.
    """
    given = given_parameters(options)
    base: GenerationRequest | Workflow = GenerationRequest()
    if options.workflow is not None:
        base = read_replaced(text_of_file(options.workflow), given)
    elif options.repeat is not None:
        base = wanted_from_png(options.repeat, replaced=given)
    if isinstance(base, Workflow):
        try:
            base = request_of(base)
        except BadRequest as error:
            if given:
                name, value = next(iter(given.items()))
                allowed = f"no parameters beside a workflow that is more than a plain request ({error.field})"
                raise BadRequest(name, value, allowed) from None
            return base
    return dataclasses.replace(base, **given)


def _named_files(wanted: GenerationRequest | Workflow) -> dict[str, Picture]:
    """Return the pictures that a request names by the paths of their files."""
    names = () if isinstance(wanted, Workflow) else wanted.pictures
    return {name: Path(name) for name in names if Path(name).is_file()}


def _ensure_all_there(wanted: GenerationRequest | Workflow, folders: Sequence[Path], inputs: Sequence[Source]) -> None:
    """Raise ``BadRequest`` that names every file and picture that is asked for and is not there."""
    if isinstance(wanted, Workflow):
        errors = [wanted.located(error) for error in missing_files(wanted, folders, inputs)]
    else:
        request = wanted.with_seed()
        found = missing_files(request.workflow(), folders, inputs)
        errors = [BadRequest(field_of(request, each), each.value, _with_paths(each)) for each in found]
    if errors:
        raise BadRequest.together(errors)


def _with_paths(error: BadRequest) -> str:
    """What is allowed in the place of a file that is missing; a flag takes a picture's path too."""
    return f"a picture's file, or {error.allowed}" if isinstance(error.node, LOADED) else error.allowed


def _watched(handle: Handle) -> GenerationResult:
    """Wait for the handle's result, and show a progress bar meanwhile on a terminal."""
    from tqdm import tqdm

    with tqdm(unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for progress in handle.events():
            bar.set_description(progress.stage)
            if progress.steps is not None and bar.total != progress.steps:
                bar.reset(progress.steps)
            bar.update(progress.step - bar.n)
        return handle.result()


def _write(
    result: GenerationResult, request: GenerationRequest, checkpoint: Path, folder: Path, options: argparse.Namespace
) -> None:
    """Write all files before anything is printed: the reader of the output may have exited."""
    sha256 = recorded_hash(checkpoint)
    paths = []
    for index, image in enumerate(result.images):
        metadata = picture_metadata(
            request,
            checkpoint_file=checkpoint.name,
            model_name=checkpoint.stem,
            model_hash=short_hash(sha256) if sha256 else None,
            record=result.record,
            index=index,
            version=__version__,
        )
        paths.append(write_png(folder, f"{checkpoint.stem}-{result.seed}", encode_png(image, metadata)))
    for index, path in enumerate(paths):
        line: dict[str, Any] = {"path": str(path), "index": index, "request": _request_json(request)}
        line |= {"timings": dataclasses.asdict(result.timings), "record": result.record}
        print(json.dumps(line) if options.json else path, flush=True)


def _write_outputs(result: GenerationResult, folder: Path, options: argparse.Namespace) -> None:
    """Write the pictures of every output node of a workflow, then print their paths."""
    stem, lines = (options.workflow or options.repeat).stem, []
    for node, images in result.outputs.items():
        for index, image in enumerate(images):
            metadata = workflow_metadata(result.workflow, record=result.record, index=index)
            path = write_png(folder, f"{stem}-{_plain_name(node)}", encode_png(image, metadata))
            line = {"path": str(path), "node": node, "index": index}
            lines.append(line | {"timings": dataclasses.asdict(result.timings), "record": result.record})
    for line in lines:
        print(json.dumps(line) if options.json else line["path"], flush=True)


def _plain_name(node: str) -> str:
    """A node's id as a part of a file's name: editors use colons, and a file any characters."""
    return "".join(each if each.isalnum() else "_" for each in node)[:40]


def _request_json(request: GenerationRequest) -> dict[str, Any]:
    return to_json(request) | {"seed": request.seed}  # a whole number, however long


def _write_latents(file: Path, result: GenerationResult) -> None:
    from safetensors.torch import save

    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(save({"latents": result.latents}))
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _compare(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Print where a repeated picture was made differently: only the same record promises the same bytes."""
    differing = [f"{name} (then {then[name]}, now {now.get(name)})" for name in then if then[name] != now.get(name)]
    if differing:
        print(f"note: equal up to rounding only; made differently: {', '.join(differing)}", file=sys.stderr)
