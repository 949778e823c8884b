"""AUTOMATIC1111's parameters text: ours comes back exactly, theirs is read or refused by key, nothing else raised."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import Control, Hires, Lora, PromptReading
from engine.errors import BadRequest
from engine.formats.infotext import (
    infotext,
    request_from_infotext,
)
from engine.request import MAX_SEED, PROMPT_SYNTAXES, SAMPLERS, SCHEDULERS, GenerationRequest
from engine.request_a1111 import A1111
from engine.sampling.a1111.samplers import OWN_SAMPLERS
from engine.sampling.a1111.schedules import SCHEDULES
from engine.text.a1111.reading import EMPHASES
from engine.workflow.a1111_second import KERNELS
from engine.workflow.from_request import workflow_of
from engine.workflow.latents import METHODS
from tests.pack_a1111 import A1111Case, cases_of

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
names = st.text(min_size=1, max_size=12).filter(lambda name: "\0" not in name and not set(name) & set(":<>"))
shares = st.floats(0, 1)
seeds = st.integers(0, MAX_SEED)
loras = st.builds(Lora, name=names, strength=st.floats(-100, 100), clip_strength=st.none() | st.floats(-100, 100))
controls = st.builds(Control, model=names, image=names, strength=st.floats(0, 10), start=shares, end=shares)
scaled = st.builds(
    Hires,
    scale=st.none() | st.floats(1, 8),
    method=st.sampled_from(METHODS),
    denoise=st.floats(0, 1, exclude_min=True),
    steps=st.none() | st.integers(1, 10_000),
    cfg_scale=st.none() | st.floats(0, 100),
    sampler=st.none() | st.sampled_from(SAMPLERS),
    scheduler=st.none() | st.sampled_from(SCHEDULERS),
    seed=st.none() | seeds,
    prompt=st.none() | prompts.filter(lambda text: "<" not in text),
    negative_prompt=st.none() | prompts,
)
enlarged = st.builds(
    Hires,
    width=st.just(1024),
    height=st.just(768),
    upscaler=st.none() | names.filter(lambda name: not name.startswith("Latent")).map(lambda name: f"4x{name}"),
)
comfyui = st.builds(
    GenerationRequest,
    prompt=prompts,
    negative_prompt=prompts,
    prompt_syntax=st.sampled_from(PROMPT_SYNTAXES),
    width=st.integers(2, 2048).map(lambda n: n * 8),
    height=st.integers(2, 2048).map(lambda n: n * 8),
    batch_size=st.integers(1, 64),
    steps=st.integers(1, 10000),
    cfg_scale=st.floats(0, 100),
    sampler=st.sampled_from(SAMPLERS),
    scheduler=st.sampled_from(SCHEDULERS),
    seed=seeds,
    start_noise=st.sampled_from(["cpu", "cuda"]),
    step_noise=st.sampled_from(["cpu", "cuda"]),
    denoise=st.floats(0, 1, exclude_min=True),
    clip_skip=st.integers(1, 24),
    vae=st.none() | names,
    image=st.none() | names,
    loras=st.lists(loras, max_size=3).map(tuple),
    controls=st.lists(controls, max_size=2).map(tuple),
    hires=st.none() | scaled | enlarged,
)
flags = st.booleans()
levels = st.floats(0, 1000)
parts = st.builds(
    A1111,
    sampler=st.none() | st.sampled_from(OWN_SAMPLERS),
    schedule=st.sampled_from(["automatic", *SCHEDULES]),
    rng=st.sampled_from(["nv", "cpu"]),
    ensd=st.integers(0, 2**53),
    subseed=seeds,
    subseed_strength=shares,
    seed_resize_from_w=st.integers(0, 2048),
    seed_resize_from_h=st.integers(0, 2048),
    eta=st.none() | shares,
    s_churn=shares,
    s_tmin=levels,
    s_tmax=levels,
    s_noise=shares,
    sigma_min=levels,
    sigma_max=levels,
    rho=shares,
    beta_dist_alpha=st.floats(0.1, 2),
    beta_dist_beta=st.floats(0.1, 2),
    always_discard_next_to_last_sigma=flags,
    sgm_noise_multiplier=flags,
    enable_quantization=flags,
    use_downcasted_alpha_bar=flags,
    zero_terminal_snr=flags,
    initial_noise_multiplier=shares,
    img2img_extra_noise=shares,
    img2img_fix_steps=flags,
    s_min_uncond=levels,
    s_min_uncond_all=flags,
    skip_early_cond=shares,
    uni_pc_variant=st.sampled_from(["bh1", "bh2", "vary_coeff"]),
    uni_pc_skip_type=st.sampled_from(["time_uniform", "time_quadratic", "logSNR"]),
    uni_pc_order=st.integers(1, 3),
    uni_pc_lower_order_final=flags,
)
readings = st.builds(
    PromptReading,
    emphasis=st.sampled_from(EMPHASES),
    old_emphasis=flags,
    comma_backtrack=st.integers(0, 75),
    old_schedules=flags,
).filter(lambda reading: reading != PromptReading())
second_parts = st.fixed_dictionaries(
    {},
    optional={
        "hires_sampler": st.sampled_from(OWN_SAMPLERS),
        "hires_schedule": st.sampled_from(["automatic", *SCHEDULES]),
        "hires_kernel": st.sampled_from(KERNELS),
    },
)
scaled_up = st.builds(
    lambda hires, width, height: dataclasses.replace(hires, scale=None, width=width, height=height),
    scaled,
    st.integers(8, 100).map(lambda cells: cells * 8),
    st.integers(8, 100).map(lambda cells: cells * 8),
)


def automatic(
    request: GenerationRequest, part: A1111, reading: PromptReading | None, second: dict[str, Any], hires: Hires | None
) -> GenerationRequest:
    """A request for AUTOMATIC1111's picture, whose second pass has at least 64 pixels each way."""
    if hires is not None:
        part = dataclasses.replace(part, **second)
        scheduler = None if hires.scheduler not in SCHEDULES else hires.scheduler
        denoise = max(hires.denoise, 0.1)
        hires = dataclasses.replace(hires, scheduler=scheduler, denoise=denoise, steps=min(hires.steps or 20, 900))
    return dataclasses.replace(
        request,
        prompt_syntax="a1111",
        prompt_reading=reading,
        a1111=part,
        hires=hires,
        width=min(max(request.width, 64), 1024),
        height=min(max(request.height, 64), 1024),
        steps=min(request.steps, 900),
        denoise=max(request.denoise, 0.1),
    )


automatics = st.builds(
    automatic, comfyui, parts, st.none() | readings, second_parts, st.none() | scaled | enlarged | scaled_up
)
requests = comfyui | automatics
"""For ComfyUI's picture, and for AUTOMATIC1111's."""

model_names = st.text(min_size=1).filter(lambda name: "\0" not in name) | st.sampled_from(
    ["a, b", "C: d", '"x"', " x ", "a\nb", "x,", '"', 'a "b', "\\", "\x85"]
)

CASTLE = (
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
    expected = workflow_of(dataclasses.replace(request, model=name))
    assert workflow_of(request_from_infotext(text)) == expected
    assert workflow_of(request_from_infotext(text + "\r\n")) == expected


@given(comfyui.filter(lambda request: request.hires is None))
def test_a_request_of_one_pass_comes_back_as_it_was(request: GenerationRequest) -> None:
    assume(not request.prompt.startswith("Negative prompt:") and "\nNegative prompt:" not in request.prompt)
    text = infotext(request, model_name="m", model_hash=None)
    assert request_from_infotext(text) == dataclasses.replace(request, model="m")


def test_what_automatic1111_has_words_for_is_written_in_these() -> None:
    request = GenerationRequest(
        prompt="a boat", negative_prompt="", seed=5, width=64, height=64, vae="clear.safetensors", clip_skip=2,
        loras=(Lora(name="ink", strength=0.8), Lora(name="wash", strength=1, clip_strength=0.5)),
        controls=(Control(model="edges", image="photo.png", strength=0.7, end=0.5),),
        hires=Hires(scale=1.5, method="bilinear", denoise=0.4, steps=7, sampler="euler_ancestral", prompt="a ship"),
    )  # fmt: skip
    hashes: dict[str, Any] = {
        "lora_hashes": {"ink": "0123456789ab"},
        "embedding_hashes": {"three": "ba9876543210", "neg-long": "0"},
        "vae_hash": "63aeecb90f",
    }
    text = infotext(request, model_name="m", model_hash=None, **hashes)
    assert text.startswith("a boat<lora:ink:0.8><lora:wash:0.5:1>\nSteps: 20, ")
    for pair in (
        "VAE hash: 63aeecb90f, VAE: clear.safetensors, Denoising strength: 0.4, Clip skip: 2, RNG: CPU",
        "Hires sampler: Euler a, Hires prompt: a ship, Hires upscale: 1.5, Hires steps: 7, Hires upscaler: Latent",
        'ControlNet 0: "Module: none, Model: edges, Weight: 0.7, Guidance Start: 0, Guidance End: 0.5"',
        'Lora hashes: "ink: 0123456789ab", TI hashes: "three: ba9876543210, neg-long: 0"',
    ):
        assert pair in text


@pytest.mark.parametrize(
    ("part", "field"),
    [({"loras": (Lora(name="a:b"),)}, "loras"), ({"hires": Hires(upscaler="Latent")}, "hires.upscaler")],
)
def test_what_no_text_can_say_is_refused(part: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        infotext(GenerationRequest(**part), model_name="m", model_hash=None)
    assert refused.value.field == field


def test_a_negative_prompt_may_hold_anything() -> None:
    request = GenerationRequest(prompt="", negative_prompt="x\nNegative prompt: y\nSteps: 1, Sampler: DDIM, Seed: 2\n")
    text = infotext(request, model_name="m", model_hash=None)
    assert request_from_infotext(text) == dataclasses.replace(request, model="m")
    assert request_from_infotext(text.strip()) == dataclasses.replace(request, model="m")


def test_a_picture_of_automatic1111_is_read() -> None:
    for text in (CASTLE, CASTLE.replace("\n", "\r\n"), CASTLE + "\n\n"):
        assert request_from_infotext(text) == GenerationRequest(
            prompt="a castle, (sunset:1.2)\nby the sea",
            negative_prompt="blurry,\nlowres",
            prompt_syntax="a1111",
            steps=30,
            sampler="dpmpp_2m",
            a1111=A1111(schedule="karras"),
            cfg_scale=7.5,
            seed=1234567890,
            width=640,
            height=960,
            clip_skip=2,
            model="v1-5-pruned-emaonly",
        )


def test_a_second_pass_of_theirs_is_read() -> None:
    line = (
        "Denoising strength: 0.55, Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent (bicubic), "
        "Hires sampler: DPM++ 2M Karras, Hires schedule type: Exponential, Hires prompt: a ship"
    )
    read = request_from_infotext(f"{theirs()}, {line}")
    assert (read.denoise, read.hires) == (
        1,
        Hires(scale=1.5, steps=12, method="bicubic", denoise=0.55, sampler="dpmpp_2m", prompt="a ship"),
    )
    assert read.a1111 == A1111(schedule="uniform", hires_schedule="exponential")
    line = "Hires upscale: 2, Hires upscaler: Lanczos, Hires sampler: Restart"
    read = request_from_infotext(f"{theirs()}, {line}")
    assert read.a1111 == A1111(schedule="uniform", hires_sampler="restart", hires_kernel="lanczos")
    line = "Denoising strength: 0.3, Hires resize: 100x200, Hires upscaler: R-ESRGAN 4x+"
    hires = Hires(width=96, height=200, denoise=0.3, upscaler="RealESRGAN_x4plus")
    assert request_from_infotext(f"{theirs()}, {line}").hires == hires
    for resize, size in (("600x0", (600, 600)), ("0x640", (640, 640)), ("700x640", (696, 640))):
        read = request_from_infotext(f"{theirs()}, Hires resize: {resize}, Hires upscaler: Latent")
        assert read.hires is not None
        assert (read.hires.width, read.hires.height) == size


def test_a_second_pass_whose_scale_depends_on_odd_sides_is_refused() -> None:
    refused(f"{theirs(Size='512x1024')}, Hires resize: 607x600, Hires upscaler: Latent", "infotext Hires resize")


def test_sizes_of_theirs_are_rounded_down() -> None:
    read = request_from_infotext(theirs(Size="100x76"))
    assert (read.width, read.height) == (96, 72)


def test_a_vae_of_theirs_is_read_and_none_is_the_checkpoints() -> None:
    assert request_from_infotext(f"{theirs()}, VAE hash: 63aeecb90f, VAE: vae-ft-mse.ckpt").vae == "vae-ft-mse.ckpt"
    assert request_from_infotext(f"{theirs()}, VAE: Automatic").vae is None


def part_of(line: str, **changes: str | None) -> A1111:
    part = request_from_infotext(f"{theirs(**changes)}, {line}").a1111
    assert part is not None
    return part


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("ENSD: 31337", {"ensd": 31337}),
        ("Eta: 0.67", {"eta": 0.67}),
        ("Sigma churn: 8, Sigma tmin: 0.1, Sigma tmax: 12, Sigma noise: 1.02",
         {"s_churn": 8, "s_tmin": 0.1, "s_tmax": 12, "s_noise": 1.02}),
        ("Schedule max sigma: 10, Schedule min sigma: 0.1, Schedule rho: 5",
         {"sigma_max": 10, "sigma_min": 0.1, "rho": 5}),
        ("Beta schedule alpha: 0.7, Beta scheduler beta: 0.5", {"beta_dist_alpha": 0.7, "beta_dist_beta": 0.5}),
        ("Discard penultimate sigma: True, SGM noise multiplier: True",
         {"always_discard_next_to_last_sigma": True, "sgm_noise_multiplier": True}),
        ("Noise Schedule: Zero Terminal SNR, Downcast alphas_cumprod: True",
         {"zero_terminal_snr": True, "use_downcasted_alpha_bar": True}),
        ("UniPC variant: bh2, UniPC skip type: logSNR, UniPC order: 2, UniPC lower order final: False",
         {"uni_pc_variant": "bh2", "uni_pc_skip_type": "logSNR", "uni_pc_order": 2, "uni_pc_lower_order_final": False}),
        ("Variation seed: 7, Variation seed strength: 0.2, Seed resize from: 64x96",
         {"subseed": 7, "subseed_strength": 0.2, "seed_resize_from_w": 64, "seed_resize_from_h": 96}),
        ("NGMS: 4, NGMS all steps: True, Skip Early CFG: 0.3",
         {"s_min_uncond": 4, "s_min_uncond_all": True, "skip_early_cond": 0.3}),
        ("Noise multiplier: 0.9, Extra noise: 0.1", {"initial_noise_multiplier": 0.9, "img2img_extra_noise": 0.1}),
        ("RNG: CPU", {"rng": "cpu"}),
        ("RNG: GPU", {}),
    ],
)  # fmt: skip
def test_what_decides_their_picture_is_read(line: str, fields: dict[str, Any]) -> None:
    assert part_of(line, Sampler="Euler a") == A1111(schedule="uniform", **fields)


def test_eta_counts_for_samplers_that_take_one() -> None:
    assert part_of("Eta: 0.5, Eta DDIM: 0.3", Sampler="DDIM").eta == 0.3
    assert part_of("Eta: 0.5, Eta DDIM: 0.3", Sampler="Euler a").eta == 0.5
    assert part_of("Eta: 0.5, Eta DDIM: 0.3").eta is None


@pytest.mark.parametrize(
    ("version", "half", "old"),
    [
        ("v1.5.2", True, True),
        ("v1.6.0", True, False),
        ("v1.6.0-400-gabcdef0", True, False),
        ("1.7.0", True, False),
        ("v1.7.0-224-gabcdef0", True, False),
        ("v1.7.0-225-gabcdef0", False, False),
        ("v1.8.0-RC", False, False),
        ("1.10.1", False, False),
        ("f2.0.1v1.10.1-previous-659-gc055f2d4", False, False),
        (None, False, False),
    ],
)
def test_older_versions_made_other_pictures(version: str | None, half: bool, old: bool) -> None:
    text = theirs(Version=version)
    part = request_from_infotext(text).a1111
    assert part is not None
    assert part.use_downcasted_alpha_bar == half
    assert request_from_infotext(text).prompt_reading is None  # no [ in the prompt
    reading = request_from_infotext(text.replace("a\n", "[a:b:0.5]\n")).prompt_reading
    assert reading == (PromptReading(old_schedules=True) if old else None)
    for sampler, pads in (("DDIM", old), ("PLMS", old), ("Euler", False)):
        assert part_of("Seed resize from: 0x0", Sampler=sampler, Version=version).pad_cond_uncond_v0 == pads


@pytest.mark.parametrize(("version", "by_steps"), [("1.7.0", True), ("1.8.0", False), (None, False)])
def test_a_refiner_is_read_without_its_hash_and_took_over_by_steps_once(version: str | None, by_steps: bool) -> None:
    part = part_of("Refiner: folder/other [0123456789], Refiner switch at: 0.6", Version=version)
    assert (part.refiner, part.refiner_switch_at) == ("folder/other", 0.6)
    assert part.refiner_switch_by_sample_steps == by_steps
    request = GenerationRequest(a1111=part, prompt_syntax="a1111")
    again = request_from_infotext(infotext(request, model_name="m", model_hash=None))
    assert again.a1111 == dataclasses.replace(part, schedule=again.a1111 and again.a1111.schedule)


@pytest.mark.parametrize(
    ("line", "reading"),
    [
        ("Emphasis: No norm", PromptReading(emphasis="no_norm")),
        ("Emphasis: Ignore", PromptReading(emphasis="ignore")),
        ("Emphasis: None", PromptReading(emphasis="none")),
        ("Emphasis: Original", None),
        ("Old prompt editing timelines: True", PromptReading(old_schedules=True)),
    ],
)
def test_how_their_prompts_are_read_is_read(line: str, reading: PromptReading | None) -> None:
    assert request_from_infotext(f"{theirs()}, {line}").prompt_reading == reading
    refused(f"{theirs()}, Emphasis: Loud", "infotext Emphasis", "No norm")


def test_a_picture_by_another_program_is_comfyuis() -> None:
    read = request_from_infotext(f"{theirs()}, Version: ComfyUI")
    assert (read.a1111, read.scheduler, read.start_noise) == (None, "normal", "cpu")
    refused(f"{theirs()}, Version: ComfyUI, Variation seed: 1", "infotext Variation seed")


def test_an_absent_negative_prompt_is_empty() -> None:
    assert request_from_infotext(theirs().replace("Negative prompt: b\n", "")).negative_prompt == ""


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("Euler", None, ("euler", None, "uniform")),
        ("DPM++ 2M", None, ("dpmpp_2m", None, "uniform")),  # before Automatic there was: no suffix, no Karras
        ("DPM++ 2M Karras", None, ("dpmpp_2m", None, "karras")),
        ("DPM++ 2M Karras", "exponential", ("dpmpp_2m", None, "exponential")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", None, "automatic")),
        ("Euler a", "SGM Uniform", ("euler_ancestral", None, "sgm_uniform")),
        ("DDIM CFG++", "Automatic", ("euler", "ddim_cfg_pp", "automatic")),
        ("Restart", "Align Your Steps", ("euler", "restart", "align_your_steps")),
    ],
)
def test_their_schedules(sampler: str, schedule: str | None, expected: tuple[str, str | None, str]) -> None:
    read = request_from_infotext(theirs(Sampler=sampler, Schedule_type=schedule))
    assert read.a1111 is not None
    assert (read.sampler, read.a1111.sampler, read.a1111.schedule) == expected


def test_a_quotation_that_is_only_part_of_a_value_stays() -> None:
    assert request_from_infotext(f'{theirs(Model=None)}, Model: "x" y').model == '"x" y'


def test_noise_is_a_gpus_unless_the_text_says_otherwise() -> None:
    parts = [request_from_infotext(theirs(RNG=rng)).a1111 for rng in ("CPU", "GPU", "NV", None)]
    assert [part and part.rng for part in parts] == ["cpu", "nv", "nv", "nv"]
    refused(theirs(RNG="TPU"), "infotext RNG", "CPU")


def test_the_seed_of_a_picture_of_their_batch_is_its_own() -> None:
    assert request_from_infotext(theirs(Batch_size="4", Batch_pos="2")).batch_size == 1


@pytest.mark.parametrize(
    "line",
    [
        "RNG: GPU",
        "Pad conds: False",
        "User: me",
        "Model hash: abc",
        'Hashes: {"model": "137ebf59ea"}',
        "Beta schedule alpha: 0.6",
        "Emphasis: Original",
        "ENSD: 0",
        "VAE hash: 63aeecb90f",
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
    ("line", "replaced", "key"),
    [
        ("Sampler: Sketch", ["sampler"], "Sampler"),
        ("Schedule type: Align Your Steps GITS", ["scheduler"], "Schedule type"),
        ("Steps: many", ["steps"], "Steps"),
        ("CFG scale: 1e9", ["cfg_scale"], "CFG scale"),
        ("Seed: %seed%", ["seed"], "Seed"),
        ("Size: 7x7", ["width", "height"], "Size"),
        ("Hires upscale: 2, Hires upscaler: Latent (cubic)", ["hires"], "Hires upscaler"),
        ("Denoising strength: 0.6", ["image"], "Denoising strength"),
    ],
)
def test_what_a_caller_replaces_need_not_be_readable(line: str, replaced: list[str], key: str) -> None:
    text = theirs(**{each.split(": ")[0]: each.split(": ")[1] for each in line.split(", ")})
    for others in ((), ("prompt",), replaced[:1] if len(replaced) > 1 else ()):
        with pytest.raises(BadRequest) as error:
            request_from_infotext(text, others)
        assert error.value.field == f"infotext {key}"
    request = request_from_infotext(text, replaced)
    assert request.denoise == (0.6 if replaced == ["image"] else 1)
    assert request.prompt == request_from_infotext(theirs()).prompt


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("Hires upscale: 2, Hires upscaler: Latent (cubic)", "Hires upscaler"),
        ("Hires upscale: 20", "Hires upscale"),
        ("Hires resize: 0x0", "Hires resize"),
        ("Hires upscale: 2, Hires checkpoint: other", "Hires checkpoint"),
        ("Prompt syntax: comfyui", "Prompt syntax"),
        ("Variation seed: -2", "Variation seed"),
        ("Seed resize from: 64", "Seed resize from"),
        ("Pad conds: perhaps", "Pad conds"),
        ("VAE Encoder: TAESD", "VAE Encoder"),
        ("Tiling: True", "Tiling"),
        ("Face restoration: CodeFormer", "Face restoration"),
        ("Refiner: other, Refiner switch at: 2", "Refiner switch at"),
        ('ControlNet 0: "Module: canny, Model: x"', "ControlNet 0"),
        ("Token merging ratio: 0.5", "Token merging ratio"),
        ("Denoising strength: 0.7", "Denoising strength"),
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
        ("Size", "15x512"),
        ("Size", "512"),
        ("Size", f"{'9' * 10_000}x512"),
        ("Clip skip", "0"),
        ("Sampler", "Sketch"),
        ("Schedule type", "Laplace"),
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


def test_a_tag_that_is_not_supported_is_refused() -> None:
    refused(theirs().replace("a\n", "a <hypernet:style:0.8>\n"), "infotext prompt", "<hypernet:style:0.8>")


KEYS_TO_COME = ("Hires upscaler", "Tiling")
"""Keys with values that are refused."""

pieces = st.sampled_from(
    [
        *CASTLE.replace("\n", ", ").split(", "),
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
    for whole in (text, f"{CASTLE}, {text}", f"{text}\n{CASTLE}", f"{CASTLE}\n{text}"):
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


@pytest.mark.parametrize("case", cases_of("txt2img"), ids=lambda case: case.name)
def test_every_recorded_text_is_read_or_refused_by_its_key(case: A1111Case) -> None:
    text = case.result["infotext"]
    try:
        read = request_from_infotext(text)
    except BadRequest as error:
        assert error.field.removeprefix("infotext ").partition(".")[0] in (*KEYS_TO_COME, "prompt"), text
        return
    again = infotext(read, model_name=read.model or "", model_hash=None)
    assert workflow_of(request_from_infotext(again)) == workflow_of(read)
