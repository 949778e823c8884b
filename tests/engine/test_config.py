"""Settings: how large UNet calls may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import BadRequest, EngineConfig


@pytest.mark.parametrize(
    ("settings", "gpu", "sizes"),
    [
        ({}, False, (2,)),
        ({}, True, (2, 4, 8, 16)),
        ({"unet_rows": 1}, True, (1,)),
        ({"unet_rows": 5}, True, (2, 4)),
        ({"unet_rows": 8}, False, (2, 4, 8)),
        ({"batching": "fast", "unet_rows": 3}, False, (1, 2, 3)),
        ({"batching": "fast", "unet_rows": 32}, True, (2, 4, 8, 16, 32)),
        ({"batching": "fast", "unet_rows": 1}, True, (1,)),
    ],
)
def test_sizes_of_calls(settings: dict[str, Any], gpu: bool, sizes: tuple[int, ...]) -> None:
    assert EngineConfig(**settings).call_sizes(gpu=gpu) == sizes


def test_folders_may_be_named_by_text() -> None:
    config = EngineConfig(cache_folder="cache", models_folders=["models", "/srv/models"])  # type: ignore[arg-type]
    assert config.cache_folder == Path("cache")
    assert config.models_folders == (Path("models"), Path("/srv/models"))
    with pytest.raises(BadRequest, match="cache_folder: 3"):
        EngineConfig(cache_folder=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["models", Path("models"), (), [], [3], None])
def test_models_folders_are_a_list_of_at_least_one(value: Any) -> None:
    with pytest.raises(BadRequest, match=r"models_folders: .*a list of at least one folder"):
        EngineConfig(models_folders=value)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(BadRequest, match="compile: 'max'"):
        EngineConfig(compile="max")  # type: ignore[arg-type]
