"""The native API over HTTP: what is asked for is what is made, answered in every form, waited for or not."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from PIL import Image

from engine import GenerationRequest
from engine.png import request_from_png
from engine.request import MAX_SEED, SAMPLERS, SCHEDULERS
from engine.workflow import api_workflow, editor_workflow
from server.fake import InstantBackend
from server.settings import Settings
from tests.server.conftest import RunningServer
from tests.server.following import all_jobs, wait_for

JSON = dict[str, Any]


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=60) as client:
        yield client


def generate(client: httpx.Client, expected: int = 200, **body: Any) -> JSON:
    answer = client.post("/generate", json=body)
    assert answer.status_code == expected, answer.text
    told: JSON = answer.json()
    return told


def picture(answer: httpx.Response) -> Image.Image:
    return Image.open(io.BytesIO(answer.content))


def test_the_missions_client_works_unchanged(server: RunningServer) -> None:
    def generate_image(prompt: str, negative_prompt: str = "", size: tuple[int, int] = (512, 512)) -> str:
        payload = {"prompt": prompt, "negative_prompt": negative_prompt, "width": size[0], "height": size[1]}
        response = requests.post(f"{server.url}/api/v1/generate", json=payload, timeout=60)
        url: str = response.json()["output_url"]
        return url

    made = requests.get(generate_image("a boat", size=(64, 128)), timeout=60)
    assert made.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(made.content)).size == (64, 128)
    assert request_from_png(made.content).prompt == "a boat"
    assert request_from_png(made.content).negative_prompt == ""


def test_nothing_asked_for_is_the_workflows_own_picture(client: httpx.Client) -> None:
    answer = client.post("/generate")
    assert answer.status_code == 200
    expected = {**vars(GenerationRequest()), "model": "instant"}
    assert answer.json()["parameters"] == expected
    assert generate(client)["parameters"] == expected


def test_every_parameter_arrives_and_is_told(client: httpx.Client) -> None:
    asked: JSON = {
        "prompt": "ein (Häuschen:1.2) 🏠",
        "negative_prompt": "",
        "width": 72,
        "height": 64,
        "batch_size": 2,
        "steps": 3,
        "cfg_scale": 4.5,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "seed": MAX_SEED,
        "denoise": 0.5,
        "clip_skip": 2,
        "model": "other",
    }
    told = generate(client, **asked)
    assert told["parameters"] == asked
    assert told["state"] == "succeeded"
    assert (told["seed"], told["model"], told["job_id"]) == (MAX_SEED, "other", told["id"])
    assert told["output_url"] == told["images"][0]["url"]
    assert [(made["index"], made["request"], made["seed"]) for made in told["images"]] == [
        (0, 0, MAX_SEED),
        (1, 0, MAX_SEED),
    ]
    assert {"queued", "sample", "decode", "total"} <= told["timings"].keys()
    png = httpx.get(told["images"][1]["url"]).content
    assert vars(request_from_png(png)) == asked | {"model": "other.safetensors"}


def test_count_counts_seeds_on_and_over_the_end(client: httpx.Client) -> None:
    told = generate(client, seed=MAX_SEED, count=3, steps=1, width=64, height=64)
    assert [made["seed"] for made in told["images"]] == [MAX_SEED, 0, 1]
    assert told["count"] == 3
    alone = generate(client, seed=0, steps=1, width=64, height=64)
    pixels = [picture(httpx.get(url)).tobytes() for url in (told["images"][1]["url"], alone["output_url"])]
    assert pixels[0] == pixels[1]


def test_seeds_may_be_text_and_fresh_ones_are_drawn_and_told(client: httpx.Client) -> None:
    small = {"steps": 1, "width": 64, "height": 64}
    assert generate(client, seed="18446744073709551615", **small)["seed"] == MAX_SEED
    assert generate(client, seed=0, **small)["seed"] == 0
    drawn = [generate(client, seed=seed, **small)["seed"] for seed in (None, -1, "-1", None)]
    assert len(set(drawn)) == 4
    counted = generate(client, seed=None, count=2, **small)
    assert (counted["images"][1]["seed"] - counted["images"][0]["seed"]) % (MAX_SEED + 1) == 1


def test_base64_and_path_are_the_same_bytes_as_the_url(client: httpx.Client) -> None:
    told = generate(client, response_format="base64", count=2)
    for made in told["images"]:
        assert base64.b64decode(made["base64"]) == httpx.get(made["url"]).content
        assert made["path"] is None
    made = generate(client, response_format="path")["images"][0]
    with open(made["path"], "rb") as file:
        assert file.read() == httpx.get(made["url"]).content
    assert made["base64"] is None


def test_png_is_the_picture_itself(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"response_format": "png", "seed": 7})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "7"
    assert httpx.get(answer.headers["content-location"]).content == answer.content
    assert client.get(f"/jobs/{answer.headers['x-job-id']}").json()["seed"] == 7
    assert "2 pictures" in generate(client, 400, response_format="png", count=2)["detail"]


def test_a_job_that_is_not_waited_for_is_told_at_once(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.05
    for headers, body in (({}, {"async": True}), ({"Prefer": "respond-async"}, {})):
        answer = client.post("/generate", json={"prompt": "a boat", **body}, headers=headers)
        assert answer.status_code == 202
        told = answer.json()
        assert told["state"] in ("queued", "running")
        assert answer.headers["location"] == told["url"] == f"{server.url}/api/v1/jobs/{told['id']}"
        assert told["output_url"] is None
        server.backend.step_seconds = 0.0
        wait_for(lambda url=told["url"]: httpx.get(url).json()["state"] == "succeeded")  # type: ignore[misc]
        assert httpx.get(told["url"]).json()["output_url"].endswith(".png")


def test_prefer_wait_waits_as_long_as_it_says(client: httpx.Client, server: RunningServer) -> None:
    prefer = {"Prefer": "respond-async, wait=60"}
    assert client.post("/generate", json={}, headers=prefer).status_code == 200
    server.backend.step_seconds = 30
    answer = client.post("/generate", json={}, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 202
    assert client.post(f"/jobs/{answer.json()['id']}/cancel").status_code == 200


def test_an_idempotency_key_gives_the_same_job_again(client: httpx.Client, server: RunningServer) -> None:
    body = {"prompt": "a boat", "seed": None, "count": 2}
    first = client.post("/generate", json=body, headers={"Idempotency-Key": "once"}).json()
    again = client.post("/generate", json={**body, "idempotency_key": "once"}).json()
    assert first["id"] == again["id"]
    assert first["images"] == again["images"]
    assert len(all_jobs(server)) == 1
    conflict = generate(client, 409, **(body | {"prompt": "a house"}), idempotency_key="once")
    assert conflict["kind"] == "idempotency_conflict"
    for other in ({"priority": 1}, {"webhook_url": "http://127.0.0.1:9/"}):
        assert generate(client, 409, **body, **other, idempotency_key="once")["kind"] == "idempotency_conflict"
    both = client.post("/generate", json={"idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
    assert (both.status_code, both.json()["field"]) == (400, "idempotency_key")


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        ({"steps": 0}, "steps", "1 to 10000"),
        ({"steps": "20"}, "steps", "1 to 10000"),
        ({"steps": True}, "steps", "1 to 10000"),
        ({"width": 100}, "width", "multiple of 8"),
        ({"cfg_scale": None}, "cfg_scale", "0 to 100"),
        ({"sampler": "dpmpp_2"}, "sampler", "dpmpp_2m"),
        ({"seed": 2**64}, "seed", str(MAX_SEED)),
        ({"seed": "abc"}, "seed", str(MAX_SEED)),
        ({"seed": 1.5}, "seed", str(MAX_SEED)),
        ({"prompt": 5}, "prompt", "text"),
        ({"prompt": "\ud800"}, "prompt", "surrogate"),
        ({"promt": "a boat"}, "promt", "nearest: prompt"),
        ({"CFG": 7}, "CFG", "only known parameters"),
        ({"\ud800": 1}, "\\ud800", "only known parameters"),
        ({"x" * 10**6: 1}, "x" * 80, "only known parameters"),
        ({"prompt": "x" * 20_001}, "prompt", "at most 20000"),
        ({"negative_prompt": "x" * 20_001}, "negative_prompt", "at most 20000"),
        ({"count": 0}, "count", "1 to 64"),
        ({"count": 65}, "count", "1 to 64"),
        ({"count": 2, "batch_size": 33}, "batch_size", "64 pictures"),
        ({"response_format": "jpeg"}, "response_format", "base64"),
        ({"async": "yes"}, "async", "true or false"),
        ({"async": True, "response_format": "base64"}, "response_format", "url or path"),
        ({"priority": 11}, "priority", "-10 to 10"),
        ({"webhook_url": "ftp://example.org"}, "webhook_url", "https"),
        ({"webhook_url": 5}, "webhook_url", "https"),
        ({"webhook_events": ["finished"]}, "webhook_events", "webhook_url"),
        ({"webhook_url": "https://example.org", "webhook_events": ["ended"]}, "webhook_events", "finished"),
        ({"webhook_url": "https://example.org", "webhook_events": "finished"}, "webhook_events", "list"),
        ({"idempotency_key": ""}, "idempotency_key", "255"),
        ({"width": 4096, "height": 4096}, "width", "4194304"),
        ({"steps": 1001}, "steps", "1000"),
        ([], "body", "JSON object"),
        ("text", "body", "JSON object"),
    ],
)
def test_what_is_not_allowed_is_named_with_its_value_and_what_is(
    client: httpx.Client, server: RunningServer, body: Any, field: str, told: str
) -> None:
    answer = client.post("/generate", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["field"] == field
    assert told in problem["detail"]
    assert problem["status"] == 400
    assert all_jobs(server) == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"steps": ' + b"9" * 5000 + b"}", b"\x00"])
def test_a_body_that_is_no_json_is_a_bad_request(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/generate", content=body)
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")


def test_a_model_is_a_name_and_never_a_path(client: httpx.Client) -> None:
    for name in ("nowhere", "/etc/passwd", "../models/instant.safetensors", "instant.safetensors/", ""):
        problem = generate(client, 400 if name == "" else 404, model=name)
        assert problem["field"] == "model"
    assert generate(client, model="other.safetensors")["model"] == "other"


def test_a_failure_is_told_to_the_one_who_waits_and_kept(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"prompt": "fail"})
    assert (answer.status_code, answer.json()["kind"]) == (500, "generation_failed")
    job = client.get(f"/jobs/{answer.headers['x-job-id']}").json()
    assert job["state"] == "failed"
    assert job["error"]["detail"] == answer.json()["detail"]


def test_a_full_queue_says_when_to_come_back(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), max_queued=1, drain_seconds=0)
    url = f"{server.url}/api/v1/generate"
    answers = [httpx.post(url, json={"async": True}) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.status_code for answer in answers} == {202, 429}
    assert int(refused[0].headers["retry-after"]) >= 1
    assert refused[0].json()["kind"] == "queue_full"


def test_jobs_are_listed_by_state_and_in_order(client: httpx.Client) -> None:
    ids = [generate(client, seed=seed)["id"] for seed in range(3)]
    client.post("/generate", json={"prompt": "fail"})
    told = client.get("/jobs", params={"state": "succeeded"}).json()
    assert [job["id"] for job in told["jobs"]] == ids[::-1]
    assert (told["total"], told["counts"]["succeeded"], told["counts"]["failed"]) == (3, 3, 1)
    some = client.get("/jobs", params={"order": "oldest", "limit": 2, "offset": 1, "dialect": "native,openai"}).json()
    assert [job["id"] for job in some["jobs"]] == ids[1:]
    assert some["total"] == 4
    assert client.get("/jobs", params={"dialect": "openai"}).json()["jobs"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"state": "done"}, "state"), ({"limit": 0}, "limit"), ({"offset": -1}, "offset"), ({"order": "up"}, "order")],
)
def test_a_bad_filter_is_named(client: httpx.Client, query: JSON, field: str) -> None:
    answer = client.get("/jobs", params=query)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_queued_job_tells_its_place(open_server: Any) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), drain_seconds=0)
    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        first = generate(client, 202, **{"async": True})
        wait_for(lambda: client.get(f"/jobs/{first['id']}").json()["state"] == "running")
        others = [generate(client, 202, **{"async": True}) for _ in range(3)]
        places = [client.get(f"/jobs/{job['id']}").json()["place"]["ahead"] for job in others]
        urgent = generate(client, 202, **{"async": True, "priority": 5})
        assert urgent["place"]["ahead"] < places[-1]
    assert places == sorted(places)
    assert places[-1] - places[0] == 2


@pytest.mark.parametrize("way", ["delete", "post"])
def test_a_job_is_cancelled_wherever_it_stands(open_server: Any, way: str) -> None:
    server = open_server(InstantBackend(step_seconds=30, capacity=1), drain_seconds=0)

    def cancel(id: str) -> httpx.Response:
        url = f"{server.url}/api/v1/jobs/{id}"
        return httpx.delete(url) if way == "delete" else httpx.post(f"{url}/cancel")

    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        running, queued = (generate(client, 202, **{"async": True}) for _ in range(2))
        assert cancel(queued["id"]).json()["state"] == "cancelled"
        cancel(running["id"])
        wait_for(lambda: client.get(f"/jobs/{running['id']}").json()["state"] == "cancelled")
        assert cancel(running["id"]).json()["state"] == "cancelled"
        assert cancel("nobody").status_code == 404
    assert server.services.backend.status()["in_flight"] == 0


def test_a_caller_who_hangs_up_cancels_the_job_unless_it_has_a_key(server: RunningServer) -> None:
    server.backend.step_seconds = 0.1
    url = f"{server.url}/api/v1/generate"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json={}, timeout=0.5)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json={}, headers={"Idempotency-Key": "mine"}, timeout=0.5)
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled", "succeeded"])


def test_who_waits_for_a_job_that_another_cancels_is_told(server: RunningServer, client: httpx.Client) -> None:
    server.backend.step_seconds = 30
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/generate", json={})))
    thread.start()
    wait_for(lambda: len(all_jobs(server)) == 1)
    httpx.delete(f"{server.url}/api/v1/jobs/{all_jobs(server)[0].id}")
    thread.join(60)
    assert (answers[0].status_code, answers[0].json()["kind"]) == (409, "cancelled")


def test_the_caller_may_choose_the_jobs_id(client: httpx.Client) -> None:
    answer = client.post("/generate", json={}, headers={"X-Job-Id": "mine-1"})
    assert answer.json()["id"] == "mine-1"
    assert client.post("/generate", json={}, headers={"X-Job-Id": "mine-1"}).status_code == 409
    assert client.post("/generate", json={}, headers={"X-Job-Id": "no/path"}).status_code == 400


def events(url: str, last: str | None = None) -> Iterator[tuple[int, str, JSON]]:
    """The events of a stream as (id, kind, data), until the server ends it."""
    with httpx.stream("GET", url, headers={"Last-Event-ID": last} if last else {}, timeout=60) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        found: dict[str, str] = {}
        for line in stream.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                found[name] = value
            elif found:
                yield int(found["id"]), found["event"], json.loads(found["data"])
                found = {}


def test_events_tell_every_stage_of_a_job(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    job = generate(client, 202, **{"async": True, "steps": 10})
    seen = list(events(job["events_url"] + "?previews=1"))
    numbers, kinds = [number for number, _, _ in seen], [kind for _, kind, _ in seen]
    assert numbers == sorted(set(numbers))
    assert kinds[-1] == "finished"
    assert kinds.count("finished") == 1
    assert {"started", "progress"} <= set(kinds)
    steps = [data["step"] for _, kind, data in seen if kind == "progress"]
    assert steps == sorted(steps)
    assert all(0 <= data["progress"] <= 1 for _, _, data in seen)
    assert seen[-1][2]["job"]["output_url"] == client.get(f"/jobs/{job['id']}").json()["output_url"]
    previews = [data["preview"] for _, kind, data in seen if kind == "preview"]
    assert previews
    assert Image.open(io.BytesIO(base64.b64decode(previews[0]))).format == "JPEG"
    assert "preview" not in {kind for _, kind, _ in events(job["events_url"])}


def test_events_go_on_after_the_last_one_that_was_seen(client: httpx.Client, server: RunningServer) -> None:
    server.backend.step_seconds = 0.02
    job = generate(client, 202, **{"async": True, "steps": 20})
    stream = events(job["events_url"])
    first = next(stream)
    while first[1] != "progress":
        first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    rest = list(events(job["events_url"], str(first[0])))
    assert all(number > first[0] for number, _, _ in rest)
    assert rest[-1][1] == "finished"
    assert httpx.get(job["events_url"], headers={"Last-Event-ID": str(rest[-1][0])}).status_code == 204
    assert [kind for _, kind, _ in events(job["events_url"])][-1] == "finished"


def test_events_of_no_job_or_after_no_event_are_refused(client: httpx.Client) -> None:
    assert client.get("/jobs/nobody/events").status_code == 404
    job = generate(client)
    answer = client.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["field"]) == (400, "Last-Event-ID")


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
    (Path(settings.outputs) / "cat.png").write_bytes(b"somebody's own")
    assert client.get(f"/images/{name}").status_code == 404


def test_a_workflow_file_is_carried_out_in_either_form(client: httpx.Client) -> None:
    request = GenerationRequest(prompt="a boat", seed=MAX_SEED, steps=3, model="other")
    for form in (api_workflow, editor_workflow):
        graph = form(request, checkpoint_file="other.safetensors")
        told = client.post("/workflow", json=graph).json()
        assert told["parameters"] == vars(request)
        told = client.post("/workflow?steps=5&cfg_scale=2.5&seed=3&count=2&response_format=base64", json=graph).json()
        assert told["parameters"] == vars(request) | {"steps": 5, "cfg_scale": 2.5, "seed": 3}
        assert [made["seed"] for made in told["images"]] == [3, 4]
        assert told["images"][0]["base64"]
    answer = client.post(
        "/workflow?async=true&webhook_url=http://127.0.0.1:1/&webhook_events=started,finished", json=graph
    )
    assert answer.status_code == 202


def test_a_picture_is_made_again_from_its_own_file(client: httpx.Client) -> None:
    png = httpx.get(generate(client, prompt="a house", seed=5)["output_url"]).content
    headers = {"Content-Type": "image/png"}
    assert client.post("/workflow", content=png, headers=headers).json()["parameters"]["prompt"] == "a house"
    told = client.post("/parameters", content=png, headers=headers).json()
    assert (told["source"], told["parameters"]["seed"]) == ("picture", 5)
    graph = api_workflow(GenerationRequest(), checkpoint_file="instant.safetensors")
    told = client.post("/parameters", json=graph).json()
    assert (told["source"], told["parameters"]["model"]) == ("workflow", "instant.safetensors")
    assert generate(client, **told["parameters"])["model"] == "instant"


@pytest.mark.parametrize("path", ["/workflow", "/parameters"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\x89PNG\r\n\x1a\n", b'{"1": {"class_type": "LoraLoader"}}'])
def test_a_file_that_is_no_workflow_is_refused_by_name(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("query", ["steps=x", "steps=5&steps=6", "async=maybe", "stps=5", "count=0"])
def test_a_bad_query_of_a_workflow_is_named(client: httpx.Client, query: str) -> None:
    graph = api_workflow(GenerationRequest(), checkpoint_file="instant.safetensors")
    answer = client.post(f"/workflow?{query}", json=graph)
    assert (answer.status_code, answer.json()["field"]) == (400, query.partition("=")[0])


def test_models_are_listed_loaded_and_let_go(client: httpx.Client) -> None:
    def resident() -> dict[str, bool]:
        return {model["name"]: model["resident"] for model in client.get("/models").json()["models"]}

    models = client.get("/models").json()["models"]
    assert [(model["name"], model["default"]) for model in models] == [("instant", True), ("other", False)]
    assert "path" not in models[0]
    assert resident() == {"instant": True, "other": False}
    assert client.post("/models/other/load").json()["resident"] is True
    assert resident() == {"instant": True, "other": True}
    assert client.post("/models/other/unload").json()["resident"] is False
    assert client.post("/models/other/unload").status_code == 200
    for verb in ("load", "unload"):
        assert client.post(f"/models/nowhere/{verb}").status_code == 404


def test_names_and_state_are_told(client: httpx.Client) -> None:
    assert client.get("/samplers").json() == {"names": list(SAMPLERS), "default": "euler"}
    assert client.get("/schedulers").json() == {"names": list(SCHEDULERS), "default": "normal"}
    status = client.get("/status").json()
    assert status["ready"] is True
    assert "native" in status["dialects"]


def test_the_real_engine_makes_the_same_picture_for_the_same_request(engine_server: RunningServer) -> None:
    url = f"{engine_server.url}/api/v1/generate"
    asked = {"prompt": "a boat", "seed": 3, "steps": 2, "width": 64, "height": 64, "response_format": "png"}
    first, again = (httpx.post(url, json=asked, timeout=120).content for _ in range(2))
    assert first == again
    assert httpx.post(url, json=asked | {"seed": 4}, timeout=120).content != first
