"""``python -m server`` starts, says what it serves, drains, and refuses bad settings."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest

from server.__main__ import main
from server.serving import listen
from server.settings import PREFIX
from tests.server.following import wait_for

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "Process"]


class Process:
    """A server process whose log is read line by line."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "--port", "0", *flags],
            cwd=folder,
            env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.output: list[str] = []
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log that matches ``pattern``."""
        while True:
            try:
                self.output.append(self._lines.get(timeout=120))
            except Empty:
                raise AssertionError("".join(self.output)) from None
            if match := re.search(pattern, self.output[-1]):
                return match

    def url(self) -> str:
        return self.until(r"listening on (http://\S+)")[1]

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(60)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[Process] = []

    def make(*flags: str, backend: str = "instant", **environment: str) -> Process:
        processes.append(Process(tmp_path, "--backend", backend, *flags, **environment))
        return processes[-1]

    yield make
    for each in processes:
        each.end()


def test_it_serves_says_what_it_is_and_stops_in_order(start: Start, tmp_path: Path) -> None:
    server = start()
    url = server.url()
    server.until("ready")
    summary = "".join(server.output)
    assert "no API key needed" in summary
    assert "data/jobs.sqlite" in summary
    assert "comfyui, sdapi, openai, replicate, huggingface, native" in summary
    assert httpx.post(f"{url}/api/v1/generate", json={"prompt": "a boat"}).status_code == 200
    assert server.stop() == 0
    assert (tmp_path / "data" / "jobs.sqlite").exists()
    again = start()
    assert httpx.get(f"{again.url()}/api/v1/jobs").json()["total"] == 1


def test_logs_may_be_json_and_name_the_keys_that_are_needed(start: Start) -> None:
    key = hashlib.sha256(b"key").hexdigest()
    server = start("--log-format", "json", SD_API_KEYS=f"alice:{key}")
    url = server.url()
    line = json.loads(server.output[-1])
    assert "API keys needed: alice" in line["message"]
    assert httpx.get(f"{url}/api/v1/jobs").status_code == 401
    assert httpx.get(f"{url}/api/v1/jobs", headers={"X-API-Key": "key"}).status_code == 200


def test_a_second_server_on_the_same_database_is_refused(start: Start) -> None:
    first = start()
    url = first.url()
    second = start()
    assert second.process.wait(60) == 1
    second.until(r"^error: database: .*jobs\.sqlite")
    assert len(second.output) == 1
    assert httpx.get(f"{url}/readyz").status_code == 200


def test_a_port_that_is_taken_is_reported_in_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("--port", str(port))
        assert server.process.wait(60) == 1
        server.until(rf"^error: .*{port}")


def test_an_engine_that_cannot_start_ends_the_process(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no checkpoint")
    server = start("--models-folder", str(tmp_path), "--model", "broken", "--device", "cpu", backend="engine")
    assert server.process.wait(120) == 1
    server.until(r"^error: .*broken\.safetensors")
    assert not any("Traceback" in line for line in server.output)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.anyio
async def test_answers_are_sent_at_once(host: str) -> None:
    listener = listen(host, 0)
    nodelay: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nodelay.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(connected, sock=listener):
        _, writer = await asyncio.open_connection(host, listener.getsockname()[1])
        assert await nodelay != 0  # Nagle's algorithm would hold each answer back
        writer.close()
        await writer.wait_closed()


def waiting(url: str, answers: list[httpx.Response], **body: Any) -> threading.Thread:
    def call() -> None:
        answers.append(httpx.post(f"{url}/api/v1/generate", json=body, timeout=60))

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: httpx.get(f"{url}/api/v1/jobs").json()["total"] > 0)
    return thread


def test_sigterm_lets_whoever_waits_have_the_answer(start: Start) -> None:
    server = start(SD_INSTANT_STEP_SECONDS="0.1")
    url = server.url()
    answers: list[httpx.Response] = []
    thread = waiting(url, answers, steps=10)
    assert server.stop() == 0
    thread.join(60)
    assert answers[0].status_code == 200


def test_what_is_not_done_in_time_goes_on_after_the_next_start(start: Start) -> None:
    server = start("--drain-seconds", "0", SD_INSTANT_STEP_SECONDS="30")
    url = server.url()
    answers: list[httpx.Response] = []
    thread = waiting(url, answers)
    assert server.stop() == 0
    thread.join(60)
    assert answers[0].status_code == 503
    again = start().url()
    wait_for(lambda: httpx.get(f"{again}/api/v1/jobs").json()["counts"].get("succeeded") == 1)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_who_is_in_a_hurry_stops_the_server_and_loses_nothing(start: Start, first: int, second: int) -> None:
    server = start("--drain-seconds", "3600", SD_INSTANT_STEP_SECONDS="30")
    url = server.url()
    answers: list[httpx.Response] = []
    thread = waiting(url, answers)
    server.process.send_signal(first)
    server.until("shutting down")
    server.process.send_signal(second)
    assert server.process.wait(60) == 0
    thread.join(60)
    again = start().url()
    wait_for(lambda: httpx.get(f"{again}/api/v1/jobs").json()["counts"].get("succeeded") == 1)
    assert httpx.get(f"{again}/api/v1/jobs").json()["jobs"][0]["attempt"] == 2


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 70_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000])
def test_a_head_without_end_is_refused(start: Start, line: bytes) -> None:
    url = httpx.URL(start().url())
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(line)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    body = b" " * 2**20 + b"{}"  # a body may be longer
    assert httpx.post(url.join("/api/v1/generate"), content=body).status_code == 200


def test_streams_end_when_the_server_does(start: Start) -> None:
    server = start("--drain-seconds", "0", SD_INSTANT_STEP_SECONDS="30")
    job = httpx.post(f"{server.url()}/api/v1/generate", json={"async": True}).json()
    with httpx.stream("GET", job["events_url"], timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event:")
        server.process.send_signal(signal.SIGTERM)
        assert "event: finished" not in list(lines)
    assert server.process.wait(60) == 0


def test_key_makes_a_key_that_the_settings_take(capsys: pytest.CaptureFixture[str], start: Start) -> None:
    assert main(["key", "alice"]) == 0
    key, *_, line = capsys.readouterr().out.split()
    name, _, value = line.partition("=")
    server = start(**{name: value})
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{server.url()}/api/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "70000"], "--port: '70000'"),
        (["--host", "0.0.0.0"], "key NAME"),
        (["--prot", "1"], "--prot"),
        (["--model", "nowhere"], "nowhere"),
        (["key", "a b"], "'a b'"),
        (["key"], "name"),
    ],
)
def test_a_mistake_is_described_in_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(words)
    except SystemExit as stop:  # argparse's own
        status = int(str(stop.code))
    error = capsys.readouterr().err
    assert status == 2
    assert expected in error
    assert error.count("\n") == 1


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for flag in ("--host", "--memory-budget", "--drain-seconds", "--api-keys"):
        assert flag in printed
