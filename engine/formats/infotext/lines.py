"""AUTOMATIC1111's ``parameters`` text ⇄ ``GenerationRequest``: the prompts, then a line of ``Key: value`` pairs.

Knows which keys would change the picture and refuses those that this project cannot honour. The text cannot hold a
prompt that has a line starting with ``Negative prompt:``; every other prompt comes back as it was.
"""

from __future__ import annotations

import json
import re

from engine.errors import BadRequest
from engine.formats.foreign import request_from_places
from engine.formats.infotext.labels import (
    OWN_TIMESTEPS,
    SAMPLER_LABELS,
    SCHEDULER_LABELS,
    sampler_from_label,
    scheduler_from_label,
)
from engine.formats.json_text import read_json
from engine.parameters import to_json
from engine.request import GenerationRequest

LONGEST = 2**18
"""Characters of a text that is read."""

_PROGRAM = "stable-diffusion-engine"
_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\w[\w \-/]+")
_SIZE = re.compile(r"(\d+)x(\d+)")

_READ = {
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "Denoising strength",
    "Clip skip",
    "Batch size",
    "RNG",
    "Step noise",
    "Regions",
    "Prompt syntax",
}
_RANDOM = {"CPU": "cpu", "GPU": "cuda", "NV": "cuda"}
"""Whose generator drew the start noise, in AUTOMATIC1111's words: NV is a GPU's, computed on a CPU."""

_HARMLESS = {
    "Model hash",  # names the same file as Model
    "Batch pos",
    "Version",
    "User",
    "Created Date",
    "Source Identifier",
    "Lora hashes",
    "TI hashes",
    "Civitai resources",
    "Civitai metadata",
}
_HARMLESS_VALUES = {
    "Beta schedule alpha": "0.6",
    "Beta schedule beta": "0.6",
    "Emphasis": "No norm",
    "FP8 weight": "Disable",
}


def infotext(
    request: GenerationRequest, *, model_name: str, model_hash: str | None, version: str = "", position: int = 0
) -> str:
    """The ``parameters`` text of picture ``position`` (from 0) of ``request``'s batch.

    A batch here is drawn from one noise tensor, so each of its pictures bears the request's seed, the batch's size and
    its own place; there is no seed that gives it alone. Raises ``BadRequest`` for a request without a seed.
    """
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    pairs = {
        "Steps": request.steps,
        "Sampler": SAMPLER_LABELS[request.sampler],
        "Schedule type": SCHEDULER_LABELS[request.scheduler],
        "CFG scale": _plain(request.cfg_scale),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash or None,
        "Model": model_name or None,
        "Denoising strength": _plain(request.denoise) if request.denoise < 1 else None,
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        "RNG": "CPU" if request.start_noise == "cpu" else "NV",
        "Step noise": request.step_noise if request.step_noise != "cpu" else None,
        "Batch size": request.batch_size if request.batch_size > 1 else None,
        "Batch pos": position if request.batch_size > 1 else None,
        "Regions": json.dumps(to_json(request)["regions"], ensure_ascii=False) if request.regions else None,
        "Prompt syntax": request.prompt_syntax if request.prompt_syntax != "comfyui" else None,
        "Version": f"{_PROGRAM} {version}".rstrip(),
    }
    line = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value is not None)
    negative = f"\n{_NEGATIVE} {request.negative_prompt}" if request.negative_prompt else ""
    return f"{request.prompt}{negative}\n{line}"


def request_from_infotext(text: str) -> GenerationRequest:
    """The request that a ``parameters`` text stands for, as AUTOMATIC1111, Forge or this project wrote it.

    A picture's seed is its own there, so ``Batch size`` counts only in a text of ours. A text without ``RNG`` is read
    as one of noise that a CPU drew, for programs differ in what they leave out; AUTOMATIC1111 leaves out a GPU's.

    Raises ``BadRequest``, whose field names the key (``infotext Steps``), for a text without parameters, for a value
    out of range, and for every key that is not known to leave the picture as it is (hires, LoRA, VAE, variations, …).
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise BadRequest("infotext", text, f"text of at most {LONGEST} characters")
    head, _, line = text.rstrip().rpartition("\n")
    pairs = _pairs(line)
    ours = pairs.get("Version", "").startswith(_PROGRAM)
    _refuse_foreign(head, pairs, ours)
    sampler, scheduler = _schedule(pairs, ours)
    size = _SIZE.fullmatch(pairs["Size"])
    if size is None:
        raise BadRequest("infotext Size", pairs["Size"], "WIDTHxHEIGHT in pixels")
    prompt, negative_prompt = _prompts(head if ours else f"{head}\n".replace("\r\n", "\n")[:-1])
    return request_from_places(
        {
            "prompt": ("infotext prompt", prompt),
            "negative_prompt": ("infotext negative prompt", negative_prompt),
            "prompt_syntax": ("infotext Prompt syntax", pairs.get("Prompt syntax", "comfyui" if ours else "a1111")),
            "width": ("infotext Size", size[1]),
            "height": ("infotext Size", size[2]),
            "batch_size": ("infotext Batch size", pairs.get("Batch size", 1) if ours else 1),
            "steps": ("infotext Steps", pairs["Steps"]),
            "cfg_scale": ("infotext CFG scale", pairs["CFG scale"]),
            "sampler": ("infotext Sampler", sampler),
            "scheduler": ("infotext Schedule type", scheduler),
            "seed": ("infotext Seed", pairs["Seed"]),
            "start_noise": ("infotext RNG", _RANDOM.get(pairs.get("RNG", "CPU"), pairs.get("RNG"))),
            "step_noise": ("infotext Step noise", pairs.get("Step noise", "cpu")),
            "denoise": ("infotext Denoising strength", pairs.get("Denoising strength", 1)),
            "clip_skip": ("infotext Clip skip", pairs.get("Clip skip", 1)),
            "model": ("infotext Model", pairs.get("Model")),
            "regions": ("infotext Regions", pairs.get("Regions", "[]")),
        }
    )


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _quoted(value: str) -> str:
    """Quoted as AUTOMATIC1111 does where a comma, colon or newline would break the line, and where a reader would trim
    or unquote."""
    needs = any(char in value for char in ',:\n"') or value != value.strip()
    return json.dumps(value, ensure_ascii=False) if needs else value


def _pairs(line: str) -> dict[str, str]:
    """The parameters line's keys and values. Read in one pass: the line may be long and hostile."""
    pairs: dict[str, str] = {}
    at = 0
    while at < len(line):
        comma = _comma(line, at)
        key, colon, _ = line[at:comma].partition(":")
        if not colon or not _KEY.fullmatch(key.strip()):
            if line[at:comma].strip():
                raise BadRequest("infotext", line, "a last line of at least three Key: value pairs, joined by commas")
            at = comma + 1
            continue
        value, at = _value(line, at + len(key) + 1, comma)
        key = key.strip()
        if pairs.setdefault(key, value) != value:
            raise BadRequest(f"infotext {key}", value, "one value for each key")
    required = ("Steps", "Sampler", "CFG scale", "Seed", "Size")
    missing = [key for key in required if key not in pairs]
    if missing:
        raise BadRequest("infotext", line, f"a last line with {', '.join(required)}; {', '.join(missing)} missing")
    return pairs


def _comma(line: str, at: int) -> int:
    """The next comma's place, or the line's end."""
    found = line.find(",", at)
    return found if found >= 0 else len(line)


def _value(line: str, at: int, comma: int) -> tuple[str, int]:
    """The value that starts at ``at`` and, unless it is JSON, ends at ``comma``; and where the next pair starts.

    AUTOMATIC1111 quotes as JSON does; some of its extensions write whole JSON objects.
    """
    start = at + len(line[at:comma]) - len(line[at:comma].lstrip())
    if line.startswith(('"', "{", "["), start):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
        except (ValueError, RecursionError):
            return line[start:comma].strip(), comma + 1
        after = _comma(line, end)
        if not line[end:after].strip():
            return value if isinstance(value, str) else line[start:end], after + 1
    return line[start:comma].strip(), comma + 1


def _refuse_foreign(head: str, pairs: dict[str, str], ours: bool) -> None:
    """Refuse what would change the picture. Only we write a denoising strength without a picture to start from."""
    for key, value in pairs.items():
        harmless = key in _READ or key in _HARMLESS or _HARMLESS_VALUES.get(key) == value
        if not (harmless or (key == "Hashes" and _names_model_only(value))):
            raise BadRequest(f"infotext {key}", value, "a text without this key, which this engine does not support")
    if not ours and "Denoising strength" in pairs:
        allowed = "a text without it: neither a picture to start from nor a second pass is supported"
        raise BadRequest("infotext Denoising strength", pairs["Denoising strength"], allowed)


def _names_model_only(hashes: str) -> bool:
    try:
        names = read_json(hashes)
    except ValueError:
        return False
    return isinstance(names, dict) and set(names) <= {"model"}


def _schedule(pairs: dict[str, str], ours: bool) -> tuple[str, str]:
    """Sampler and scheduler. Without a schedule type it is the label's own ("DPM++ 2M Karras"), else "Uniform":

    every version that has "Automatic" writes the schedule type that the sampler then takes, if it takes one, and in
    versions before that a label without a suffix meant "Uniform".
    """
    try:
        sampler, scheduler = sampler_from_label(pairs["Sampler"])
        if "Schedule type" in pairs:
            scheduler = scheduler_from_label(pairs["Schedule type"], sampler)
    except BadRequest as error:
        key = {"sampler": "Sampler", "scheduler": "Schedule type"}[error.field]
        raise BadRequest(f"infotext {key}", error.value, error.allowed) from None
    if not ours and sampler in OWN_TIMESTEPS:
        scheduler = OWN_TIMESTEPS[sampler]
    return sampler, scheduler or "normal"


def _prompts(head: str) -> tuple[str, str]:
    """Prompt and negative prompt: the latter starts at the first line that says so, and may hold anything."""
    if head.startswith(_NEGATIVE):
        prompt, negative = "", head[len(_NEGATIVE) :]
    else:
        prompt, _, negative = head.partition("\n" + _NEGATIVE)
    return prompt, negative.removeprefix(" ")
