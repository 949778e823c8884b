"""Requests for tests: small ones, random ones, and whether two results are the same."""

from __future__ import annotations

import random
from typing import Any

import torch

from engine import GenerationRequest, GenerationResult
from engine.request import SAMPLERS, SCHEDULERS


def small(**parameters: Any) -> GenerationRequest:
    return GenerationRequest(**({"width": 64, "height": 64, "steps": 4} | parameters))


def same(one: GenerationResult, other: GenerationResult) -> bool:
    pixels = zip(one.images, other.images, strict=True)
    return torch.equal(one.latents, other.latents) and all(a.tobytes() == b.tobytes() for a, b in pixels)


def random_request(seed: int) -> GenerationRequest:
    choose = random.Random(seed)
    return small(
        prompt=choose.choice(["a cat", "a (purple:1.3) bottle", "very long, " * 40, ""]),
        negative_prompt=choose.choice(["text", "", "blurry, " * 50]),
        width=choose.choice([64, 64, 64, 96]),
        steps=choose.randint(1, 6),
        cfg_scale=choose.choice([1.0, 4.0, 8.0]),
        sampler=choose.choice(SAMPLERS),
        scheduler=choose.choice([name for name in SCHEDULERS if name != "kl_optimal"]),
        seed=choose.randrange(2**64),
        start_noise=choose.choice(["cpu", "cpu", "cuda"]),
        step_noise=choose.choice(["cpu", "cpu", "cuda"]),
        batch_size=choose.choice([1, 1, 1, 3]),
        denoise=choose.choice([1.0, 1.0, 0.6]),
        clip_skip=choose.choice([1, 2]),
        model=choose.choice([None, None, "other"]),
    )
