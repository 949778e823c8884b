"""Prompts: how many of CLIP's tokens one has, counted as it is read."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from engine.text.counting import ROOM, count_tokens
from server.dialects.native.describe import problems
from server.web.services import Services


class PromptBody(BaseModel):
    """A prompt whose tokens are counted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"prompt": "a (red:1.2) boat"}]})

    prompt: str
    prompt_syntax: Literal["comfyui", "a1111"] = "comfyui"


class TokensAnswer(BaseModel):
    """The length of a prompt."""

    tokens: int = Field(description="of the words, without start, end and weights; embeddings count as their names")
    chunks: int = Field(description="the encoder's calls that they need, of 75 tokens each")
    room: int = Field(description="tokens of the chunks together")


def add_routes(router: APIRouter, services: Services) -> None:
    """Add the route to ``router``."""

    @router.post(
        "/tokens",
        responses={200: {"model": TokensAnswer}, **problems(400, 401, 403, 413)},
        summary="Count a prompt's tokens",
        response_model=None,
    )
    async def tokens(body: PromptBody) -> JSONResponse:
        """The weights and LoRA tags of a prompt are no tokens. Nothing is made."""
        count = await asyncio.to_thread(count_tokens, body.prompt, body.prompt_syntax)
        return JSONResponse({"tokens": count.tokens, "chunks": count.chunks, "room": ROOM * count.chunks})
