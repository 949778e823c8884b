"""``GenerationRequest`` → AUTOMATIC1111's ``parameters`` text.

What that program has words for is written in these, so that its tools read it; the rest has keys of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.errors import BadRequest
from engine.formats.infotext.a1111_keys import pairs_of
from engine.formats.infotext.a1111_labels import A1111_SCHEDULE_LABELS, a1111_label
from engine.formats.infotext.keys import FIRST_DENOISE, HIRES_SEED, OWN
from engine.formats.infotext.labels import LATENT_UPSCALERS, SAMPLER_LABELS, SCHEDULER_LABELS
from engine.formats.infotext.lines import PROGRAM, Infotext
from engine.formats.infotext.prompt_keys import pairs_of_reading
from engine.parameters import parameters_of, to_json
from engine.request import GenerationRequest
from engine.request_parts import Control, Hires, Lora
from engine.text.a1111.networks import LoraTag, written_tag


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
) -> str:
    """Return the ``parameters`` text of picture ``position`` (from 0) of ``request``'s batch.

    A batch here is drawn from one noise tensor, so each of its pictures bears the request's seed, the batch's size and
    its own place; there is no seed that gives it alone. LoRAs stand behind the prompt, as tags; ``lora_hashes`` and
    ``embedding_hashes`` are those that are known, by name. Raises ``BadRequest`` for a request without a seed, and for
    what no text can say: a LoRA whose name ends a tag, an upscaler whose name means something else there.
    """
    if request.seed is None:
        raise BadRequest("seed", None, "a seed that has been drawn: request.with_seed()")
    pairs = {
        "Steps": request.steps,
        **_sampling(request),
        "CFG scale": request.cfg_scale,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model_hash or None,
        "Model": model_name or None,
        "VAE hash": vae_hash if request.vae is not None else None,
        "VAE": request.vae,
        **_denoise(request),
        "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
        **_noise(request),
        **pairs_of_reading(request.prompt_reading),
        **({} if request.hires is None else _hires(request.hires)),
        **{f"ControlNet {place}": _control(control) for place, control in enumerate(request.controls)},
        **pairs_of_hashes(lora_hashes, embedding_hashes),
        "Batch size": request.batch_size if request.batch_size > 1 else None,
        "Batch pos": position if request.batch_size > 1 else None,
        **_own(request),
        "Version": f"{PROGRAM} {version}".rstrip(),
    }
    written = {key: _plain(value) for key, value in pairs.items() if value is not None}
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
    schedule = part.schedule or request.scheduler
    return {
        "Sampler": a1111_label(part.sampler or request.sampler),
        "Schedule type": A1111_SCHEDULE_LABELS.get(schedule) or SCHEDULER_LABELS[schedule],
    }


def _noise(request: GenerationRequest) -> dict[str, Any]:
    if request.a1111 is None:
        return {"RNG": "CPU" if request.start_noise == "cpu" else "NV"}
    return pairs_of(request.a1111, request.a1111.sampler or request.sampler)


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


def _hires(hires: Hires) -> dict[str, Any]:
    upscaler = hires.upscaler or LATENT_UPSCALERS[hires.method]
    if hires.upscaler is not None and hires.upscaler.startswith("Latent"):
        raise BadRequest("hires.upscaler", hires.upscaler, "a name that no way to scale latents has in the text")
    return {
        "Hires upscale": (2.0 if hires.scale is None else hires.scale) if hires.width is None else None,
        "Hires resize": None if hires.width is None else f"{hires.width}x{hires.height}",
        "Hires steps": hires.steps,
        "Hires upscaler": upscaler,
        "Hires sampler": None if hires.sampler is None else SAMPLER_LABELS[hires.sampler],
        "Hires schedule type": None if hires.scheduler is None else SCHEDULER_LABELS[hires.scheduler],
        "Hires CFG Scale": hires.cfg_scale,
        "Hires prompt": hires.prompt,
        "Hires negative prompt": hires.negative_prompt,
        HIRES_SEED: hires.seed,
    }


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
    values = to_json(request)
    defaults = {name: each.default for name, each in parameters_of(GenerationRequest).items()}
    changed = {key: values[name] for key, name in OWN.items() if getattr(request, name) != defaults[name]}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in changed.items()
    }


def _plain(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
