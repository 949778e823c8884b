"""AUTOMATIC1111's parameters text: ours comes back exactly, theirs is read or refused by key, nothing else raised."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.formats.infotext import (
    infotext,
    request_from_infotext,
)
from engine.request import MAX_SEED, PROMPT_SYNTAXES, SAMPLERS, SCHEDULERS, GenerationRequest

prompts = st.text() | st.sampled_from(
    [
        "",
        " ",
        "\n",
        "a\n",
        "Steps: 20, Sampler: Euler, Seed: 1",
        "a\r\nb\r",
        "neg: x, y",
        "<lora:a:1>",
        '"',
        "Ünïcode 🫙",
    ]
)
requests = st.builds(
    GenerationRequest,
    prompt=prompts,
    negative_prompt=prompts,
    prompt_syntax=st.sampled_from(PROMPT_SYNTAXES),
    width=st.integers(2, 2048).map(lambda n: n * 8),
    height=st.integers(2, 2048).map(lambda n: n * 8),
    batch_size=st.integers(1, 4096),
    steps=st.integers(1, 10000),
    cfg_scale=st.floats(0, 100),
    sampler=st.sampled_from(SAMPLERS),
    scheduler=st.sampled_from(SCHEDULERS),
    seed=st.integers(0, MAX_SEED),
    denoise=st.floats(0, 1, exclude_min=True),
    clip_skip=st.integers(1, 100),
)
model_names = st.text(min_size=1).filter(lambda name: "\0" not in name) | st.sampled_from(
    ["a, b", "C: d", '"x"', " x ", "a\nb", "x,", '"', 'a "b', "\\", "\x85"]
)

A1111 = (
    "a castle, (sunset:1.2)\nby the sea\n"
    "Negative prompt: blurry,\nlowres\n"
    "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1234567890, Size: 640x960, "
    "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, Version: v1.10.1"
)


def theirs(**changes: str | None) -> str:
    """A text of theirs with other values; None drops the key, a new key goes last."""
    pairs: dict[str, str | None] = {
        "Steps": "20",
        "Sampler": "Euler",
        "CFG scale": "7",
        "Seed": "1",
        "Size": "512x512",
    }
    pairs |= {key.replace("_", " "): value for key, value in changes.items()}
    return "a\nNegative prompt: b\n" + ", ".join(f"{key}: {value}" for key, value in pairs.items() if value is not None)


def refused(text: str, field: str, *said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request_from_infotext(text)
    assert caught.value.field == field
    for words in said:
        assert words in str(caught.value)


def test_the_written_text_is_what_automatic1111_writes() -> None:
    request = GenerationRequest(prompt="a\nb", negative_prompt="c", cfg_scale=7, clip_skip=2, seed=5)
    text = infotext(request, model_name="v1, 5", model_hash="6ce0161689", version="0.1.0")
    assert text == (
        "a\nb\nNegative prompt: c\nSteps: 20, Sampler: Euler, Schedule type: Normal, CFG scale: 7, Seed: 5, "
        'Size: 512x512, Model hash: 6ce0161689, Model: "v1, 5", Clip skip: 2, RNG: CPU, '
        "Version: stable-diffusion-engine 0.1.0"
    )


def test_a_batch_tells_its_size_and_the_pictures_place() -> None:
    request = GenerationRequest(batch_size=3, seed=5)
    texts = [infotext(request, model_name="m", model_hash=None, position=place) for place in range(3)]
    assert len(set(texts)) == 3
    assert all("Seed: 5," in text and "Batch size: 3" in text for text in texts)
    assert all(request_from_infotext(text).batch_size == 3 for text in texts)


def test_a_text_needs_a_seed() -> None:
    with pytest.raises(BadRequest, match="seed"):
        infotext(GenerationRequest(seed=None), model_name="m", model_hash=None)


@given(requests, model_names, st.none() | st.text("0123456789abcdef", min_size=10), st.text())
def test_a_request_comes_back(request: GenerationRequest, name: str, digest: str | None, version: str) -> None:
    assume(not request.prompt.startswith("Negative prompt:") and "\nNegative prompt:" not in request.prompt)
    text = infotext(request, model_name=name, model_hash=digest, version=version)
    expected = dataclasses.replace(request, model=name)
    assert request_from_infotext(text) == expected
    assert request_from_infotext(text + "\r\n") == expected


def test_a_negative_prompt_may_hold_anything() -> None:
    request = GenerationRequest(prompt="", negative_prompt="x\nNegative prompt: y\nSteps: 1, Sampler: DDIM, Seed: 2\n")
    text = infotext(request, model_name="m", model_hash=None)
    assert request_from_infotext(text) == dataclasses.replace(request, model="m")
    assert request_from_infotext(text.strip()) == dataclasses.replace(request, model="m")


def test_a_picture_of_automatic1111_is_read() -> None:
    for text in (A1111, A1111.replace("\n", "\r\n"), A1111 + "\n\n"):
        assert request_from_infotext(text) == GenerationRequest(
            prompt="a castle, (sunset:1.2)\nby the sea",
            negative_prompt="blurry,\nlowres",
            prompt_syntax="a1111",
            steps=30,
            sampler="dpmpp_2m",
            scheduler="karras",
            cfg_scale=7.5,
            seed=1234567890,
            width=640,
            height=960,
            clip_skip=2,
            model="v1-5-pruned-emaonly",
        )


def test_an_absent_negative_prompt_is_empty() -> None:
    assert request_from_infotext(theirs().replace("Negative prompt: b\n", "")).negative_prompt == ""


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("Euler", None, ("euler", "normal")),
        ("DPM++ 2M", None, ("dpmpp_2m", "normal")),  # before Automatic there was: no suffix, no Karras
        ("DPM++ 2M Karras", None, ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "exponential", ("dpmpp_2m", "exponential")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", "karras")),
        ("Euler a", "Automatic", ("euler_ancestral", "normal")),
        ("Euler", "Uniform", ("euler", "normal")),
        ("DDIM", None, ("ddim", "ddim_uniform")),
        ("DDIM", "Karras", ("ddim", "ddim_uniform")),  # DDIM does not look at the schedule type there
        ("UniPC", "Karras", ("uni_pc", "normal")),
    ],
)
def test_their_schedules(sampler: str, schedule: str | None, expected: tuple[str, str]) -> None:
    read = request_from_infotext(theirs(Sampler=sampler, Schedule_type=schedule))
    assert (read.sampler, read.scheduler) == expected


def test_a_quotation_that_is_only_part_of_a_value_stays() -> None:
    assert request_from_infotext(f'{theirs(Model=None)}, Model: "x" y').model == '"x" y'


def test_the_start_noise_of_their_gpu_is_read() -> None:
    assert [request_from_infotext(theirs(RNG=rng)).start_noise for rng in ("CPU", "GPU", "NV")] == [
        "cpu",
        "cuda",
        "cuda",
    ]
    refused(theirs(RNG="TPU"), "infotext RNG", "cpu, cuda")
    assert request_from_infotext(theirs(RNG="NV")).step_noise == "cpu"


def test_the_seed_of_a_picture_of_their_batch_is_its_own() -> None:
    assert request_from_infotext(theirs(Batch_size="4", Batch_pos="2")).batch_size == 1


@pytest.mark.parametrize(
    "line",
    [
        "RNG: CPU",
        "User: me",
        "Model hash: abc",
        'Hashes: {"model": "137ebf59ea"}',
        "Beta schedule alpha: 0.6",
        "Emphasis: No norm",
        'Lora hashes: "style: abc, other: def"',
        'TI hashes: "easynegative: abc"',
        'Civitai resources: [{"type":"checkpoint","weight":1}], Civitai metadata: {}',
        "Steps: 20",
        "",
        " ",
    ],
)
def test_keys_that_leave_the_picture_as_it_is_are_ignored(line: str) -> None:
    assert request_from_infotext(f"{theirs()}, {line}") == request_from_infotext(theirs())


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("Hires upscale: 2, Hires steps: 10", "Hires upscale"),
        ("VAE: vae-ft-mse", "VAE"),
        ("Variation seed: 1, Variation seed strength: 0.2", "Variation seed"),
        ("ENSD: 31337", "ENSD"),
        ("Eta: 0.67", "Eta"),
        ("Tiling: True", "Tiling"),
        ("Face restoration: CodeFormer", "Face restoration"),
        ("Refiner: sd_xl_refiner", "Refiner"),
        ('ControlNet 0: "Module: canny, Model: x"', "ControlNet 0"),
        ("Token merging ratio: 0.5", "Token merging ratio"),
        ("Denoising strength: 0.7", "Denoising strength"),
        ("Seed resize from: 64x64", "Seed resize from"),
        ("Beta schedule alpha: 0.7", "Beta schedule alpha"),
        ('User: "a, b: c", Hashes: {"vae": "1", "model": "2"}', "Hashes"),
        ("Some extension: x", "Some extension"),
        ("Seed: 2", "Seed"),
        ("Steps: 0", "Steps"),
    ],
)
def test_keys_that_would_change_the_picture_are_refused_by_name(line: str, key: str) -> None:
    refused(f"{theirs()}, {line}", f"infotext {key}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Steps", "0"),
        ("Steps", "many"),
        ("CFG scale", "nan"),
        ("Seed", "-1"),
        ("Seed", "9" * 10_000),
        ("Size", "513x512"),
        ("Size", "512"),
        ("Size", f"{'9' * 10_000}x512"),
        ("Clip skip", "0"),
        ("Sampler", "PLMS"),
        ("Schedule type", "Polyexponential"),
    ],
)
def test_values_out_of_range_are_refused_at_their_key(key: str, value: str) -> None:
    refused(theirs(**{key: value}), f"infotext {key}", "expected")


@pytest.mark.parametrize("missing", ["Steps", "Sampler", "CFG scale", "Seed", "Size"])
def test_a_text_without_a_setting_is_refused_instead_of_guessed(missing: str) -> None:
    refused(theirs(**{missing: None}), "infotext", f"{missing} missing")


@pytest.mark.parametrize(
    "text", ["", "a prompt", "a\nb\nc: d", "Steps: 20", theirs() + ", stray words", theirs() + "\nmore"]
)
def test_a_text_without_parameters_is_refused(text: str) -> None:
    refused(text, "infotext", "last line")


def test_a_prompt_is_read_in_the_language_that_it_was_written_in() -> None:
    words = "[a|b] AND c BREAK d <lora:style:0.8>"
    read = request_from_infotext(theirs().replace("a\n", f"{words}\n"))
    assert (read.prompt, read.prompt_syntax) == (words, "a1111")
    request = GenerationRequest(prompt=words)
    read = request_from_infotext(infotext(request, model_name="m", model_hash=None))
    assert (read.prompt, read.prompt_syntax) == (words, "comfyui")


pieces = st.sampled_from(
    [
        *A1111.replace("\n", ", ").split(", "),
        "Negative prompt:",
        "\n",
        ", ",
        ": ",
        '"',
        "\\",
        "Hashes: {",
        ",",
        "\r",
        "[" * 50,
    ]
)


@given(st.text() | st.lists(pieces | st.text(max_size=4)).map("".join) | st.lists(pieces).map(", ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"{A1111}, {text}", f"{text}\n{A1111}", f"{A1111}\n{text}"):
        try:
            read: object = request_from_infotext(whole)
        except BadRequest as error:
            read = error
        assert isinstance(read, GenerationRequest) or str(read).startswith("infotext")


def test_long_texts_are_no_attack() -> None:
    for part in ("a", "aa:", "aa,", 'aa: "', 'aa: "\\"', "<lora:", "\nNegative prompt:", " ", '"', "a\n", "aa: [", "["):
        for text in (part * 200_000, f"{theirs()}, {part * 200_000}", f"{part * 200_000}\n{theirs()}"):
            try:
                request_from_infotext(text)
            except BadRequest as error:
                refused(text, error.field)
