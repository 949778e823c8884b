"""Every key of AUTOMATIC1111's that changes its picture: it changes the workflow, or is refused by its name."""

from __future__ import annotations

import dataclasses

import pytest

from engine import GenerationRequest
from engine.errors import BadRequest
from engine.formats.infotext import request_from_infotext
from engine.formats.infotext.lines import Infotext

_PLAIN = {
    "Steps": "6",
    "Sampler": "Euler a",
    "Schedule type": "Karras",
    "CFG scale": "7",
    "Seed": "5",
    "Size": "64x64",
    "Model": "m",
    "Version": "v1.10.1",
}
_HIRES = {"Denoising strength": "0.7", "Hires upscale": "2.0", "Hires upscaler": "Latent"}

_CHANGING: list[tuple[str, str, dict[str, str]]] = [
    ("Steps", "7", {}),
    ("Sampler", "Heun", {}),
    ("Schedule type", "Exponential", {}),
    ("CFG scale", "7.5", {}),
    ("Seed", "6", {}),
    ("Size", "64x128", {}),
    ("Model", "n", {}),
    ("VAE", "soft.pt", {}),
    ("Clip skip", "2", {}),
    ("ENSD", "31337", {}),
    ("RNG", "CPU", {}),
    ("Emphasis", "No norm", {}),
    ("Eta", "0.5", {}),
    ("Eta DDIM", "0.5", {"Sampler": "DDIM"}),
    ("Sigma churn", "8.0", {"Sampler": "Euler"}),
    ("Sigma tmin", "0.5", {"Sampler": "Euler", "Sigma churn": "8.0"}),
    ("Sigma tmax", "9.0", {"Sampler": "Euler", "Sigma churn": "8.0"}),
    ("Sigma noise", "0.9", {"Sampler": "DPM++ SDE"}),
    ("Schedule max sigma", "10.0", {}),
    ("Schedule min sigma", "0.1", {}),
    ("Schedule rho", "5.0", {}),
    ("Beta schedule alpha", "0.7", {"Schedule type": "Beta"}),
    ("Beta scheduler beta", "0.7", {"Schedule type": "Beta"}),
    ("Discard penultimate sigma", "True", {}),
    ("SGM noise multiplier", "True", {}),
    ("Noise Schedule", "Zero Terminal SNR", {}),
    ("NGMS", "3.0", {}),
    ("NGMS all steps", "True", {"NGMS": "3.0"}),
    ("Skip Early CFG", "0.3", {}),
    ("Variation seed strength", "0.3", {"Variation seed": "7"}),
    ("Variation seed", "8", {"Variation seed": "7", "Variation seed strength": "0.3"}),
    ("Seed resize from", "96x64", {}),
    ("Old prompt editing timelines", "True", {}),
    ("Downcast alphas_cumprod", "True", {}),
    ("UniPC variant", "bh2", {"Sampler": "UniPC"}),
    ("UniPC skip type", "logSNR", {"Sampler": "UniPC"}),
    ("UniPC order", "2", {"Sampler": "UniPC"}),
    ("UniPC lower order final", "False", {"Sampler": "UniPC"}),
    ("Denoising strength", "0.5", _HIRES),
    ("Hires upscale", "1.5", _HIRES),
    ("Hires resize", "192x0", {"Denoising strength": "0.7", "Hires upscaler": "Latent"}),
    ("Hires upscaler", "Lanczos", _HIRES),
    ("Hires upscaler", "4x-sharp", _HIRES),
    ("Hires steps", "3", _HIRES),
    ("Hires sampler", "Restart", _HIRES),
    ("Hires sampler", "Heun", _HIRES),
    ("Hires schedule type", "Exponential", _HIRES),
    ("Hires CFG Scale", "5", _HIRES),
    ("Hires prompt", "a dog", _HIRES),
    ("Hires negative prompt", "a dog", _HIRES),
    ("Extra noise", "0.1", _HIRES),
]
"""Keys with a value, and what they stand beside to count."""

_REFUSED = {
    "Hires checkpoint": "n",
    "Face restoration": "CodeFormer",
    "FP8 weight": "Enable",
    "Hypernet": "x",
    "Init image hash": "abc",
    "Mask blur": "4",
    "Masked content": "fill",
    "Inpaint area": "Only masked",
    "Masked area padding": "32",
    "Mask mode": "Inpaint not masked",
    "Token merging ratio": "0.5",
    "Token merging ratio hr": "0.5",
    "VAE Encoder": "TAESD",
    "VAE Decoder": "TAESD",
    "ControlNet 0": "Module: canny",
}
"""Keys of what is not in the text, or cannot be done."""


def _read(**pairs: str) -> GenerationRequest:
    text = Infotext(prompt="a [cat:dog:0.5], (red:1.2)", negative_prompt="x", pairs={**_PLAIN, **pairs}).text()
    return request_from_infotext(text)


@pytest.mark.parametrize(("key", "value", "beside"), _CHANGING)
def test_a_key_changes_the_workflow(key: str, value: str, beside: dict[str, str]) -> None:
    assert _read(**{**beside, key: value}).workflow() != _read(**beside).workflow()


@pytest.mark.parametrize("key", ["Noise multiplier", "Extra noise", "Denoising strength"])
def test_a_key_changes_the_workflow_over_a_picture(key: str) -> None:
    beside = {} if key == "Denoising strength" else {"Denoising strength": "0.7"}
    pairs = {**_PLAIN, **beside, key: "0.6"}
    texts = [Infotext(prompt="a", negative_prompt="", pairs=each).text() for each in (pairs, {**_PLAIN, **beside})]
    read = [dataclasses.replace(request_from_infotext(text, ["image"]), image="photo.png") for text in texts]
    assert read[0].workflow() != read[1].workflow()


@pytest.mark.parametrize(("key", "value"), _REFUSED.items())
def test_a_key_is_refused_by_its_name(key: str, value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        _read(**{key: value})
    assert refused.value.field == f"infotext {key}"


def test_the_picture_to_start_from_may_be_handed_in() -> None:
    text = Infotext(prompt="a", negative_prompt="", pairs={**_PLAIN, "Init image hash": "abc"}).text()
    assert request_from_infotext(text, ["image"]).seed == 5
