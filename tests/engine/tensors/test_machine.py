"""Pickles are interpreted, never run: whatever they name, however large they say they are, however deep they nest."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tensors.machine import read_pickle
from engine.tensors.makers import Global, Inert, PickleError

PLAIN = {"a": [1, 2.5, None, True, "text", b"bytes", (1, (2, 3), ()), {"b": {}}], "1": [-1, 2**70, [[]]]}


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data)).content


class Callback:
    """An object with state, as training programs save them."""

    def __init__(self, what: Any) -> None:
        self.what = what


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_text_and_numbers_come_back(protocol: int) -> None:
    assert read(pickle.dumps(PLAIN if protocol > 2 else {**PLAIN, "a": PLAIN["a"][:5]}, protocol))
    ordered = collections.OrderedDict([("x", 1), ("y", [2])])
    counted = collections.defaultdict(list, {"z": 3})
    assert read(pickle.dumps({"o": ordered, "d": counted, 7: "seven"}, protocol)) == {
        "o": {"x": 1, "y": [2]},
        "d": {"z": 3},
        "7": "seven",
    }
    if protocol > 2:
        assert read(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "pwned"
    data = pickle.dumps({"weights": 1, "evil": Malicious(target), "callback": Callback(3), Callback: 4}, protocol)
    content = read(data)
    assert content["weights"] == 1
    assert content["evil"] == Inert(Global("posix", "system"))
    assert isinstance(content["callback"], Inert)
    assert not target.exists()
    pickle.loads(data)
    assert target.exists()  # it would have been


HOSTILE = {
    "a huge memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "text of 2^62 bytes": b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"x.",
    "bytes of 2^31": b"\x80\x02B\xff\xff\xff\x7fx.",
    "a key that takes for ever": b"\x80\x02})" + b"2\x86" * 200 + b"K\x01s.",
    "a name that takes for ever": b"\x80\x04)" + b"2\x86" * 200 + b"2\x93.",
    "a list copied again and again": b"\x80\x02ccollections\nOrderedDict\nq\x00](" + b"K\x01" * 1_000_000 + b"eq\x01"
    b"0" + b"h\x00h\x01\x85R0" * 400_000 + b"N.",
    "no end": b"\x80\x02" + b"N" * 100,
    "nothing to take": b"\x80\x020.",
    "no mark": b"\x80\x02e.",
    "endless operations": b"\x80\x02" + b"N0" * 2_000_000 + b"N.",
    "an unknown memo": b"\x80\x02h\x07.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_ends_soon(name: str) -> None:
    started = time.process_time()
    with contextlib.suppress(PickleError):
        read(HOSTILE[name])
    assert time.process_time() - started < 30  # some take 2^200 steps, or memory that no machine has, if they are let


def test_what_no_pickle_may_do_is_refused() -> None:
    for name in ("text of 2^62 bytes", "bytes of 2^31", "no end", "nothing to take", "no mark", "endless operations"):
        with pytest.raises(PickleError):
            read(HOSTILE[name])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for head in (b"", b"\x80\x02", b"\x80\x04"):
        with contextlib.suppress(PickleError):
            read(head + data)


@given(data=st.data())
def test_a_damaged_pickle_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"state": PLAIN, "callback": Callback(1)}, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PickleError):
        read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
