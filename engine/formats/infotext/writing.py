"""``GenerationRequest`` → AUTOMATIC1111's ``parameters`` text.

What that program has words for is written in these, so that its tools read it; the rest has keys of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.infotext.a1111_keys import pairs_of
from engine.formats.infotext.a1111_labels import a1111_label, written_schedule
from engine.formats.infotext.hires_keys import pairs_of_hires
from engine.formats.infotext.keys import FIRST_DENOISE, OWN, ordered
from engine.formats.infotext.labels import SAMPLER_LABELS, SCHEDULER_LABELS
from engine.formats.infotext.lines import PROGRAM, Infotext
from engine.formats.infotext.prompt_keys import pairs_of_reading
from engine.parameters import parameters_of
from engine.request import GenerationRequest
from engine.request_parts import Control, Lora
from engine.text.a1111.networks import LoraTag, written_tag
from engine.workflow.a1111_second import part_of_second


def infotext(
    request: GenerationRequest,
    *,
    model_name: str,
    model_hash: str | None,
    version: str = "",
    position: int = 0,
    lora_hashes: Mapping[str, str] | None = None,
    embedding_hashes: Mapping[str, str] | None = None,
    vae_hash: str | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Return the ``parameters`` text of picture ``position`` (from 0) of ``request``'s batch.

    A batch here is drawn from one noise tensor, so each of its pictures bears the request's seed, the batch's size and
    its own place; there is no seed that gives it alone. LoRAs stand behind the prompt, as tags; ``lora_hashes`` and
    ``embedding_hashes`` are those that are known, by name; ``more`` are further pairs, which go before those of the
    request. Raises ``BadRequest`` for a request without a seed, and for
    what no text can say: a LoRA whose name ends a tag, an upscaler whose name means something else there.
    """
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    pairs: dict[str, Any] = {
        "Steps": request.steps,
        **_sampling(request),
        "CFG scale": _plain(request.cfg_scale),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash or None,
        "Model": model_name or None,
        "VAE hash": vae_hash if request.vae is not None else None,
        "VAE": request.vae,
        **_denoise(request),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        **pairs_of_hires(request),
        **(more or {}),
        **_noise(request),
        **pairs_of_reading(request.prompt_reading),
        **{f"ControlNet {place}": _control(control) for place, control in enumerate(request.controls)},
        **pairs_of_hashes(lora_hashes, embedding_hashes),
        "Batch size": request.batch_size if request.batch_size > 1 else None,
        "Batch pos": position if request.batch_size > 1 else None,
        **_own(request),
        "Version": f"{PROGRAM} {version}".rstrip(),
    }
    plain = _plain if request.a1111 is None else _as_python
    written = {key: plain(value) for key, value in ordered(pairs).items() if value is not None}
    prompt = request.prompt + "".join(map(tag_of, request.loras))
    return Infotext(prompt=prompt, negative_prompt=request.negative_prompt, pairs=written).text()


def pairs_of_hashes(loras: Mapping[str, str] | None, embeddings: Mapping[str, str] | None) -> dict[str, str | None]:
    """Return what an infotext says of the files that its prompts name, given by name; None where there is none."""
    return {"Lora hashes": _listed(loras), "TI hashes": _listed(embeddings)}


def _listed(hashes: Mapping[str, str] | None) -> str | None:
    return ", ".join(f"{name}: {value}" for name, value in (hashes or {}).items()) or None


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    """Sampler and schedule, in the words of the program whose picture it is."""
    part = request.a1111
    if part is None:
        return {
            "Sampler": SAMPLER_LABELS[request.sampler],
            "Schedule type": SCHEDULER_LABELS[request.scheduler],
        }
    sampler = part.sampler or request.sampler
    return {
        "Sampler": a1111_label(sampler),
        "Schedule type": written_schedule(part.schedule or request.scheduler, sampler),
    }


def _noise(request: GenerationRequest) -> dict[str, Any]:
    if request.a1111 is None:
        return {"RNG": "CPU" if request.start_noise == "cpu" else "NV"}
    part, hires = request.a1111, request.hires
    samplers = [part.sampler or request.sampler]
    if hires is not None:
        samplers.append(part_of_second(part, hires).sampler or hires.sampler or request.sampler)
    return pairs_of(part, part.schedule or request.scheduler, *samplers)


def tag_of(lora: Lora) -> str:
    """Return the tag of a LoRA. Raises ``BadRequest`` for a name that no tag can hold."""
    text = lora.strength if lora.clip_strength is None else lora.clip_strength
    return written_tag(LoraTag(name=lora.name, text_strength=text, strength=lora.strength, rank=lora.rank))


def _denoise(request: GenerationRequest) -> dict[str, Any]:
    """The shares of the schedules that are run; AUTOMATIC1111 writes that of the second pass, where there is one."""
    own = request.denoise if request.denoise < 1 else None
    if request.hires is None:
        return {"Denoising strength": own}
    return {"Denoising strength": request.hires.denoise, FIRST_DENOISE: own}


def _control(control: Control) -> str:
    values = {
        "Module": "none",
        "Model": control.model,
        "Weight": control.strength,
        "Guidance Start": control.start,
        "Guidance End": control.end,
    }
    return ", ".join(f"{key}: {_plain(value)}" for key, value in values.items())


def _own(request: GenerationRequest) -> dict[str, Any]:
    """The parameters that have keys of our own, where they have another value than their default."""
    known = parameters_of(GenerationRequest)
    changed = {
        key: known[name].kind.to_json(value)
        for key, name in OWN.items()
        if (value := getattr(request, name)) != known[name].default
    }
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in changed.items()
    }


def _as_python(value: object) -> str:
    """A value as AUTOMATIC1111 writes it: numbers with a fraction keep their point."""
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
