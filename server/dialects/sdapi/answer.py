"""A finished job → the answer to a call: pictures in base64, the parameters, and ``info``, a JSON string."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from fastapi import Response

from engine import GenerationRequest, __version__
from engine.formats.infotext import SAMPLER_LABELS, SCHEDULER_LABELS
from engine.formats.infotext.a1111_labels import a1111_label, written_schedule
from engine.formats.png import text_chunks
from server.backends.checkpoints import ModelInfo
from server.dialects.sdapi.body import Generation, Img2Img
from server.dialects.sdapi.files import basename
from server.dialects.sdapi.plan import Plan
from server.dialects.sdapi.request import prompt_as_sent
from server.dialects.shared.waiting import read_picture
from server.job import Job
from server.web.services import Services


async def answer_of(job: Job, body: Generation, plan: Plan, services: Services) -> dict[str, Any]:
    """Write the answer for a job that has succeeded, or was interrupted: it has the pictures that are done.

    Raises a ``Problem`` where a picture is gone.
    """
    pictures = [await read_picture(services, picture.name) for picture in job.pictures]
    infotexts = [text_chunks(picture).get("parameters", "") for picture in pictures]
    wanted = body.send_images is not False
    model = next((info for info in services.backend.models() if info.name == job.model), None)
    return {
        "images": [base64.b64encode(picture).decode() for picture in pictures] if wanted else [],
        "parameters": _parameters(body),
        "info": json.dumps(_info(job, body, plan, infotexts, model)),
    }


def _parameters(body: Generation) -> dict[str, Any]:
    """Return the call's fields with their defaults. Unknown fields are left out: some callers send their password."""
    found = body.model_dump(include=set(type(body).model_fields))
    if isinstance(body, Img2Img) and not body.include_init_images:
        found |= {"init_images": None, "mask": None}
    return found


def _info(job: Job, body: Generation, plan: Plan, infotexts: list[str], model: ModelInfo | None) -> dict[str, Any]:
    """Write ``info``. Its prompts are as the caller sent them; those in the infotexts are as the engine reads them."""
    first = plan.first
    prompt, negative_prompt = prompt_as_sent(body, "prompt"), prompt_as_sent(body, "negative_prompt")
    seeds = [picture.seed for picture in job.pictures]
    subseeds = _subseeds(body, plan)[: len(seeds)]
    part = first.a1111
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * len(seeds),
        "negative_prompt": negative_prompt,
        "all_negative_prompts": [negative_prompt] * len(seeds),
        "seed": seeds[0] if seeds else first.seed,
        "all_seeds": seeds,
        "subseed": subseeds[0] if subseeds else -1,
        "all_subseeds": subseeds,
        "subseed_strength": part.subseed_strength if part else 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": a1111_label(part.sampler or first.sampler) if part else SAMPLER_LABELS[first.sampler],
        "cfg_scale": first.cfg_scale,
        "steps": first.steps,
        "batch_size": body.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": job.model,
        "sd_model_hash": (model.short_hash if model else None) or "",
        "sd_vae_name": None if first.vae is None else basename(first.vae),
        "sd_vae_hash": job.record.get("vae_hash"),
        "seed_resize_from_w": (part.seed_resize_from_w if part else 0) or -1,
        "seed_resize_from_h": (part.seed_resize_from_h if part else 0) or -1,
        "denoising_strength": getattr(body, "denoising_strength", None),
        "extra_generation_params": {"Schedule type": _schedule_type(first), **plan.notes},
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.started or job.created)),
        "clip_skip": first.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"stable-diffusion-engine {__version__}",
        "job_id": job.id,
    }


def _schedule_type(first: GenerationRequest) -> str:
    part = first.a1111
    if part is None:
        return SCHEDULER_LABELS[first.scheduler]
    return written_schedule(part.schedule or first.scheduler, part.sampler or first.sampler)


def _subseeds(body: Generation, plan: Plan) -> list[int]:
    """Return the variation seeds of the pictures, which count up as the seeds do; -1 where none is known."""
    parts = [each.a1111 for each in plan.requests]
    if all(part is not None and part.subseed_strength for part in parts):
        return [part.subseed for part in parts if part is not None]
    subseed = -1 if body.subseed is None else body.subseed
    return [subseed if subseed < 0 else subseed + place for place in range(len(parts))]


def json_response(content: dict[str, Any], status: int = 200) -> Response:
    """Answer ``content`` as JSON, whatever a caller sent in: NaN becomes null, half a surrogate pair stays escaped."""
    text = json.dumps(content, default=str)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return Response(text, status, media_type="application/json")
