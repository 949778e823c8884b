"""Tests cancelling, streams and webhooks of Replicate's dialect."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from replicate.client import Client
from replicate.prediction import Prediction

from tests.server.conftest import RunningServer
from tests.server.dialects.replicate.client import OpenClient, opened
from tests.server.following import all_jobs, hang_up_on, wait_for


def test_cancel(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 3600.0
    prediction = client.predictions.create(version="instant", input={"prompt": "a"})
    wait_for(lambda: bool(server.backend.started))
    prediction.reload()
    assert prediction.status == "processing"
    prediction.cancel()
    prediction.wait()
    assert prediction.status == "canceled"
    prediction.cancel()  # nothing more happens
    assert prediction.status == "canceled"


@pytest.mark.anyio
async def test_hanging_up_while_waiting_cancels(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 3600.0

    given = {"prompt": "a"}
    await hang_up_on(server, client.predictions.async_create(version="instant", input=given, wait=True))
    await client._async_client.aclose()
    wait_for(lambda: [job.state for job in all_jobs(server)] == ["cancelled"])


def test_hanging_up_without_waiting_does_not(server: RunningServer, client: Client, open_client: OpenClient) -> None:
    server.backend.step_seconds = 0.02
    id = client.predictions.create(version="instant", input={"prompt": "a"}).id
    client._client.close()
    prediction = open_client(server).predictions.get(id)
    prediction.wait()
    assert prediction.status == "succeeded"


def test_a_stream_tells_progress_previews_and_the_pictures(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 0.01
    given = {"prompt": "a", "seed": 7, "num_inference_steps": 40}
    events = list(client.stream("local/instant", input=given))
    kinds = [event.event.value for event in events]
    assert kinds[-2:] == ["output", "done"]
    logs = "".join(event.data for event in events if event.event.value == "logs")
    assert logs.startswith("Using seed: 7\n")
    progress = Prediction.Progress.parse(logs)
    assert progress is not None
    assert (progress.current, progress.total) == (40, 40)
    outputs = [event.data for event in events if event.event.value == "output"]
    *previews, url = [str(getattr(data, "url", data)) for data in outputs]
    assert previews
    assert all(preview.startswith("data:image/jpeg;base64,") for preview in previews)
    assert opened(url).size == (512, 512)


def test_a_stream_of_what_is_done_already(client: Client) -> None:
    prediction = client.predictions.create(version="instant", input={"prompt": "a"})
    prediction.wait()
    assert [event.event.value for event in prediction.stream()] == ["logs", "output", "done"]


def test_a_streams_error_is_the_clients(client: Client) -> None:
    with pytest.raises(RuntimeError, match="the prompt asked for a failure"):
        list(client.stream("local/instant", input={"prompt": "fail"}))


def test_a_stream_of_a_cancelled_prediction_says_so(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 3600.0
    prediction = client.predictions.create(version="instant", input={"prompt": "a"})
    prediction.cancel()
    prediction.wait()
    last = list(prediction.stream())[-1]
    assert (last.event.value, json.loads(last.data)) == ("done", {"reason": "canceled"})


def test_closing_a_stream_cancels_nothing(server: RunningServer, client: Client) -> None:
    server.backend.step_seconds = 0.02
    prediction = client.predictions.create(version="instant", input={"prompt": "a"})
    stream = prediction.stream()
    next(stream)
    stream.close()
    prediction.wait()
    assert prediction.status == "succeeded"


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the URL of a receiver of webhooks, and the list of those that it received."""
    got: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_webhooks_carry_the_prediction(client: Client, listener: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = listener
    prediction = client.predictions.create(
        version="instant", input={"prompt": "a"}, webhook=url, webhook_events_filter=["start", "completed"]
    )
    wait_for(lambda: len(got) == 2)
    assert [each["status"] for each in got] == ["processing", "succeeded"]
    prediction.reload()
    assert Prediction(**got[1]).dict() == prediction.dict()


def test_the_output_is_sent_while_the_prediction_is_at_work(
    client: Client, listener: tuple[str, list[dict[str, Any]]]
) -> None:
    url, got = listener
    client.predictions.create(version="instant", input={"prompt": "a"}, webhook=url)
    wait_for(lambda: len(got) == 2)
    output, completed = sorted(got, key=lambda each: each["completed_at"] is not None)
    assert (output["status"], output["completed_at"], output["metrics"]) == ("processing", None, {})
    assert completed["status"] == "succeeded"
    assert output["output"] is not None
    assert output["output"] == completed["output"]
    assert output["logs"] == completed["logs"]


@pytest.mark.parametrize(
    ("asked", "events"),
    [
        ({"webhook": "http://127.0.0.1:1/"}, ("output", "finished")),
        ({"webhook_completed": "http://127.0.0.1:1/"}, ("finished",)),
        ({"webhook": "http://127.0.0.1:1/", "webhook_events_filter": ["logs", "start"]}, ("progress", "started")),
    ],
)
def test_what_webhooks_carry(
    server: RunningServer, client: Client, asked: dict[str, Any], events: tuple[str, ...]
) -> None:
    client.predictions.create(version="instant", input={"prompt": "a"}, **asked)
    webhook = all_jobs(server)[0].webhook
    assert webhook is not None
    assert (webhook.form, webhook.events) == ("replicate", events)
