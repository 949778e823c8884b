"""Every accepted job is done once, and its picture is the one it would have been without a crash.

The tests kill the real server process at random moments, under load over HTTP, and check what is left.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.server.process import PATIENCE, Load, ServerProcess, engine, instant
from tests.server.receiver import Receiver, receiving


def image(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


IMAGES = [image(colour) for colour in ("red", "green", "blue")]
BODY = {"width": 64, "height": 64, "steps": 4}


def pixels(server: ServerProcess, job: dict[str, Any]) -> list[bytes]:
    return [
        Image.open(io.BytesIO(httpx.get(each["url"], timeout=60).raise_for_status().content)).tobytes()
        for each in job["images"]
    ]


def killed_often(server: ServerProcess, load: Load, *, times: int, longest: float, clients: int) -> None:
    """Start the server, kill it ``times`` times at different moments, then let it finish what is left."""
    choose = random.Random(times)
    server.start()
    with load.going(clients):
        for _ in range(times):
            time.sleep(choose.uniform(0.0, longest))
            server.kill()
            server.start()
        time.sleep(longest)
    server.settle()


def check_all_done_once(server: ServerProcess, load: Load, folder: Path) -> list[dict[str, Any]]:
    """Check that every accepted job succeeded and that there is no other picture; return the interrupted jobs."""
    assert load.refusals == []
    assert all(len(ids) == 1 for ids in load.keys.values())
    jobs = {id: server.get(f"/api/v1/jobs/{id}") for id in load.accepted}
    assert jobs
    assert Counter(job["state"] for job in jobs.values()) == {"succeeded": len(jobs)}
    for id, job in jobs.items():
        asked = load.accepted[id]
        assert {name: job["parameters"][name] for name in ("seed", "prompt")} == {
            name: asked[name] for name in ("seed", "prompt")
        }
        assert len(job["images"]) == 1
        assert f"-{job['attempt']}-0.png" in job["images"][0]["url"]
    check_files(folder)
    check_inputs(folder, load)
    interrupted = [job for job in jobs.values() if job["attempt"] > 1]
    assert interrupted
    return interrupted


def check_files(folder: Path) -> None:
    """Check that the folder holds the pictures of the jobs that succeeded, and nothing else."""
    database = sqlite3.connect(folder / "jobs.sqlite")
    kept = {
        name
        for (name,) in database.execute(
            "SELECT json_extract(value, '$.name') FROM jobs, json_each(pictures) WHERE state = 'succeeded'"
        )
    }
    (succeeded,) = database.execute("SELECT COUNT(*) FROM jobs WHERE state = 'succeeded'").fetchone()
    database.close()
    assert {path.name for path in (folder / "outputs").iterdir()} == kept
    assert len(kept) == succeeded


def check_inputs(folder: Path, load: Load) -> None:
    """Check that each picture that was handed in is there, once, for the jobs that have it, and no other."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        rows = dict(database.execute("SELECT id, file FROM inputs"))
        used = {id for (id,) in database.execute("SELECT DISTINCT input FROM job_inputs")}
        held = {id for (id,) in database.execute("SELECT input FROM holds")}  # of calls that a kill cut off
    handed_in = {hashlib.sha256(base64.b64decode(image)).hexdigest() for image in load.images}
    assert used <= rows.keys() <= used | held <= handed_in
    there = {path.name for path in (folder / "inputs").iterdir()} if load.images else set()
    assert set(rows.values()) <= there


def check_pictures(server: ServerProcess, interrupted: list[dict[str, Any]], load: Load) -> None:
    """Check that an interrupted job's pictures are those of a run without an interruption."""
    for job in interrupted[:10]:
        body = {name: value for name, value in load.accepted[job["job_id"]].items() if name != "async"}
        answer = httpx.post(f"{server.url}/api/v1/generate", json=body, timeout=120)
        again = answer.raise_for_status().json()
        assert again["attempt"] == 1
        assert pixels(server, job) == pixels(server, again)


def check_reported_once(load: Load, receiver: Receiver) -> None:
    """Check that each end is one event: it may arrive more than once, but under one id."""
    ends: dict[str, set[str]] = {}
    for call in receiver.calls:
        ends.setdefault(call.json["job_id"], set()).add(call.headers["webhook-id"])
    assert set(load.accepted) <= set(ends)
    assert all(len(ids) == 1 for ids in ends.values())


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_under_load(tmp_path: Path, times: int) -> None:
    flags = {"max_attempts": "1000", "webhook_private_addresses": "true", "max_queued": "10000"}
    with receiving() as receiver, ServerProcess(instant(0.01), tmp_path, **flags) as server:
        load = Load(server, BODY | {"webhook_url": f"{receiver.url}/hook"}, pause=0.02, images=IMAGES)
        killed_often(server, load, times=times, longest=0.6, clients=6)
        check_pictures(server, check_all_done_once(server, load, tmp_path), load)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not set(load.accepted) <= {call.json["job_id"] for call in receiver.calls}:
            time.sleep(0.1)
        assert server.stop() == 0
        check_reported_once(load, receiver)


@pytest.mark.slow
def test_kills_of_the_real_engine(tmp_path: Path, models_folder: Path) -> None:
    flags = {"models_folders": str(models_folder), "model": "tiny", "device": "cpu", "max_attempts": "1000"}
    with ServerProcess(engine(), tmp_path, **flags) as server:
        load = Load(server, BODY | {"steps": 6}, pause=0.02, images=IMAGES)
        killed_often(server, load, times=2, longest=1.0, clients=4)
        check_pictures(server, check_all_done_once(server, load, tmp_path), load)
        assert server.stop() == 0
