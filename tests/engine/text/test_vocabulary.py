"""CLIP's vocabulary: that of the package, and that of the model hub on Pythons for which there is no package."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Engine, EngineConfig, EngineError
from engine.generate import main
from engine.text import vocabulary

Encoder = Callable[[str], list[int]]
MERGES = 49152 - 256 - 2


def byte_letters() -> list[str]:
    """The letter of each byte, in the vocabulary's order: printable ones stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's two files, made of the merges that the package carries."""
    package = pytest.importorskip("instant_clip_tokenizer", reason="it carries the merges, on Python 3.10 to 3.12")
    (library,) = Path(package.__file__).parent.glob("instant_clip_tokenizer*.*[do]")
    data = library.read_bytes()
    lines = data[data.index(b"#version: 0.2\n") :].split(b"\n", MERGES + 1)[: MERGES + 1]
    pairs = [line.decode().split() for line in lines[1:]]
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in pairs)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("hub")
    (folder / "vocab.json").write_text(json.dumps({word: id for id, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_bytes(b"\n".join(lines) + b"\n")
    return folder


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a Python for which there is no wheel."""
    monkeypatch.setitem(sys.modules, "instant_clip_tokenizer", None)
    vocabulary.encoder.cache_clear()
    yield
    vocabulary.encoder.cache_clear()


def downloads(monkeypatch: pytest.MonkeyPatch, folder: Path, *, cached: bool) -> list[tuple[str, bool]]:
    """A hub with the files of ``folder``; the list grows by each that is asked for: its name, and whether locally."""
    asked: list[tuple[str, bool]] = []

    def download(name: str, file: str, *, local_files_only: bool = False) -> str:
        assert name == vocabulary.HUB_NAME
        asked.append((file, local_files_only))
        if local_files_only and not cached:
            raise LocalEntryNotFoundError("not in the cache")
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


@pytest.fixture(scope="module")
def both(hub: Path) -> tuple[Encoder, Encoder]:
    with pytest.MonkeyPatch.context() as patch:
        vocabulary.encoder.cache_clear()
        package = vocabulary.encoder()
        downloads(patch, hub, cached=True)
        patch.setitem(sys.modules, "instant_clip_tokenizer", None)
        vocabulary.encoder.cache_clear()
        from_hub = vocabulary.encoder()
    vocabulary.encoder.cache_clear()
    return package, from_hub


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a cat",
        "Galaxy  Bottle,\n8k!!",
        "it's 1234 o'clock",
        "naïve café",
        "日本の風景",
        "🌌✨",
        "a_b#c@d",
        "",
        " ",
    ],
)
def test_the_hubs_ids_are_the_packages(both: tuple[Encoder, Encoder], text: str) -> None:
    package, from_hub = both
    assert from_hub(text) == package(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x24F, exclude_categories=["Cc", "Cs"]), max_size=80))
@settings(deadline=None)
def test_any_latin_text_has_the_packages_ids(both: tuple[Encoder, Encoder], text: str) -> None:
    package, from_hub = both
    assert from_hub(text) == package(text)


@pytest.mark.usefixtures("no_package")
def test_what_is_in_the_hubs_cache_is_not_asked_for_again(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = downloads(monkeypatch, hub, cached=True)
    assert vocabulary.encoder()("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert asked == [("vocab.json", True), ("merges.txt", True)]


@pytest.mark.usefixtures("no_package")
def test_what_is_not_in_the_hubs_cache_is_downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = downloads(monkeypatch, hub, cached=False)
    assert vocabulary.encoder()("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert [file for file, locally in asked if not locally] == ["vocab.json", "merges.txt"]


@pytest.mark.usefixtures("no_package")
def test_out_of_reach_is_said_before_anything_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineError, match=r"vocabulary is out of reach.*openai/clip-vit-large-patch14"):
        Engine(EngineConfig(device="cpu"))
    assert main(["a cat", "--model", "starter", "--out", str(tmp_path / "out")]) == 1
    assert "Python 3.10 to 3.12" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.usefixtures("no_package")
def test_a_thread_that_comes_while_it_is_read_gets_it_too(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads(monkeypatch, hub, cached=True)
    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(vocabulary.encoder()("cat"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[2368]] * 4
