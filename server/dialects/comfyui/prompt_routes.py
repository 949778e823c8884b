"""Serves the routes that post and stop prompts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from engine import GenerationRequest
from engine.formats.comfyui import api_workflow
from server.dialects.comfyui.accepting import accept
from server.dialects.comfyui.bodies import done, json_object
from server.dialects.comfyui.broadcast import Broadcast, queue_remaining
from server.dialects.comfyui.history import DIALECT, number_of
from server.dialects.comfyui.prompt import read_prompt
from server.dialects.shared.bodies import json_body
from server.job import Job
from server.problems import bad_request
from server.store import Search
from server.web.routing import direct
from server.web.services import Services

_EXAMPLE = {
    "prompt": api_workflow(GenerationRequest(), checkpoint_file="AWPainting_v1.3.safetensors"),
    "client_id": "5f1b2a77-7d0c-4a1b-9f0e-1c2d3e4f5a6b",
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "object", "description": "a graph in API form: node id → {class_type, inputs}"},
        "client_id": {
            "type": "string",
            "maxLength": 200,
            "description": "the `clientId` of the websocket that gets the messages",
        },
        "prompt_id": {"type": "string", "description": "an id of the caller's choice; drawn if absent"},
        "front": {"type": "boolean", "description": "before the prompts that wait"},
        "number": {"type": "number", "description": "below the waiting prompts' numbers: before them"},
        "extra_data": {
            "type": "object",
            "description": "kept with the prompt; `preview_method` (none, default, auto, latent2rgb, taesd) says "
            "whether previews are sent: by default to clients that were connected when they posted",
        },
        "partial_execution_targets": {"type": "array", "items": {"type": "string"}, "description": "output nodes"},
    },
}
_STOP_SCHEMA = {"type": "object", "properties": {"prompt_id": {"type": "string"}}}


def add(router: APIRouter, services: Services, broadcast: Broadcast) -> None:
    @direct(router, "POST", "/prompt", openapi_extra=json_body(_SCHEMA, required=False, example=_EXAMPLE))
    async def post_prompt(http: Request) -> JSONResponse:
        """Queue a graph. 400 names all nodes, with class and input, that cannot be carried out. Where only some outputs
        can be made, the answer is 200, and its `node_errors` say what is wrong with the others."""
        prompt = read_prompt(await json_object(http))
        previews = broadcast.is_connected(prompt.client_id)
        with broadcast.answering(prompt.id, prompt.client_id):
            job, wrong = await accept(services, http, prompt, previews=previews)
        return JSONResponse({"prompt_id": job.id, "number": number_of(job), "node_errors": wrong})

    @router.get("/prompt")
    async def get_prompt() -> JSONResponse:
        """How many prompts wait or run."""
        return JSONResponse({"exec_info": {"queue_remaining": await queue_remaining(services)}})

    @direct(router, "POST", "/interrupt", openapi_extra=json_body(_STOP_SCHEMA, required=False, example={}))
    async def interrupt(http: Request) -> JSONResponse:
        """Stop the prompt of that id, whether it waits or runs; without one, the caller's that has run for longest.
        Those that wait, or run beside it, go on."""
        body = await json_object(http, may_be_empty=True)
        for job in await _to_stop(services, http, body.get("prompt_id")):
            await services.jobs.cancel(job.id)
        return done()


async def _to_stop(services: Services, http: Request, id: object) -> list[Job]:
    if id is None:
        client = services.client_of(http)
        running = Search(
            states={"running"}, dialects=DIALECT, client=client, newest_first=False, leave_out=("prompt", "extra_data")
        )
        return [job for job in (await services.jobs.find(running)).jobs if not job.cancel_requested][:1]
    if not isinstance(id, str):
        raise bad_request("prompt_id", id, "a prompt's id, or nothing to stop what runs")
    job = await services.jobs.get(id)
    return [job] if job is not None and job.dialect in DIALECT else []
