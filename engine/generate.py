"""The command line: ``python -m engine.generate``. Parameters in, picture files out; the engine does the rest.

Exit status 0, 2 for a caller's mistake (said in one line), 1 for anything else.
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
from engine.command_line import (
    CALLERS_MISTAKE,
    FAILED,
    Parser,
    add_models_flag,
    chosen_folders,
    imports_kept_from_collector,
    say,
)
from engine.config import EngineConfig
from engine.errors import BadRequest, EngineError
from engine.folders import cache_folder
from engine.formats.comfyui import read_workflow
from engine.formats.png import (
    encode_png,
    picture_metadata,
    record_from_png,
    request_from_png,
    writable_folder,
    write_png,
)
from engine.models import catalog
from engine.models.hashes import recorded_hash, short_hash
from engine.request import GenerationRequest

if TYPE_CHECKING:
    from engine.handle import GenerationResult, Handle


class _Interrupted(int):
    """Exit status after Ctrl-C, when a thread may still be inside a long call that nothing can stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        _run(_parser().parse_args(arguments))
    except BadRequest as error:
        return say(error, CALLERS_MISTAKE)
    except BrokenPipeError:  # whoever read the paths is gone; the pictures are written
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 – closed by the end of the process
        return 0
    except (EngineError, OSError) as error:
        return say(error, FAILED)
    except KeyboardInterrupt:
        return say("stopped", _Interrupted(FAILED))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m engine.generate", description="Make a picture with a Stable Diffusion checkpoint.")
    for field in dataclasses.fields(GenerationRequest):
        default = "" if field.default is None else f" (default: {field.default})"
        name = "prompt" if field.name == "prompt" else "--" + field.name.replace("_", "-")
        options: dict[str, Any] = {"nargs": "?"} if field.name == "prompt" else {"metavar": "VALUE"}
        help_text = (field.metadata["help"] + default).replace("%", "%%")
        parser.add_argument(name, help=help_text, default=argparse.SUPPRESS, **options)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--workflow", metavar="FILE", type=Path, help="take the parameters of a ComfyUI workflow file")
    source.add_argument("--from-image", metavar="PNG", type=Path, help="repeat a picture from the parameters inside it")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("output"), help="where the PNG goes (default: output)"
    )
    parser.add_argument("--save-latents", metavar="FILE", type=Path, help="write the final latents too, as safetensors")
    parser.add_argument("--json", action="store_true", help="print one JSON line per picture instead of its path")
    add_models_flag(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--dtype", default="auto", help="auto, float32, float16 or bfloat16 (default: auto)")
    parser.add_argument("--batching", default=EngineConfig.batching, help="exact or fast (default: %(default)s)")
    return parser


def _run(options: argparse.Namespace) -> None:
    """Check all that can be checked before torch is imported and minutes are spent, then make the pictures."""
    request = _request(options)
    config = EngineConfig(
        models_folders=chosen_folders(options),
        device=options.device,
        dtype=options.dtype,
        batching=options.batching,
        cache_folder=cache_folder(),
    )
    checkpoint = catalog.file_of(request.model, config.models_folders)
    folder = writable_folder(options.out)
    if options.save_latents is not None:
        _check_latents_file(options.save_latents)
    then = record_from_png(options.from_image) if options.from_image is not None else {}

    with imports_kept_from_collector():
        from engine import Engine
    engine = Engine(config)
    try:
        if request.model is None:
            _tell_model(checkpoint, config.models_folders)
        result = _watched(engine.submit(request))
    except Exception:
        engine.close()
        raise
    engine.close()
    _write(result, checkpoint, folder, options)
    if then and not any(hasattr(options, field.name) for field in dataclasses.fields(GenerationRequest)):
        _compare(then, result.record)


def _tell_model(checkpoint: Path, folders: Sequence[Path]) -> None:
    first = checkpoint.stem == catalog.DEFAULTS[0]
    note = next((entry.note for entry in catalog.known_checkpoints() if entry.name == checkpoint.stem), None)
    advice = "" if first else f" ({note}); for {catalog.DEFAULTS[0]}, {catalog.how_to_get_the_first(folders)}"
    print(f"model: {checkpoint.stem}{advice}", file=sys.stderr)


def _check_latents_file(file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise BadRequest("save-latents", str(file), "a file in a folder that is there and can be written to")


def _request(options: argparse.Namespace) -> GenerationRequest:
    """The parameters of the workflow or picture, if one was named, with those given as flags in their stead."""
    given = {
        field.name: _value(field, getattr(options, field.name))
        for field in dataclasses.fields(GenerationRequest)
        if hasattr(options, field.name)
    }
    if options.workflow is not None:
        base = read_workflow(options.workflow)
    elif options.from_image is not None:
        base = request_from_png(options.from_image)
    else:
        base = GenerationRequest()
    return dataclasses.replace(base, **given)


def _value(field: dataclasses.Field[Any], text: str) -> Any:
    """A flag's text as its parameter's type; text that is none goes on as it is, to be refused by the request."""
    kind = type(field.default)
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        return text


def _watched(handle: Handle) -> GenerationResult:
    """The handle's result, with a progress bar meanwhile on a terminal."""
    from tqdm import tqdm

    with tqdm(unit="step", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for progress in handle.events():
            bar.set_description(progress.stage)
            if progress.steps is not None and bar.total != progress.steps:
                bar.reset(progress.steps)
            bar.update(progress.step - bar.n)
        return handle.result()


def _write(result: GenerationResult, checkpoint: Path, folder: Path, options: argparse.Namespace) -> None:
    """Write everything, then tell: whoever reads the output may be gone by then."""
    request, sha256 = result.request, recorded_hash(checkpoint)
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
    if options.save_latents is not None:
        _write_latents(options.save_latents, result)
    for index, path in enumerate(paths):
        line: dict[str, Any] = {"path": str(path), "index": index, "request": dataclasses.asdict(request)}
        line |= {"timings": dataclasses.asdict(result.timings), "record": result.record}
        print(json.dumps(line) if options.json else path, flush=True)


def _write_latents(file: Path, result: GenerationResult) -> None:
    from safetensors.torch import save

    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(save({"latents": result.latents}))
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _compare(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Say where a repeated picture was made differently: its bytes are promised only for the same record."""
    differing = [f"{name} (then {then[name]}, now {now.get(name)})" for name in then if then[name] != now.get(name)]
    if differing:
        print(f"note: equal up to rounding only; made differently: {', '.join(differing)}", file=sys.stderr)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(status, _Interrupted):
        os._exit(status)
    sys.exit(status)
