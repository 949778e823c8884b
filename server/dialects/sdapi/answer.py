"""A finished job → the answer to a call: pictures in base64, the parameters, and ``info``, a JSON string."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from fastapi import Response

from engine import __version__
from engine.formats.infotext import SAMPLER_LABELS, SCHEDULER_LABELS
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
    subseed = -1 if body.subseed is None else body.subseed
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * len(seeds),
        "negative_prompt": negative_prompt,
        "all_negative_prompts": [negative_prompt] * len(seeds),
        "seed": seeds[0] if seeds else first.seed,
        "all_seeds": seeds,
        "subseed": subseed,
        "all_subseeds": [subseed if subseed < 0 else subseed + place for place in range(len(seeds))],
        "subseed_strength": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": SAMPLER_LABELS[first.sampler],
        "cfg_scale": first.cfg_scale,
        "steps": first.steps,
        "batch_size": body.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": job.model,
        "sd_model_hash": (model.short_hash if model else None) or "",
        "sd_vae_name": None if first.vae is None else basename(first.vae),
        "sd_vae_hash": job.record.get("vae_hash"),
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": getattr(body, "denoising_strength", None),
        "extra_generation_params": {"Schedule type": SCHEDULER_LABELS[first.scheduler], **plan.notes},
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.started or job.created)),
        "clip_skip": first.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"stable-diffusion-engine {__version__}",
        "job_id": job.id,
    }


def json_response(content: dict[str, Any], status: int = 200) -> Response:
    """Answer ``content`` as JSON, whatever a caller sent in: NaN becomes null, half a surrogate pair stays escaped."""
    text = json.dumps(content, default=str)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    return Response(text, status, media_type="application/json")
