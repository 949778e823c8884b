"""What AUTOMATIC1111 was recorded to draw: its noises are met, to rounding."""

from __future__ import annotations

import pytest
import torch

from engine.sampling.a1111.noise import PictureNoise, PictureSeed
from tests.pack_a1111 import A1111Case, cases_of

EXACT = 1e-6
"""The relative error of what is computed without a network."""

_DEVICES = {"NV": "cuda", "CPU": "cpu", "GPU": "cpu"}
"""``RNG`` → whose generator. Where the results were recorded ``GPU`` found no GPU, and took the CPU's."""


def _seeds(case: A1111Case) -> list[PictureSeed]:
    payload, settings = case.payload, case.settings
    size = tuple(payload.get(f"seed_resize_from_{side}", 0) // 8 for side in "hw")
    seeds = payload["seeds"]
    return [
        PictureSeed(
            seed=seed,
            drawn_on=_DEVICES[settings["randn_source"]],
            step_delta=settings.get("eta_noise_seed_delta", 0),
            variation_seed=other,
            variation_strength=payload.get("subseed_strength", 0.0),
            from_size=size if all(size) else None,
        )
        for seed, other in zip(seeds, payload.get("subseeds", [0] * len(seeds)), strict=True)
    ]


def _error(found: torch.Tensor, reference: torch.Tensor) -> float:
    assert found.shape == reference.shape
    return float((found - reference).norm() / reference.norm())


@pytest.mark.parametrize("case", cases_of("noise"), ids=lambda case: case.name)
def test_noise(case: A1111Case) -> None:
    shape, seeds = case.payload["shape"], _seeds(case)
    source = PictureNoise(seeds, torch.tensor([1.0]), (len(seeds), *shape))
    draws = [torch.stack([seed.start(shape) for seed in seeds])]
    draws += [source.white() for _ in range(case.payload["draws"] - 1)]
    assert _error(torch.stack(draws), case.record("noise")) <= EXACT


@pytest.mark.parametrize("case", cases_of("brownian"), ids=lambda case: case.name)
def test_brownian_path(case: A1111Case) -> None:
    seeds = _seeds(case)
    source = PictureNoise(seeds, torch.tensor(case.payload["sigmas"]), (len(seeds), *case.payload["shape"]))
    queries = torch.tensor(case.payload["queries"])
    found = torch.stack([source.brownian(*query) for query in queries])
    assert _error(found, case.record("noise")) <= EXACT
