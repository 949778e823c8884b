"""Drives Replicate's dialect with Replicate's own client over HTTP: predictions and models."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from engine import GenerationRequest
from server.backends.instant import InstantBackend
from server.dialects.replicate import DIALECT, predictions
from server.dialects.replicate.predictions import read_preference
from tests.server.conftest import RunningServer
from tests.server.dialects.replicate.client import OpenClient, opened
from tests.server.following import all_jobs, post


@pytest.mark.parametrize("ref", ["local/other", "local/other:other"])
def test_run_gives_the_pictures_urls(server: RunningServer, client: Client, ref: str) -> None:
    given = {"prompt": "a", "width": 64, "height": 128, "num_outputs": 2, "num_inference_steps": 3, "seed": 5}
    urls = client.run(ref, input=given)
    assert [opened(url).size for url in urls] == [(64, 128), (64, 128)]
    expected = GenerationRequest(prompt="a", model="other", width=64, height=128, steps=3, seed=5)
    assert all_jobs(server)[0].requests[0] == expected
    assert [request.seed for request in all_jobs(server)[0].requests] == [5, 6]


def test_run_waits_also_where_it_takes_longer_than_the_server_holds(
    server: RunningServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client takes any status but ``starting`` for an end, when it asked the server to wait."""
    monkeypatch.setattr(predictions, "_LONGEST_WAIT", 1)
    server.backend.step_seconds = 0.1
    statuses: list[str] = []
    client._client.event_hooks["response"] = [lambda answer: statuses.append(json.loads(answer.read())["status"])]
    assert len(client.run("local/instant", input={"prompt": "a"})) == 1
    assert statuses[0] == "starting"
    assert statuses[-1] == "succeeded"


def test_a_whole_number_may_be_written_with_a_point(server: RunningServer, client: Client) -> None:
    given = {"prompt": "a", "num_outputs": 2.0, "num_inference_steps": 3.0, "seed": 5.0, "width": 64.0}
    urls = client.run("local/instant", input=given | {"output_format": "webp", "output_quality": 50.0})
    assert len(urls) == 2
    assert [(each.steps, each.seed, each.width) for each in all_jobs(server)[0].requests] == [(3, 5, 64), (3, 6, 64)]


def test_run_without_waiting(client: Client) -> None:
    assert len(client.run("local/instant:instant", input={"prompt": "a"}, wait=False)) == 1


def test_a_prompt_alone_has_the_defaults_and_a_fresh_seed(server: RunningServer, client: Client) -> None:
    for _ in range(2):
        client.run("local/instant", input={"prompt": "a", "seed": None})
    first, second = (job.requests[0] for job in all_jobs(server))
    assert first.seed is not None
    assert first.seed != second.seed
    assert first == GenerationRequest(prompt="a", model="instant", seed=first.seed)


def test_a_prediction_tells_how_it_stands_until_its_end(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 0.02
    given = {"prompt": "a", "seed": 7, "num_inference_steps": 50}
    prediction = client.predictions.create(version="instant", input=given)
    assert (prediction.status, prediction.output, prediction.input) == ("starting", None, given)
    assert prediction.model == "local/instant"
    logs, shares = [prediction.logs or ""], []
    while prediction.status not in ("succeeded", "failed", "canceled"):
        prediction.reload()
        logs.append(prediction.logs or "")
        if prediction.status == "processing" and prediction.progress is not None:
            assert prediction.progress.total == 50
            shares.append(prediction.progress.percentage)
    assert shares == sorted(shares)
    assert any(0 < share < 1 for share in shares)
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(logs))
    assert logs[-1].startswith("Using seed: 7\n")
    assert prediction.progress is not None
    assert (prediction.progress.percentage, prediction.progress.current) == (1.0, 50)
    assert prediction.error is None
    assert prediction.metrics is not None
    assert 0 < prediction.metrics["predict_time"] <= prediction.metrics["total_time"]
    assert prediction.created_at is not None
    assert prediction.started_at is not None
    assert prediction.completed_at is not None
    assert prediction.created_at <= prediction.started_at <= prediction.completed_at
    assert opened(prediction.output[0]).size == (512, 512)


def test_a_failure_is_the_models(client: Client) -> None:
    with pytest.raises(ModelError, match="the prompt asked for a failure"):
        client.run("local/instant", input={"prompt": "fail"})
    assert client.predictions.list()[0].status == "failed"


def test_the_list_goes_page_by_page(server: RunningServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_PAGE", 2)
    made = [client.predictions.create(version="instant", input={"prompt": str(n)}).id for n in range(5)]
    post(f"{server.url}/api/v1/generate", json={})  # another dialect's
    first = client.predictions.list()
    client.predictions.create(version="instant", input={"prompt": "one that comes between"})
    assert first.next is not None
    second = client.predictions.list(first.next)
    assert second.next is not None
    third = client.predictions.list(second.next)
    assert third.next is None
    assert [each.id for page in (first, second, third) for each in page] == made[::-1]


def test_predictions_of_other_dialects_are_not_there(server: RunningServer, client: Client) -> None:
    job = post(f"{server.url}/api/v1/generate", json={}).json()["id"]
    for call in (client.predictions.get, client.predictions.cancel):
        with pytest.raises(ReplicateError) as caught:
            call(job)
        assert (caught.value.status, caught.value.title) == (404, "Not found")


def test_models(server: RunningServer, client: Client) -> None:
    model = client.models.get("local/other")
    assert (model.id, model.visibility) == ("local/other", "private")
    assert model.latest_version is not None
    assert [version.id for version in model.versions.list()] == [model.latest_version.id] == ["other"]
    schema = model.versions.get("other").openapi_schema["components"]["schemas"]
    assert schema["Output"]["type"] == "array"
    assert schema["Input"]["properties"]["num_inference_steps"]["default"] == 20
    with pytest.raises(ReplicateError, match="local/instant, local/other"):
        client.models.get("stability-ai/sdxl")
    with pytest.raises(ReplicateError) as caught:
        model.versions.get("b" * 64)
    assert caught.value.status == 404
    assert client.accounts.current().username == "127.0.0.1"


def test_the_same_under_a_prefix_of_its_own_where_models_can_be_listed(
    server: RunningServer, open_client: OpenClient
) -> None:
    client = open_client(server, "/replicate")
    assert [model.id for model in client.models.list()] == ["local/instant", "local/other"]
    assert len(client.run("local/instant", input={"prompt": "a"})) == 1
    assert [each.status for each in client.predictions.list()] == ["succeeded"]
    with pytest.raises(ReplicateError) as caught:
        client.predictions.get("none")
    assert caught.value.title == "Not found"


def version_of(server: RunningServer, version: str) -> str:
    body = {"version": version, "input": {"prompt": "a"}}
    answer = post(f"{server.url}/v1/predictions", json=body).json()
    return str(answer.get("version", answer.get("status")))


def test_versions(server: RunningServer) -> None:
    digest = server.services.backend.models()[1].sha256
    assert digest is not None
    fine = ["other", digest, "local/other", "local/other:other", f"local/other:{digest}"]
    assert [version_of(server, version) for version in fine] == ["other"] * len(fine)
    wrong = ["else", "../other", "local/else", "you/other", "local/other:instant", "local/other:", "other:other", ""]
    assert [version_of(server, version) for version in wrong] == ["404"] * len(wrong)


def test_our_own_names_are_taken_too(server: RunningServer, client: Client) -> None:
    own = {"steps": 3, "cfg_scale": 5, "sampler": "heun", "scheduler": "karras", "clip_skip": 2, "batch_size": 2}
    assert len(client.run("local/instant", input={"prompt": "a", "seed": 1, **own})) == 2
    assert all_jobs(server)[0].requests == (GenerationRequest(prompt="a", seed=1, model="instant", **own),)


@pytest.mark.parametrize(("given", "format"), [("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_output_formats(client: Client, given: str, format: str) -> None:
    quality = {} if given == "png" else {"output_quality": 30}
    (url,) = client.run("local/instant", input={"prompt": "a", "output_format": given, **quality})
    assert opened(url).format == format


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait", 54),
        ("wait=5", 4.5),
        ("respond-async, wait=60", 54),
        ("", None),
        ("respond-async", None),
        ("waiting", None),
    ],
)
def test_prefer(header: str, seconds: float | None) -> None:
    """The server waits a little less than asked for, because the client does not wait long for the answer after
    that."""
    assert read_preference(header) == seconds


def test_an_idempotency_key_gives_the_same_prediction(server: RunningServer) -> None:
    body = {"version": "instant", "input": {"prompt": "a", "num_outputs": 2}}
    answers = [post(f"{server.url}/v1/predictions", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(all_jobs(server)) == 1


@pytest.mark.anyio
async def test_the_async_client(server: RunningServer, open_client: OpenClient) -> None:
    client = open_client(server)
    urls = await client.async_run("local/instant", input={"prompt": "a"})
    assert len(urls) == 1
    prediction = await client.predictions.async_create(version="instant", input={"prompt": "a"})
    await prediction.async_wait()
    await prediction.async_reload()
    assert prediction.status == "succeeded"
    kinds = [event.event.value async for event in prediction.async_stream()]
    assert kinds == ["logs", "output", "done"]
    assert len(await client.predictions.async_list()) == 2
    await client._async_client.aclose()


def test_whose_paths_they_are() -> None:
    ours = ["/v1/predictions", "/v1/predictions/x/stream", "/v1/models/a/b", "/v1/account", "/replicate/v1/models"]
    others = ["/", "/v1", "/v1/models", "/v1/models/a", "/v1/images/generations", "/hf", "/replicatex"]
    assert all(map(DIALECT.owns, ours))
    assert not any(map(DIALECT.owns, others))


def test_on_the_real_engine(engine_server: RunningServer, open_client: OpenClient) -> None:
    client = open_client(engine_server)
    given = {"prompt": "a boat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 5}
    events = list(client.stream("local/tiny", input={**given, "scheduler": "DPMSolverMultistep"}))
    outputs = [str(getattr(event.data, "url", event.data)) for event in events if event.event.value == "output"]
    assert outputs[0].startswith("data:image/jpeg")
    image = opened(outputs[-1])
    image.load()
    assert "Sampler: DPM++ 2M, Schedule type: SGM Uniform" in image.info["parameters"]
    ours = {"sampler": "dpmpp_2m", "scheduler": "sgm_uniform"}
    (url,) = client.run("local/tiny", input={**given, **ours})
    assert opened(url).tobytes() == image.tobytes()
    (other,) = client.run("local/other:other", input={**given, **ours})
    assert opened(other).tobytes() != image.tobytes()


def test_a_model_that_only_its_folder_tells_from_another_is_named_too(open_server: Callable[..., Any]) -> None:
    server = open_server(InstantBackend(names=("instant", "old/other", "new/other")))
    for version in ("old/other", "local/old/other", "local/old/other:old/other"):
        body = {"version": version, "input": {"num_inference_steps": 1}}
        made = httpx.post(f"{server.url}/v1/predictions", json=body, headers={"Prefer": "wait"}).json()
        assert (made["model"], made["status"]) == ("local/old/other", "succeeded")
