"""PNG files carry parameters there and back, damage is refused by name, files never overwrite each other."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from engine.errors import BadRequest
from engine.formats.comfyui import api_workflow
from engine.formats.infotext import infotext
from engine.formats.infotext.lines import Infotext
from engine.formats.png import (
    encode_png,
    picture_metadata,
    record_from_png,
    request_from_png,
    text_chunks,
    workflow_metadata,
)
from engine.request import MAX_SEED, GenerationRequest
from engine.request_parts import Lora

FILE = "AWPainting_v1.3.safetensors"
A1111 = "a\nNegative prompt: b\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: m"
SIGNATURE = b"\x89PNG\r\n\x1a\n"

requests = st.builds(
    GenerationRequest,
    prompt=st.text() | st.sampled_from(["Negative prompt: x", "\0", "\r\n", "é", "日本"]),
    negative_prompt=st.text(),
    seed=st.integers(0, MAX_SEED),
    batch_size=st.integers(1, 9),
    clip_skip=st.integers(1, 24),
    cfg_scale=st.floats(0, 100),
)
records = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text())


def picture(size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.effect_noise(size, 60).convert("RGB")


def png(request: GenerationRequest | None = None, record: dict[str, Any] | None = None, index: int = 0) -> bytes:
    metadata = picture_metadata(
        request or GenerationRequest(),
        checkpoint_file=FILE,
        model_name="AWPainting_v1.3",
        model_hash="0123456789",
        record=record or {},
        index=index,
        version="0.1.0",
    )
    return encode_png(picture(), metadata)


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def handmade(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return SIGNATURE + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def refused(source: Path | str | bytes, said: str = "") -> None:
    for read in (request_from_png, record_from_png, text_chunks):
        with pytest.raises(BadRequest) as caught:
            read(source)
        assert caught.value.field == "repeat"
        assert said in str(caught.value)


# Parameters inside


def test_a_graph_that_was_posted_takes_ours_place_and_ours_counts() -> None:
    posted = {"prompt": json.dumps({"1": {"class_type": "PreviewImage"}}), "mine": "[1]"}
    request = GenerationRequest(prompt="own", seed=MAX_SEED, batch_size=3, clip_skip=2)
    named = {"checkpoint_file": FILE, "model_name": "m", "model_hash": None, "record": {"device": "cpu"}, "index": 2}
    metadata = picture_metadata(request, posted=posted, **named)  # type: ignore[arg-type]
    assert {name: metadata[name] for name in posted} == posted
    assert "workflow" not in metadata
    assert metadata["parameters"] == picture_metadata(request, **named)["parameters"]  # type: ignore[arg-type]
    data = encode_png(picture(), metadata)
    assert request_from_png(data) == dataclasses.replace(request, model=FILE)
    assert record_from_png(data) == {"device": "cpu"}


@given(requests, records, st.integers(0, 8))
def test_a_request_and_its_record_come_back(request: GenerationRequest, record: dict[str, Any], index: int) -> None:
    data = png(request, record, index)
    assert request_from_png(data) == dataclasses.replace(request, model=FILE)
    assert record_from_png(data) == record
    assert json.loads(text_chunks(data)["engine"])["index"] == index


@given(st.dictionaries(st.sampled_from(["prompt", "workflow", "parameters", "engine"]), st.text()))
def test_texts_are_what_pillow_reads_too(metadata: dict[str, str]) -> None:
    data = encode_png(picture(), metadata)
    assert dict(PngImageFile(io.BytesIO(data)).text) == text_chunks(data)
    assert text_chunks(data) == {keyword: text.replace("\0", "\ufffd") for keyword, text in metadata.items()}


def test_pixels_survive() -> None:
    original = picture((64, 40))
    with Image.open(io.BytesIO(encode_png(original, {"parameters": "x"}))) as read:
        assert read.format == "PNG"
        assert read.tobytes() == original.tobytes()


def test_the_line_has_the_hashes_of_loras_and_is_left_out_where_it_cannot_say_a_request() -> None:
    record = {"adapters": [{"file": "ink.safetensors", "hash": "0123456789ab"}]}
    named: dict[str, Any] = {"checkpoint_file": FILE, "model_name": "m", "model_hash": None, "index": 0}
    request = GenerationRequest(seed=1, loras=(Lora(name="ink"),))
    line = picture_metadata(request, record=record, **named)["parameters"]
    assert "<lora:ink:1>" in line
    assert 'Lora hashes: "ink: 0123456789ab"' in line
    odd = dataclasses.replace(request, loras=(Lora(name="a:b"),))
    assert "parameters" not in picture_metadata(odd, record=record, **named)


def test_a_workflows_line_gets_the_hashes_of_its_files_before_its_version() -> None:
    workflow = GenerationRequest(seed=1).workflow()
    record = {
        "adapters": [{"file": "ink.safetensors", "hash": "0123456789ab"}],
        "embeddings": [{"file": "neg.pt", "hash": "ba9876543210"}],
        "vae_hash": "63aeecb90f",
    }
    request = GenerationRequest(prompt="x, Version: 1", seed=1, vae="soft, of 2023")
    line = infotext(request, model_name="m", model_hash=None, version="2")
    texts = workflow_metadata(workflow, record=record, index=0, posted={"parameters": line})
    found, before = Infotext.of(texts["parameters"]), Infotext.of(line)
    assert (found.prompt, list(found.pairs)[-1]) == (before.prompt, "Version")
    hashes = {"VAE hash": "63aeecb90f", "Lora hashes": "ink: 0123456789ab", "TI hashes": "neg: ba9876543210"}
    assert found.pairs == before.pairs | hashes
    assert "parameters" not in workflow_metadata(workflow, record=record, index=0)
    plain = workflow_metadata(workflow, record={}, index=0, posted={"parameters": line, "prompt": "{}"})
    assert (plain["parameters"], plain["prompt"]) == (line, "{}")


def test_latin_text_is_plain_and_other_text_international() -> None:
    data = encode_png(picture(), {"parameters": "café", "engine": "日本", "workflow": "\ud800"})
    assert b"tEXtparameters\0caf\xe9" in data
    assert b"iTXtengine\0" in data
    assert text_chunks(data)["workflow"] == "?"


def test_the_graphs_are_ascii_as_comfyui_writes_them() -> None:
    texts = text_chunks(png(GenerationRequest(prompt="日本é")))
    assert (texts["prompt"] + texts["workflow"] + texts["engine"]).isascii()
    assert json.loads(texts["prompt"])["6"]["inputs"]["text"] == "日本é"


def test_a_picture_needs_a_seed() -> None:
    with pytest.raises(BadRequest, match="seed"):
        png(GenerationRequest(seed=None))


def test_the_graph_counts_before_the_editors_before_the_line() -> None:
    def graph(seed: int) -> str:
        return json.dumps(api_workflow(GenerationRequest(seed=seed), checkpoint_file=FILE))

    texts = {"parameters": A1111, "workflow": graph(2), "prompt": graph(3)}
    for seed, without in ((3, "prompt"), (2, "workflow"), (1, "parameters")):
        data = encode_png(picture(), texts)
        assert request_from_png(data).seed == seed
        del texts[without]
    refused_request(encode_png(picture(), texts), "repeat", "parameters inside")


def refused_request(data: bytes, field: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request_from_png(data)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_a_prompt_text_that_is_no_graph_is_passed_over() -> None:
    for text in ("a castle", "[1]", "5", "", "{", "{}", "[" * 100_000):
        assert request_from_png(encode_png(picture(), {"prompt": text, "parameters": A1111})).seed == 1


def test_what_a_picture_asks_for_and_we_lack_is_refused_by_name() -> None:
    graph: Any = api_workflow(GenerationRequest(), checkpoint_file=FILE)
    graph["3"]["inputs"]["model"] = ["9", 0]
    graph["9"] = {"class_type": "UNETLoader", "inputs": {}}
    graph["10"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}
    texts = {"prompt": json.dumps(graph), "parameters": A1111}
    refused_request(encode_png(picture(), texts), "repeat workflow node 9 (UNETLoader)", "UNETLoader")
    data = encode_png(picture(), {"parameters": A1111 + ", Tiling: True"})
    refused_request(data, "repeat infotext Tiling", "True")


def test_the_record_is_empty_where_there_is_none() -> None:
    for text in ("no JSON", "[]", "{}", '{"record": 5}'):
        assert record_from_png(encode_png(picture(), {"engine": text})) == {}
    assert record_from_png(encode_png(picture(), {})) == {}


def test_compressed_and_late_texts_are_read(tmp_path: Path) -> None:
    packed = zlib.compress(A1111.encode())
    international = b"parameters\0\1\0en\0key\0" + packed
    for data in (
        handmade(chunk(b"zTXt", b"parameters\0\0" + packed)),
        handmade(chunk(b"iTXt", international)),
        handmade(chunk(b"iTXt", b"parameters\0\0\0\0\0" + A1111.encode())),
        handmade()[:-12] + chunk(b"tEXt", b"parameters\0" + A1111.encode()) + chunk(b"IEND", b""),
    ):
        assert request_from_png(data).sampler == "euler_ancestral"
        (tmp_path / "x.png").write_bytes(data)
        assert request_from_png(tmp_path / "x.png") == request_from_png(str(tmp_path / "x.png"))


# Damage


def test_damaged_files_are_refused_as_such() -> None:
    text = b"parameters\0" + A1111.encode()
    bomb = zlib.compress(b"x" * 10**8)
    assert len(bomb) < 10**6
    for data, said in (
        (b"", "does not start"),
        (b"GIF89a", "does not start"),
        (SIGNATURE, "cut off"),
        (png()[:-1], "cut off"),
        (png()[:200], "cut off"),
        (SIGNATURE + chunk(b"IEND", b""), "header"),
        (handmade(chunk(b"tEXt", text, crc=0)), "damaged"),
        (handmade(chunk(b"zTXt", b"parameters\0\0no zlib")), "damaged"),
        (handmade(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(text)[:-5])), "damaged"),
        (handmade(chunk(b"iTXt", b"parameters\0\0\0\0\0\xff")), "damaged"),
        (handmade(chunk(b"zTXt", b"parameters\0\0" + bomb)), "too large"),
        (handmade(chunk(b"iTXt", b"parameters\0\1\0\0\0" + bomb)), "too large"),
        (handmade(*[chunk(b"tEXt", b"k%d\0" % key + b"x" * 2**20) for key in range(9)]), "too large"),
        (handmade(*[chunk(b"teSt", b"")] * 100_000), "too many"),
        (SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR", "cut off"),
    ):
        refused(data, said)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for path in ("none.png", "", "pipe", "link", "a\0b", "x" * 5000):
        refused(tmp_path / path)
    refused("\ud800")


def test_a_text_that_is_missing_is_told() -> None:
    refused_request(encode_png(picture(), {"Comment": "x"}), "repeat", "parameters inside")


def read_or_refuse(data: bytes) -> None:
    for read in (request_from_png, record_from_png):
        try:
            found: object = read(data)
        except BadRequest as error:
            found = error
        assert isinstance(found, GenerationRequest | dict) or str(found).startswith("repeat")


@given(st.binary(max_size=200), st.integers(0, 3000), st.integers(0, 200), st.booleans())
def test_a_mutated_file_is_read_or_refused(replacement: bytes, at: int, length: int, whole: bool) -> None:
    original = png(GenerationRequest(prompt="日本"))
    read_or_refuse(replacement if whole else original[:at] + replacement + original[at + length :])


@given(
    st.sampled_from(["prompt", "workflow", "parameters", "engine"]),
    st.text(max_size=20),
    st.integers(0, 3000),
    st.integers(0, 20),
)
def test_a_mutated_text_is_read_or_refused(keyword: str, replacement: str, at: int, length: int) -> None:
    text = text_chunks(png())[keyword]
    read_or_refuse(encode_png(picture(), {keyword: text[:at] + replacement + text[at + length :]}))


@given(st.lists(st.tuples(st.sampled_from([b"tEXt", b"zTXt", b"iTXt"]), st.binary(max_size=40), st.booleans())))
def test_any_text_chunks_are_read_or_refused(parts: list[tuple[bytes, bytes, bool]]) -> None:
    keyword = b"prompt\0"
    chunks = [chunk(kind, keyword + data if named else data) for kind, data, named in parts]
    try:
        texts = text_chunks(handmade(*chunks))
    except BadRequest as error:
        texts = {"": error.field}
    assert texts or not parts
