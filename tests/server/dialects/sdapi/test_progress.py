"""Calls of AUTOMATIC1111's API report their progress and can be stopped."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.server.dialects.sdapi.calls import PATIENCE, progress, progress_of_running, start, until


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def images_of(call: Future[httpx.Response]) -> list[str]:
    """Return the pictures of a call that was answered, in base64."""
    response = call.result(PATIENCE)
    assert response.status_code == 200, response.text
    images: list[str] = response.json()["images"]
    return images


def seed_in(image: str) -> int:
    """Return the seed in a picture's infotext."""
    with Image.open(io.BytesIO(base64.b64decode(image))) as png:
        match = re.search(r"Seed: (\d+)", str(png.info["parameters"]))
    assert match
    return int(match[1])


def test_nothing_runs(client: httpx.Client) -> None:
    found = progress(client)
    assert found["progress"] == 0
    assert found["state"]["job_count"] == 0
    assert found["current_image"] is None
    assert client.post("/sdapi/v1/interrupt").json() == {}
    assert client.post("/sdapi/v1/skip").json() is None


def test_a_job_from_start_to_interrupt(server: Any, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    server.backend.step_seconds = 0.05
    call = start(pool, client, prompt="x", n_iter=2, steps=1000)
    found = until(lambda: progress_of_running(client))
    assert 0 < found["progress"] < 1
    assert found["state"]["job_count"] == 2
    assert found["state"]["sampling_steps"] == 1000
    assert found["eta_relative"] >= 0
    preview = until(lambda: progress(client)["current_image"])
    with Image.open(io.BytesIO(base64.b64decode(preview))) as image:
        assert image.format == "PNG"
    assert progress(client, skip_current_image=True)["current_image"] is None
    later = until(lambda: progress(client)["state"]["sampling_step"] > found["state"]["sampling_step"])
    assert later
    assert client.post("/sdapi/v1/interrupt").json() == {}
    assert images_of(call) == []
    assert progress(client)["state"]["job_count"] == 0


def test_the_real_engines_job_is_seen_and_stopped(engine_server: Any, pool: ThreadPoolExecutor) -> None:
    with httpx.Client(base_url=engine_server.url, timeout=PATIENCE) as client:
        call = start(pool, client, prompt="x", steps=900)
        preview = until(lambda: progress(client)["current_image"])
        with Image.open(io.BytesIO(base64.b64decode(preview))) as image:
            assert image.size == (32, 32)
        assert 0 < progress(client)["progress"] < 1
        client.post("/sdapi/v1/interrupt")
        assert images_of(call) == []


def test_an_interrupted_call_has_the_pictures_that_are_done(engine_server: Any, pool: ThreadPoolExecutor) -> None:
    with httpx.Client(base_url=engine_server.url, timeout=PATIENCE) as client:
        call = start(pool, client, prompt="x", n_iter=64, steps=40, seed=7)

        def done() -> int:
            (job, *_) = client.get("/api/v1/jobs?limit=1").json()["jobs"] or [{"images": [], "state": ""}]
            return len(job["images"]) if job["state"] == "running" else 0

        shown = until(lambda: (found := done()) >= 2 and found)
        client.post("/sdapi/v1/interrupt")
        images = images_of(call)
        assert shown <= len(images) < 64
        info = json.loads(call.result().json()["info"])
        assert info["all_seeds"] == [seed_in(image) for image in images]
        assert set(info["all_seeds"]) <= set(range(7, 7 + 64))
        (job,) = client.get("/api/v1/jobs?limit=1").json()["jobs"]
        assert (job["state"], job["interrupted"], len(job["images"])) == ("succeeded", True, len(images))


def test_each_job_by_its_task_id(server: Any, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    server.backend.step_seconds = 0.05
    calls = {task: start(pool, client, prompt=task, force_task_id=task, steps=1000) for task in ("one", "two")}

    def ask(task: str, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = client.post("/internal/progress", json={"id_task": task, **more}).json()
        return answer

    for task in calls:
        found = until(lambda task=task: (found := ask(task))["live_preview"] and found)
        assert (found["active"], found["queued"], found["completed"]) == (True, False, False)
        assert 0 < found["progress"] < 1
        header, _, data = found["live_preview"].partition(",")
        assert header == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == "JPEG"
        assert found["id_live_preview"] > 0
        assert ask(task, live_preview=False)["live_preview"] is None
    client.post("/sdapi/v1/interrupt", params={"id_task": "one"})
    assert images_of(calls["one"]) == []
    assert ask("one")["completed"]
    assert ask("two")["active"]
    assert not ask("three")["completed"]
    client.post("/sdapi/v1/skip", params={"id_task": "two"})
    assert images_of(calls["two"]) == []


def test_a_preview_is_sent_once(server: Any, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    server.backend.step_seconds = 0.05
    call = start(pool, client, force_task_id="one", steps=3)
    seen: dict[int, int] = {}
    last = -1
    while not call.done():
        found = client.post("/internal/progress", json={"id_task": "one", "id_live_preview": last}).json()
        if found["live_preview"]:
            seen[found["id_live_preview"]] = seen.get(found["id_live_preview"], 0) + 1
            last = found["id_live_preview"]
    assert seen
    assert set(seen.values()) == {1}
    assert call.result().status_code == 200


def test_a_job_that_waits(server: Any, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    server.backend.step_seconds = 0.05
    crowd = [start(pool, client, n_iter=16, steps=1000, force_task_id=f"task {n}") for n in range(4)]

    def waiting() -> list[str]:
        tasks: list[str] = client.get("/internal/pending-tasks").json()["tasks"]
        return (
            tasks if len(tasks) == 3 and progress_of_running(client) else []
        )  # each fills the fake, so that three wait

    task = until(waiting)[-1]
    found = client.post("/internal/progress", json={"id_task": task}).json()
    assert (found["active"], found["queued"]) == (False, True)
    assert "In queue" in found["textinfo"]
    assert progress(client, id_task=task)["progress"] == 0
    for n in range(4):
        client.post("/sdapi/v1/interrupt", params={"id_task": f"task {n}"})
    assert [images_of(call) for call in crowd] == [[]] * 4


def test_skip_gives_up_the_pictures_under_way_and_makes_the_rest(
    server: Any, client: httpx.Client, pool: ThreadPoolExecutor
) -> None:
    server.backend.step_seconds = 0.05
    call = start(pool, client, n_iter=20, steps=1000, seed=7)  # 16 at a time
    until(lambda: progress_of_running(client))
    assert client.post("/sdapi/v1/skip").json() is None
    until(lambda: server.backend.status()["in_flight"] == 4)
    server.backend.step_seconds = 0.0
    assert [seed_in(image) for image in images_of(call)] == [23, 24, 25, 26]


def test_skip_ends_a_call_of_which_all_is_under_way(
    server: Any, client: httpx.Client, pool: ThreadPoolExecutor
) -> None:
    server.backend.step_seconds = 0.05
    call = start(pool, client, batch_size=2, steps=1000)
    until(lambda: progress_of_running(client))
    client.post("/sdapi/v1/skip")
    assert images_of(call) == []


def test_a_call_whose_job_is_cancelled_elsewhere_says_so(
    server: Any, client: httpx.Client, pool: ThreadPoolExecutor
) -> None:
    server.backend.step_seconds = 0.05
    call = start(pool, client, steps=1000)
    until(lambda: progress_of_running(client))
    (job,) = client.get("/api/v1/jobs").json()["jobs"]
    client.delete(f"/api/v1/jobs/{job['id']}")
    response = call.result(PATIENCE)
    assert (response.status_code, response.json()["error"]) == (409, "cancelled")


def test_who_hangs_up_gives_the_job_up(server: Any, client: httpx.Client) -> None:
    server.backend.step_seconds = 0.05
    hung_up = threading.Thread(target=_hang_up, args=(server.url,))
    hung_up.start()
    until(lambda: progress_of_running(client))
    hung_up.join()
    until(lambda: progress(client)["state"]["job_count"] == 0)
    (job,) = client.get("/api/v1/jobs").json()["jobs"]
    assert until(lambda: client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled")


def _hang_up(url: str) -> None:
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{url}/sdapi/v1/txt2img", json={"steps": 1000}, timeout=1)


class TestKeys:
    @pytest.fixture
    def clients(self, open_server: Callable[..., Any]) -> Iterator[list[httpx.Client]]:
        """Yield two callers with keys of their own."""
        names = ("ann", "bob")
        server = open_server(api_keys={name: hashlib.sha256(f"{name}-key".encode()).hexdigest() for name in names})
        server.backend.step_seconds = 0.05
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(httpx.Client(base_url=server.url, timeout=PATIENCE, auth=(name, f"{name}-key")))
                for name in names
            ]

    def test_others_neither_see_a_job_nor_stop_it(self, clients: list[httpx.Client], pool: ThreadPoolExecutor) -> None:
        ann, bob = clients
        call = start(pool, ann, force_task_id="hers", steps=1000)
        until(lambda: progress_of_running(ann))
        assert progress(bob)["state"]["job_count"] == 0
        assert progress(bob, id_task="hers")["state"]["job_count"] == 0
        found = bob.post("/internal/progress", json={"id_task": "hers"}).json()
        assert (found["active"], found["live_preview"]) == (False, None)
        for query in ({}, {"id_task": "hers"}):
            bob.post("/sdapi/v1/interrupt", params=query)
            bob.post("/sdapi/v1/skip", params=query)
        step = progress(ann)["state"]["sampling_step"]
        assert until(lambda: progress(ann)["state"]["sampling_step"] > step)
        ann.post("/sdapi/v1/interrupt")
        assert images_of(call) == []

    def test_without_a_key(self, clients: list[httpx.Client]) -> None:
        response = httpx.get(clients[0].base_url.join("/sdapi/v1/options"))
        assert response.status_code == 401
        assert set(response.json()) == {"error", "detail", "body", "errors"}
        assert response.headers["www-authenticate"].startswith("Basic")


def test_calls_of_one_job_come_and_go(server: Any, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    server.backend.step_seconds = 0.05
    client.headers["Idempotency-Key"] = "once"
    calls = [start(pool, client, prompt="x", steps=1000)]
    until(lambda: progress_of_running(client))
    calls.append(start(pool, client, prompt="x", steps=1000))
    body = {"prompt": "x", "width": 64, "height": 64, "steps": 1000}
    with pytest.raises(httpx.ReadTimeout):
        client.post("/sdapi/v1/txt2img", json=body, timeout=0.5)
    assert progress_of_running(client)
    server.backend.step_seconds = 0.0
    assert [call.result(PATIENCE).status_code for call in calls] == [200, 200]
    until(lambda: progress(client)["state"]["job_count"] == 0)
