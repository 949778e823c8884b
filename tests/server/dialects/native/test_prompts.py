"""A prompt's tokens are counted over HTTP, in both languages of prompts."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    ("body", "tokens", "chunks"),
    [
        ({"prompt": ""}, 0, 1),
        ({"prompt": "a (red:1.2) boat"}, 3, 1),
        ({"prompt": "boat " * 80}, 80, 2),
        ({"prompt": "a <lora:ink:1> boat BREAK sea", "prompt_syntax": "a1111"}, 3, 2),
        ({"prompt": "a boat AND " + "sea " * 76, "prompt_syntax": "a1111"}, 76, 2),
    ],
)
def test_tokens_are_counted(client: httpx.Client, body: dict[str, str], tokens: int, chunks: int) -> None:
    answer = client.post("/tokens", json=body).json()
    assert answer == {"tokens": tokens, "chunks": chunks, "room": 75 * chunks}


def test_a_prompt_that_cannot_be_read_is_refused(client: httpx.Client) -> None:
    answer = client.post("/tokens", json={"prompt": "(a:1e999)", "prompt_syntax": "comfyui"})
    assert answer.status_code == 400
    assert client.post("/tokens", json={"promt": "a"}).status_code == 400
