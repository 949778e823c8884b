"""The load: the calls are as planned, no call waits for another, and every lost or doubled job is found."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load.__main__ import main
from benchmarks.load.audit import Row, audit, audit_files
from benchmarks.load.caller import Caller
from benchmarks.load.calls import DIALECTS, Call, Dialect, Habits, plan_calls, read_mix
from benchmarks.load.summary import memory, spread, summarize, text
from benchmarks.load.visits import Clock, Visit, drive, make
from benchmarks.measuring.workloads import Scale
from engine import GenerationRequest

ALL = Habits(mix=read_mix(",".join(DIALECTS)), cancels=0.2, hang_ups=0.3)


def planned(habits: Habits = ALL, **changed: Any) -> list[Call]:
    named: dict[str, Any] = {"rate": 50.0, "seconds": 20.0, "jobs": None, "clients": 7, "seed": 3, "run": 9}
    return plan_calls(scale=Scale(size=64, steps=2), habits=habits, **(named | changed))


def a_call(**changed: Any) -> Call:
    values: dict[str, Any] = {"number": 0, "due": 0.0, "client": 0, "dialect": "native", "pictures": 1}
    values |= {"request": GenerationRequest(width=64, height=64, seed=7), "manner": "stay", "after": 0.0, "id": "load"}
    return Call(**(values | changed))


def a_visit(end: str, accepted: bool | None = True, **changed: Any) -> Visit:
    return Visit(call=a_call(**changed), started=0.0, left=1.0, end=end, accepted=accepted)  # type: ignore[arg-type]


def a_row(state: str, **changed: Any) -> Row:
    pictures = ("a.png",) if state == "succeeded" else ()
    values: dict[str, Any] = {"id": "x", "seed": 7, "state": state, "attempt": 1, "pictures": pictures}
    return Row(**(values | {"created": 0.0, "finished": 1.0, "error": None} | changed))


def test_the_same_seed_gives_the_same_calls() -> None:
    assert planned() == planned()
    assert [call.due for call in planned()] != [call.due for call in planned(seed=4)]


def test_a_number_of_calls_are_the_first_of_a_longer_time() -> None:
    many, few = planned(), planned(jobs=100)
    assert len(few) == 100
    assert few == many[:100]


def test_calls_differ_in_every_respect() -> None:
    calls = planned()
    assert 800 < len(calls) < 1200
    assert {call.dialect for call in calls} == set(DIALECTS)
    assert {call.client for call in calls} == set(range(7))
    assert {call.manner for call in calls} == {"stay", "cancel", "leave", "return"}
    assert len({call.request.sampler for call in calls}) == 3
    assert [call.due for call in calls] == sorted(call.due for call in calls)


def test_no_two_pictures_share_a_seed_within_a_run_or_between_runs() -> None:
    calls = [*planned(run=1), *planned(run=2**31 - 1)]
    seeds = [call.request.seed + picture for call in calls for picture in range(call.pictures)]  # type: ignore[operator]
    assert len(set(seeds)) == len(seeds)
    assert len({call.id for call in calls}) == len(calls)


def test_calls_use_only_what_their_dialect_offers() -> None:
    calls = planned()
    assert {call.pictures for call in calls if call.dialect == "huggingface"} == {1}
    assert "return" not in {call.manner for call in calls if call.dialect == "sdapi"}


def test_the_mix_sets_how_often_each_dialect_is_used() -> None:
    count = Counter(call.dialect for call in planned(Habits(mix=read_mix("native=9, comfyui")), seconds=100.0))
    assert set(count) == {"native", "comfyui"}
    assert 7 < count["native"] / count["comfyui"] < 11


def test_a_call_asks_for_at_most_the_given_number_of_pictures() -> None:
    assert {call.pictures for call in planned()} == {1, 2, 3}
    assert {call.pictures for call in planned(dataclasses.replace(ALL, most_pictures=1))} == {1}


@pytest.mark.parametrize("mix", ["", "nativ", "native=x", "native=0", "native=nan", "native,,openai"])
def test_a_bad_mix_is_refused(mix: str) -> None:
    with pytest.raises(ValueError, match=r"mix: .* is not allowed"):
        read_mix(mix)


def test_a_call_waits_for_no_other() -> None:
    """The first call ends only after the last has started; a closed loop would never get there."""

    async def scene() -> list[Visit]:
        last_started = asyncio.Event()

        async def visit(call: Call, now: Clock) -> Visit:
            if call.number == 9:
                last_started.set()
            await asyncio.wait_for(last_started.wait(), 60)
            return Visit(call=call, started=0.0, left=now(), end="succeeded", accepted=True)

        return await drive([a_call(number=number, due=number / 1000) for number in range(10)], visit)

    visits = asyncio.run(scene())
    assert [visit.call.number for visit in visits] == list(range(10))


def test_time_counts_from_when_a_call_was_due() -> None:
    visit = dataclasses.replace(a_visit("succeeded", due=1.0), started=5.0, left=7.0)
    assert (visit.seconds, visit.late) == (6.0, 4.0)


def test_no_call_begins_before_it_is_due() -> None:
    async def visit(call: Call, now: Clock) -> Visit:
        return Visit(call=call, started=now(), left=now(), end="succeeded", accepted=True)

    visits = asyncio.run(drive([a_call(due=due) for due in (0.0, 0.02, 0.021)], visit))
    assert all(visit.late >= -0.001 for visit in visits)  # the resolution of a timer


async def _make(answer: Callable[[httpx.Request], Any], call: Call, patience: float = 60.0) -> Visit:
    async def answered(request: httpx.Request) -> httpx.Response:
        given = answer(request)
        return given if isinstance(given, httpx.Response) else await given

    async with httpx.AsyncClient(transport=httpx.MockTransport(answered), base_url="http://server") as http:
        return await make(Caller(http, "tiny", "tiny.safetensors", True), call, lambda: 0.0, patience)


def made(answer: Callable[[httpx.Request], Any], call: Call, patience: float = 60.0) -> Visit:
    return asyncio.run(_make(answer, call, patience))


@pytest.mark.parametrize(
    ("status", "end", "accepted"),
    [(429, "refused", False), (400, "refused", False), (409, "refused", False), (500, "failed", None)],
)
def test_a_visit_names_status_and_kind_of_an_error(status: int, end: str, accepted: bool | None) -> None:
    visit = made(lambda _: httpx.Response(status, json={"kind": "some_kind"}), a_call())
    assert (visit.end, visit.accepted, visit.reason) == (end, accepted, f"{status} some_kind")


def test_a_cancelled_call_is_answered_with_conflict() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.method == "DELETE" else 409, json={"kind": "cancelled"})

    visit = made(answer, a_call(manner="cancel"))
    assert (visit.end, visit.accepted, visit.reason) == ("cancelled", True, None)


def test_an_answer_without_the_picture_is_wrong() -> None:
    for answer in ({"images": []}, {"images": [{"url": "/a", "base64": "QUJD"}]}, {}):
        for number in range(2):  # by URL, in base64
            visit = made(lambda _, given=answer: httpx.Response(200, json=given), a_call(number=number))
            assert (visit.end, visit.accepted) == ("failed", True)
            assert visit.reason


def test_a_call_without_an_answer_is_given_up() -> None:
    async def never() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    visit = made(lambda _: never(), a_call(), patience=0.01)
    assert (visit.end, visit.accepted) == ("failed", None)
    assert visit.reason is not None
    assert "given up" in visit.reason


def test_a_returning_caller_makes_the_same_call_with_the_same_key() -> None:
    seen: list[httpx.Request] = []

    async def late() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    def answer(request: httpx.Request) -> Any:
        seen.append(request)
        return late() if len(seen) == 1 else httpx.Response(500)

    made(answer, a_call(manner="return", after=0.01))
    assert [each.headers["Idempotency-Key"] for each in seen] == ["load", "load"]
    assert seen[0].content == seen[1].content


NOT_THERE = "not there"
_ENDS = ("succeeded", "cancelled", "failed", NOT_THERE)
_CASES: list[tuple[str, bool | None, Dialect, str, set[str]]] = [
    ("succeeded", True, "native", "stay", {"succeeded"}),
    ("succeeded", True, "openai", "cancel", {"succeeded"}),
    ("cancelled", True, "sdapi", "cancel", {"cancelled"}),
    ("refused", False, "native", "stay", {NOT_THERE}),
    ("left", None, "native", "leave", {"succeeded", "cancelled", NOT_THERE}),
    ("left", True, "comfyui", "leave", {"succeeded"}),
    ("left", None, "replicate", "leave", {"succeeded", NOT_THERE}),
    ("failed", None, "huggingface", "return", {"succeeded", NOT_THERE}),
    ("failed", True, "async", "stay", {"succeeded"}),
    ("failed", True, "async", "cancel", {"succeeded", "cancelled"}),
]


@pytest.mark.parametrize(("end", "accepted", "dialect", "manner", "allowed"), _CASES)
@pytest.mark.parametrize("state", _ENDS)
def test_a_job_may_end_only_as_its_caller_saw_it(
    end: str, accepted: bool | None, dialect: Dialect, manner: str, allowed: set[str], state: str
) -> None:
    visit = a_visit(end, accepted, dialect=dialect, manner=manner)
    wrong = audit([visit], [] if state == NOT_THERE else [a_row(state)])
    assert (wrong == []) == (state in allowed)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_has_not_ended_is_wrong(state: str) -> None:
    assert len(audit([a_visit("left", None, manner="leave")], [a_row(state)])) == 1


def test_jobs_done_twice_or_in_part_are_wrong() -> None:
    visit = a_visit("succeeded")
    assert audit([visit], [a_row("succeeded")]) == []
    assert "2 times" in audit([visit], [a_row("succeeded"), a_row("succeeded", id="y")])[0]
    assert "attempted 2 times" in audit([visit], [a_row("succeeded", attempt=2)])[0]
    assert "0 pictures" in audit([visit], [a_row("succeeded", pictures=())])[0]
    assert "1 pictures" in audit([a_visit("cancelled")], [a_row("cancelled", pictures=("a.png",))])[0]


def test_an_interrupted_call_may_have_a_part_of_its_pictures() -> None:
    part = a_row("succeeded", interrupted=True)
    wanted: dict[str, Any] = {"dialect": "sdapi", "manner": "cancel", "pictures": 2}
    assert audit([a_visit("cancelled", **wanted)], [part]) == []
    assert "1 pictures" in audit([a_visit("succeeded", **wanted)], [part])[0]
    assert "1 pictures" in audit([a_visit("cancelled", **wanted)], [a_row("succeeded")])[0]
    assert "2 pictures" in audit([a_visit("cancelled", **wanted)], [a_row("succeeded", pictures=("a.png", "b.png"))])[0]
    assert "expected cancelled" in audit([a_visit("cancelled", **wanted | {"dialect": "native"})], [part])[0]


def test_files_are_those_of_the_jobs(tmp_path: Path) -> None:
    row = a_row("succeeded")
    assert "missing" in audit_files(tmp_path / "none", [row])[0]
    (tmp_path / "a.png").touch()
    assert audit_files(tmp_path, [row]) == []
    (tmp_path / "b.png.part").touch()
    assert "b.png.part" in audit_files(tmp_path, [row])[0]


def test_growing_memory_is_distinguished_from_caches_that_fill_once() -> None:
    mib = 2**20
    flat = memory([(done, (100 + 50 * (done > 10)) * mib) for done in range(100)], 100)
    assert flat["per_1000_calls"] == pytest.approx(0, abs=1e-6)
    assert (flat["start"], flat["end"], flat["peak"]) == (100, 150, 150)
    leaking = memory([(done, (100 + done) * mib) for done in range(100)], 100)
    assert leaking["per_1000_calls"] == pytest.approx(1000)
    assert memory([], 5) == {}


def test_latency_counts_only_callers_who_wait() -> None:
    visits = [dataclasses.replace(a_visit("succeeded"), left=float(left)) for left in range(1, 102)]
    visits.append(dataclasses.replace(a_visit("succeeded", manner="cancel"), left=500.0))
    visits.append(dataclasses.replace(a_visit("failed", None), reason="500 boom"))
    summary = summarize(visits, [a_row("succeeded")], ["all is lost"])
    assert summary["latency"] == {"count": 101, "p50": 51, "p90": 91, "p99": 100, "max": 101}
    assert summary["errors"] == {"500 boom": 1}
    shown = text(summary | {"generator_busy": 0.5, "empty_call": spread([0.001])})
    assert "500 boom" in shown
    assert "WRONG: all is lost" in shown


def test_a_load_on_its_own_server(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--json", "--jobs", "40", "--rate", "100", "--clients", "5", "--linger", "0.1"]
    assert main([*flags, "--", "--instant-step-seconds", "0.01"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["wrong"] == []
    assert summary["errors"] == {}
    assert sum(summary["ends"].values()) == summary["calls"] == 40
    assert summary["latency"]["count"] > 20
    assert summary["memory_mib"]["start"] > 1
    assert summary["cpu_ms_per_call"] > 0
    assert summary["disk_ms"]["commit"] > 0
    assert summary["empty_call"]["count"] == 20
    assert summary["server_log"] == []


@pytest.mark.parametrize("flags", [["--mix", "telepathy"], ["--size", "63"], ["--url", "http://127.0.0.1:1"]])
def test_mistakes_and_missing_servers_are_reported_without_a_traceback(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) != 0
    assert capsys.readouterr().err.strip()


def test_the_server_of_another_checkout_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "server"
    package.mkdir()
    (package / "__main__.py").write_text("raise SystemExit('this is the other server')")
    assert main(["--checkout", str(tmp_path)]) == 1
    assert "this is the other server" in capsys.readouterr().err
    assert main(["--checkout", str(package)]) == 1
    assert "is not a checkout of this project" in capsys.readouterr().err


def test_a_server_that_does_not_start_is_reported_with_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--", "--no-such-flag", "1"]) == 1
    assert "no-such-flag" in capsys.readouterr().err
