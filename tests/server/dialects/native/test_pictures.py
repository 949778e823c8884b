"""Pictures over HTTP are kept and converted, and nothing else is served in their place."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from server.settings import Settings
from tests.server.dialects.native.client import generate, picture


def test_pictures_are_served_for_ever_and_converted_on_the_way(client: httpx.Client) -> None:
    url = generate(client, width=64, height=64)["output_url"]
    png = httpx.get(url)
    assert "immutable" in png.headers["cache-control"]
    assert httpx.get(url, headers={"If-None-Match": png.headers["etag"]}).status_code == 304
    assert httpx.head(url).status_code == 200
    tags = {png.headers["etag"]}
    for suffix, form in ((".jpeg", "JPEG"), (".jpg", "JPEG"), (".webp", "WEBP"), (".jpeg?quality=10", "JPEG")):
        answer = httpx.get(url.removesuffix(".png") + suffix)
        assert (picture(answer).format, picture(answer).size) == (form, (64, 64))
        assert answer.headers["content-type"] == f"image/{form.lower()}"
        tags.add(answer.headers["etag"])
    assert len(tags) == 4


@pytest.mark.parametrize(
    "name",
    [
        "nothing.png",
        "cat.png",
        "x.gif",
        "jobs.sqlite",
        "..%2Fjobs.sqlite",
        "%2e%2e%2fjobs.sqlite",
        ".png",
        "a" * 300 + ".png",
    ],
)
def test_nothing_but_pictures_is_served(client: httpx.Client, name: str, settings: Settings) -> None:
    generate(client)
    (Path(settings.outputs) / "cat.png").write_bytes(b"another file")
    assert client.get(f"/images/{name}").status_code == 404


def test_thumbnails_are_small_never_enlarged_and_gone_with_their_picture(client: httpx.Client) -> None:
    job = generate(client, width=512, height=256)
    url = job["output_url"].removesuffix(".png")
    small = httpx.get(f"{url}.webp?width=128")
    assert (picture(small).format, picture(small).size) == ("WEBP", (128, 64))
    assert len(small.content) < len(httpx.get(f"{url}.png").content)
    again = httpx.get(f"{url}.webp?width=128", headers={"If-None-Match": small.headers["etag"]})
    assert again.status_code == 304
    assert httpx.get(f"{url}.webp?width=256").headers["etag"] != small.headers["etag"]
    assert picture(httpx.get(f"{url}.jpeg?width=2048")).size == (512, 256)
    client.delete(f"/jobs/{job['id']}")
    assert httpx.get(f"{url}.webp?width=128").status_code == 404
    assert httpx.get(f"{url}.webp?width=128", headers={"If-None-Match": small.headers["etag"]}).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [(".png?width=128", "width"), (".webp?width=8", "width"), (".webp?width=64&quality=9", "quality")],
)
def test_a_thumbnail_that_cannot_be_is_refused(client: httpx.Client, query: str, field: str) -> None:
    url = generate(client)["output_url"].removesuffix(".png")
    answer = httpx.get(url + query)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_storage_that_fails_is_no_defect_of_the_server(client: httpx.Client, settings: Settings) -> None:
    Path(settings.outputs).mkdir()
    name = f"{'0' * 32}-1-0.png"
    Path(settings.outputs, name).symlink_to(name)  # which leads to itself, so that reading it fails
    answer = client.get(f"/images/{name}")
    assert (answer.status_code, answer.json()["kind"]) == (503, "storage_failed")
    assert settings.outputs not in answer.text


@pytest.mark.parametrize("ending", ["jpeg", "webp"])
def test_a_converted_picture_gives_its_parameters(client: httpx.Client, ending: str) -> None:
    job = generate(client, prompt="ärger", seed=2**64 - 1, sampler="heun")
    data = httpx.get(job["output_url"].replace(".png", f".{ending}")).content
    found = client.post("/parameters", content=data).json()
    assert (found["source"], found["workflow"]) == ("picture", None)
    wanted = {"prompt": "ärger", "seed": 2**64 - 1, "sampler": "heun"}
    assert {name: found["parameters"][name] for name in wanted} == wanted
    plain = httpx.get(job["output_url"].replace(".png", f".{ending}?width=64")).content
    for file in (plain, data[:200]):
        answer = client.post("/parameters", content=file)
        assert (answer.status_code, answer.json()["field"]) == (400, "body")
