"""Tests AUTOMATIC1111's settings and the names of its models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from engine import BadRequest, UnknownCheckpoint
from server.backends.instant import InstantBackend
from server.dialects.sdapi.models import model_titled, title
from server.dialects.sdapi.options import Chosen, Options
from server.problems import Problem
from tests.server.conftest import RunningServer
from tests.server.dialects.sdapi.calls import txt2img

OPTIONS_REFUSED: list[tuple[str, object]] = [
    ("sd_vae", "vae-ft-mse.safetensors"),
    ("eta_noise_seed_delta", 31337),
    ("tiling", True),
    ("tiling", 1),
    ("samples_format", "webp"),
    ("forge_additional_modules", ["x"]),
    ("randn_source", "NV"),
    ("CLIP_stop_at_last_layers", 0),
    ("CLIP_stop_at_last_layers", True),
    ("CLIP_stop_at_last_layers", 1.5),
    ("nobody_knows", 0),
]


@pytest.mark.parametrize(("name", "value"), OPTIONS_REFUSED)
def test_options_that_cannot_be_had_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises((Problem, BadRequest), match=name) as error:
        Options(InstantBackend()).read({name: value}, "override_settings.")
    assert error.value.field == f"override_settings.{name}"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sd_vae": "Automatic", "sd_unet": None, "eta_noise_seed_delta": 0.0, "emphasis": "No norm"},
        {"samples_save": False, "outdir_samples": "/tmp", "jpeg_quality": 3, "return_grid": True},
        {"sd_model_checkpoint": "", "CLIP_stop_at_last_layers": None},
    ],
)
def test_options_that_change_nothing_are_taken(settings: dict[str, Any]) -> None:
    assert Options(InstantBackend()).read(settings) in (Chosen(), Chosen(vae=""))


def test_a_model_goes_by_title_name_file_and_hash() -> None:
    models = InstantBackend().models()
    for info in models:
        assert info.short_hash is not None
        assert info.sha256 is not None
        spellings = (
            title(info), info.name, info.file, info.short_hash, info.sha256, f"{info.name} [{info.short_hash}]",
            f"{info.file}[{info.sha256}]",
        )  # fmt: skip
        for spelling in spellings:
            assert model_titled(spelling, models, "place") is info


@pytest.mark.parametrize(
    "wanted", ["", "inst", "INSTANT", "instant.safetensors [0123456789]", "../instant", 7, None, ["x"]]
)
def test_part_of_a_models_name_or_anothers_hash_means_nothing(wanted: object) -> None:
    with pytest.raises(UnknownCheckpoint, match=r"instant\.safetensors"):
        model_titled(wanted, InstantBackend().models(), "place")


def test_they_may_be_sent_back_with_another_model(client: httpx.Client) -> None:
    """Open WebUI does this."""
    options = client.get("/sdapi/v1/options").json()
    assert options["CLIP_stop_at_last_layers"] == 1
    options["sd_model_checkpoint"] = client.get("/sdapi/v1/sd-models").json()[1]["title"]
    response = client.post("/sdapi/v1/options", json=options)
    assert (response.status_code, response.json()) == (200, None)
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == options["sd_model_checkpoint"]
    assert json.loads(txt2img(client)["info"])["sd_model_name"] == "other"


def test_no_way_to_weigh_words_is_claimed_that_comfyuis_pictures_do_not_have(
    open_server: Callable[..., RunningServer],
) -> None:
    url = f"{open_server(sdapi_pictures='comfyui').url}/sdapi/v1/options"
    assert "emphasis" not in httpx.get(url).json()
    for sent in ("Original", "No norm"):
        assert httpx.post(url, json={"emphasis": sent}).status_code == 200
    assert httpx.post(url, json={"emphasis": "None"}).status_code == 422


def test_emphasis_can_be_chosen_for_automatic1111s_pictures(client: httpx.Client) -> None:
    assert client.get("/sdapi/v1/options").json()["emphasis"] == "Original"
    assert client.post("/sdapi/v1/options", json={"emphasis": "No norm"}).status_code == 200
    assert client.get("/sdapi/v1/options").json()["emphasis"] == "No norm"
    assert client.post("/sdapi/v1/options", json={"emphasis": "louder"}).status_code == 422


def test_a_model_is_loaded_when_it_is_chosen(server: Any, client: httpx.Client) -> None:
    assert "other" not in server.backend.status()["resident"]
    client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "other"})
    assert "other" in server.backend.status()["resident"]


def test_clip_skip_holds_for_calls_that_do_not_say(client: httpx.Client) -> None:
    client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2})
    assert json.loads(txt2img(client)["info"])["clip_skip"] == 2
    override = {"CLIP_stop_at_last_layers": 1}
    assert json.loads(txt2img(client, override_settings=override)["info"])["clip_skip"] == 1


@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        ({"sd_model_checkpoint": "none such"}, 404),
        ({"CLIP_stop_at_last_layers": 0}, 422),
        ({"CLIP_stop_at_last_layers": 2, "sd_vae": "x"}, 422),
        ({"CLIP_stop_at_last_layers": 2, "nobody_knows": True}, 422),
    ],
)
def test_all_or_nothing(client: httpx.Client, chosen: dict[str, Any], status: int) -> None:
    before = client.get("/sdapi/v1/options").json()
    response = client.post("/sdapi/v1/options", json=chosen)
    assert response.status_code == status
    assert client.get("/sdapi/v1/options").json() == before


def test_the_checkpoint_can_be_let_go_and_loaded(server: Any, client: httpx.Client) -> None:
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert "instant" not in server.backend.status()["resident"]
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert "instant" in server.backend.status()["resident"]
