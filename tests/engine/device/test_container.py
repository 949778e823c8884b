"""What a container leaves of the machine, as Linux's files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.device import devices as device
from engine.device import memory
from engine.device.container import free_memory, processors

CPU = torch.device("cpu")


def write(folder: Path, contents: dict[str, str]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


VERSION_1 = {
    "memory/memory.limit_in_bytes": "1000\n",
    "memory/memory.usage_in_bytes": "700\n",
    "memory/memory.stat": "cache 400\ntotal_inactive_file 300\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
}
VERSION_2 = {
    "memory.max": "1000\n",
    "memory.current": "700\n",
    "memory.stat": "anon 400\ninactive_file 300\n",
    "cpu.max": "150000 100000\n",
}


@pytest.mark.parametrize("contents", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_limits(tmp_path: Path, contents: dict[str, str]) -> None:
    folder = write(tmp_path, contents)
    assert (free_memory(folder), processors(folder)) == (600, 2)


@pytest.mark.parametrize(
    "contents",
    [
        {},
        VERSION_2 | {"memory.max": "max\n", "cpu.max": "max 100000\n"},
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        {"cpu.max": "\n"},
    ],
    ids=["nothing", "unlimited", "unlimited in version 1", "damaged"],
)
def test_no_limits(tmp_path: Path, contents: dict[str, str]) -> None:
    folder = write(tmp_path, contents)
    assert (free_memory(folder), processors(folder)) == (None, None)


def test_free_memory_is_the_least_of_machine_and_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    machine = memory.free_bytes(CPU)
    monkeypatch.setattr(memory, "free_memory", lambda: 12345)
    assert machine > memory.free_bytes(CPU) == 12345


def test_no_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for allowed, expected in ((None, 4), (8, 4), (2, 2)):
            monkeypatch.setattr(device, "processors", lambda allowed=allowed: allowed)
            device.settle(CPU)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
