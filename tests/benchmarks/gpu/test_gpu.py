"""The run for a GPU, in its simulated form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import __main__ as command
from benchmarks.gpu.advice import advice
from benchmarks.gpu.census import Attention, Census, Convolution, Product
from benchmarks.gpu.parts.profile import kind_of
from benchmarks.gpu.timing import by_turns

CPU = torch.device("cpu")


def test_a_run_leaves_what_it_found_and_goes_on_where_an_earlier_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = dict(command._parts())
    calls: list[str] = []

    def broken(_: object) -> None:
        raise RuntimeError("no such kernel")

    def counted(name: str) -> object:
        def run(bench: object) -> object:
            calls.append(name)
            return parts[name](bench)

        return run

    few = {name: counted(name) for name in ("profile", "steps", "stages")}
    monkeypatch.setattr(command, "_parts", lambda: {**few, "picture": broken})
    path = tmp_path / "gpu.json"
    assert command.main(["--out", str(path)]) == 1
    found = json.loads(path.read_text())
    assert list(found["parts"]) == ["profile", "steps", "stages"]
    assert found["not_run"] == {"picture": "RuntimeError: no such kernel"}
    assert "not run: picture: RuntimeError: no such kernel" in path.with_suffix(".txt").read_text()
    monkeypatch.setattr(command, "_parts", lambda: {**few, "picture": counted("stages")})
    assert command.main(["--out", str(path)]) == 0
    assert calls == ["profile", "steps", "stages", "stages"]
    assert json.loads(path.read_text())["not_run"] == {}
    assert "UNet calls" in capsys.readouterr().out


def test_without_time_parts_are_named(tmp_path: Path) -> None:
    assert command.main(["steps", "--out", str(tmp_path / "gpu.json"), "--minutes", "0.1"]) == 1
    assert json.loads((tmp_path / "gpu.json").read_text())["not_run"] == {"steps": "no time was left"}


@pytest.mark.slow
def test_all_parts_run(tmp_path: Path) -> None:
    names = [name for name in command._NAMES if name not in ("tests", "suite")]  # programs with tests of their own
    assert command.main([*names, "--out", str(tmp_path / "gpu.json"), "--minutes", "20"]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert sorted(found["parts"]) == sorted(names)
    rows = found["parts"]["convolutions"]["step"]
    assert rows
    assert all("now" in row["seconds"] for row in rows)


def test_a_census_counts_what_torch_counts() -> None:
    convolution, linear = nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Linear(8, 5)
    q = torch.randn(2, 3, 6, 4)

    def work() -> None:
        x = convolution(torch.randn(2, 4, 9, 7))
        linear(x.permute(0, 2, 3, 1))
        functional.scaled_dot_product_attention(q, q, q)

    census = Census()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        work()
    with torch.inference_mode(), census:
        work()
    counted = {
        kind: sum(operation.operations * count for operation, count in census.of(kind).items())
        for kind in (Convolution, Product, Attention)
    }
    assert counted[Convolution] == 2 * 2 * 5 * 4 * 8 * 4 * 9
    assert counted[Product] == 2 * 2 * 5 * 4 * 8 * 5
    assert counted[Attention] == 4 * 2 * 3 * 6 * 6 * 4
    assert counted[Convolution] + counted[Product] <= counter.get_total_flops()


def test_a_variant_that_fails_harms_no_other() -> None:
    def broken() -> None:
        raise ValueError("not on this card\nand more")

    seconds, failed = by_turns(CPU, {"good": [lambda: None, lambda: None], "bad": [broken]}, rounds=3)
    assert list(seconds) == ["good"]
    assert failed == {"bad": "ValueError: not on this card"}


def test_advice_puts_the_largest_gain_first() -> None:
    def row(name: str, now: float, best: float, count: int) -> dict[str, object]:
        seconds = {"now": now, "other": best}
        return {"operation": name, "count": count, "operations": 10**9, "seconds": seconds, "failed": {}}

    rows = [row("small", 2e-3, 1e-3, 1), row("none", 1e-3, 2e-3, 9), row("large", 2e-3, 1e-3, 5)]
    text = advice({"machine": {}, "not_run": {}, "parts": {"convolutions": {"step": rows}}})
    assert "21.000 ms now, 6.000 ms less" in text
    assert text.index("large × 5") < text.index("small × 1") < text.index("none × 9")


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "attention"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("nvjet_sm90_hsh_168x128_64x5_1x2_h_bz_coopA_bias_TNN", "product"),
        ("_small_group_norm_kernel", "norm, activation"),
        ("Memset (Device)", "copy, sum"),
        ("void unheard_of()", "other"),
    ],
)
def test_kernels_are_known_by_their_names(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind
