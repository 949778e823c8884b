"""The lists of files, and the names by which calls find them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from engine.tensors.kinds import FileKind
from server.backends.checkpoints import FileInfo
from server.dialects.sdapi.files import file_named
from server.problems import Problem
from tests.server.conftest import running
from tests.server.dialects.sdapi.calls import client_of
from tests.server.dialects.sdapi.plans import Stocked
from tests.server.queues import settings_in


class Refreshed(Stocked):
    """A backend whose folders have one more LoRA once they are read again."""

    fresh = False

    def refresh(self) -> None:
        self.fresh = True

    def files(self, kind: FileKind) -> list[FileInfo]:
        more = [FileInfo(name="new.safetensors", size=1)] if kind == "loras" and self.fresh else []
        return super().files(kind) + more


@pytest.fixture
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(settings_in(tmp_path_factory.mktemp("server")), Refreshed()) as server:
        yield from client_of(server)


def names(client: httpx.Client, path: str, key: str = "name") -> list[str]:
    return [each[key] for each in client.get(path).json()]


def test_files_are_listed_by_the_names_that_calls_have_for_them(client: httpx.Client) -> None:
    assert names(client, "/sdapi/v1/sd-vae", "model_name") == ["soft.safetensors"]
    assert names(client, "/sdapi/v1/loras") == ["ink"]
    assert names(client, "/sdapi/v1/upscalers") == ["None", "Lanczos", "Nearest", "4x-sharp"]
    assert list(client.get("/sdapi/v1/embeddings").json()["loaded"]) == ["neg"]
    assert client.get("/controlnet/model_list").json() == {"model_list": ["control_canny"]}
    assert "none" in client.get("/controlnet/control_types").json()["control_types"]["All"]["module_list"]


def test_lists_are_fresh_right_after_a_refresh(client: httpx.Client) -> None:
    for name in ("refresh-checkpoints", "refresh-vae", "refresh-embeddings", "refresh-loras"):
        response = client.post(f"/sdapi/v1/{name}")
        assert (response.status_code, response.json()) == (200, None)
    assert names(client, "/sdapi/v1/loras") == ["ink", "new"]


def test_a_vae_that_is_chosen_is_shown_and_used(client: httpx.Client) -> None:
    assert client.get("/sdapi/v1/options").json()["sd_vae"] == "Automatic"
    assert client.post("/sdapi/v1/options", json={"sd_vae": "soft.safetensors"}).status_code == 200
    assert client.get("/sdapi/v1/options").json()["sd_vae"] == "soft.safetensors"


@pytest.mark.parametrize(
    "wanted", ["sub/soft.safetensors", "sub\\soft.safetensors", "soft.safetensors", "soft", "soft [ab12]"]
)
def test_a_file_goes_by_path_name_and_stem(wanted: str) -> None:
    assert file_named(wanted, Stocked().files("vae"), "place") == "sub/soft.safetensors"


@pytest.mark.parametrize("wanted", ["sof", "", None, 7, "../soft", "SOFT"])
def test_anything_else_names_none(wanted: object) -> None:
    with pytest.raises(Problem, match=r"sub/soft\.safetensors") as error:
        file_named(wanted, Stocked().files("vae"), "place")
    assert error.value.field == "place"
