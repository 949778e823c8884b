"""The report is complete after every addition, can be read again, and is shown as a table and a plot."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.reports.figures import Figure
from benchmarks.reports.plot import plot
from benchmarks.reports.report import BadReport, Verdict, read_report
from benchmarks.reports.table import table
from tests.benchmarks.made_reports import figure, report

SEVERAL = (0.2, 0.1, 0.3)


def everything() -> list[Figure]:
    """Give a figure of every kind that the plot shows."""
    found = [
        figure("a picture", samples=SEVERAL),
        figure("a picture", "stock diffusers float16", samples=SEVERAL),
        figure("floor of a picture", "float16", "machine"),
        figure("pictures", "stock diffusers float16", "load", unit="images/s", conditions={"clients": 16}),
    ]
    found += [figure("pictures", section="concurrency", conditions={"clients": clients}) for clients in (4, 1, 16)]
    for rate in (3.0, 1.0):
        conditions = {"arrivals a second": rate}
        found += [
            figure(f"latency {part}", section="arrivals", conditions=conditions) for part in ("p50", "p95", "p99")
        ]
    return found + [figure(stage, section="stages") for stage in ("encode", "sample", "decode", "rest", "png")]


def test_every_addition_leaves_a_whole_report(tmp_path: Path) -> None:
    made = report(tmp_path, figure("a picture", samples=SEVERAL))
    assert [entry["name"] for entry in read_report(made.path)["figures"]] == ["a picture"]
    made.skip("idle", "no GPU")
    made.note("on a CPU")
    document = read_report(made.path)
    assert document["not_run"] == [{"what": "idle", "reason": "no GPU"}]
    assert document["notes"] == ["on a CPU"]
    assert not document["complete"]
    assert not list(tmp_path.glob("*.partial"))


def test_a_figure_comes_back_as_it_was(tmp_path: Path) -> None:
    one = figure(
        "pictures", section="load", unit="images/s", better="higher", samples=SEVERAL, conditions={"clients": 4}
    )
    (entry,) = read_report(report(tmp_path, one).path)["figures"]
    assert Figure.from_json(entry) == one
    assert entry["median"] == 0.2
    assert 0.2 < entry["p95"] < 0.3


def test_a_figure_without_samples_is_not_kept(tmp_path: Path) -> None:
    assert report(tmp_path, figure("a picture", samples=())).figures == []


def test_json_has_no_nan(tmp_path: Path) -> None:
    made = report(tmp_path)
    made.machine["odd"] = [math.nan, math.inf, 1.0]
    made.write()
    text = made.path.read_text()
    assert json.loads(text)["machine"]["odd"] == [None, None, 1.0]
    assert "NaN" not in text


def test_figures_are_found_by_name_and_conditions(tmp_path: Path) -> None:
    made = report(tmp_path, *(figure("pictures", conditions={"clients": n}, samples=(n,)) for n in (1, 16)))
    found = made.find("latency", "pictures", "engine float16", clients=16)
    assert found is not None
    assert found.samples == (16,)
    assert made.find("latency", "pictures", "engine float16", clients=3) is None


@pytest.mark.parametrize("damage", ["", "[]", '{"schema": 0}', '{"schema": 1}'])
def test_a_file_that_is_not_a_report_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(damage)
    with pytest.raises(BadReport, match=str(path)):
        read_report(path)


@pytest.mark.parametrize("damage", [{"samples": []}, {"samples": [None]}, {"unit": None}])
def test_a_damaged_figure_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    path = report(tmp_path, figure("a picture")).path
    document = json.loads(path.read_text())
    document["figures"][0] |= damage
    if damage == {"unit": None}:
        del document["figures"][0]["unit"]
    path.write_text(json.dumps(document))
    with pytest.raises(BadReport, match="figure"):
        read_report(path)


def test_the_table_shows_figures_verdicts_and_what_was_not_run(tmp_path: Path) -> None:
    made = report(tmp_path, *everything())
    made.skip("idle", "no GPU")
    made.verdicts.append(Verdict(target="fast", outcome="missed", said="it was slow"))
    shown = table(made.as_json())
    assert "0.1…0.3" in shown
    assert "missed: fast: it was slow" in shown
    assert "idle: no GPU" in shown
    widths = [len(line) for line in shown.splitlines() if line.startswith("latency")]
    assert len(set(widths)) == 1


@pytest.mark.parametrize("full", [True, False])
def test_the_plot_is_a_picture_whatever_was_run(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "plot.png"
    plot(report(tmp_path, *(everything() if full else [])).as_json(), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size[0] > 1000
        assert len(image.convert("L").getcolors() or ()) > (50 if full else 2)
