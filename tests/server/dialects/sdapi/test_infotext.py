"""Infotexts of calls for AUTOMATIC1111's picture: its own words, and the workflow of the call when they are read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import GenerationRequest, Workflow
from engine.errors import BadRequest
from engine.formats.infotext import infotext, request_from_infotext
from engine.formats.infotext.a1111_labels import A1111_SCHEDULE_LABELS
from engine.formats.infotext.lines import Infotext
from engine.sampling.a1111.samplers import SAMPLER_RULES
from engine.workflow.latents import EmptyLatents
from engine.workflow.node import in_order
from engine.workflow.pictures import Decode
from engine.workflow.sampling import Sample
from server.dialects.sdapi.body import Txt2Img
from server.dialects.sdapi.hires import LATENT_UPSCALERS
from server.dialects.sdapi.options import Chosen, Options
from server.dialects.sdapi.plan import HandedIn, Plan, infotexts_of, plan_of
from server.dialects.sdapi.upscalers import KERNELS
from tests.pack_a1111 import A1111Case, cases_of
from tests.server.dialects.sdapi.plans import Stocked
from tests.server.dialects.sdapi.test_parity_a1111 import MISSING, plan_for

_SAYS_TOO_LITTLE = {
    **dict.fromkeys(("ensd_dpmpp_sde", "ensd_lcm", "ensd_ddim"), "it names ENSD for some samplers alone"),
    **dict.fromkeys(
        (
            "s_payload_euler", "s_payload_heun", "s_payload_dpm2", "s_payload_dpmpp_sde", "s_payload_dpmpp_2m_sde",
            "s_payload_dpmpp_3m_sde", "s_payload_dpm2_a", "s_payload_dpmpp_2s_a",
        ),
        "it names s_churn and its kin as settings, not as fields of a call",
    ),
    **dict.fromkeys(("quantize", "quantize_uniform"), "it never names enable_quantization"),
    **dict.fromkeys(("i2i_exact_0_3", "i2i_exact_0_75"), "it never names img2img_fix_steps"),
    **dict.fromkeys(("unipc_order", "unipc_vary"), "it names UniPC's settings no longer"),
    "lora_missing": "it names a LoRA that is not there",
    "hires_sampler": "it names no schedule type of the second pass, where that is its sampler's own",
}  # fmt: skip
"""The cases whose recorded text does not say what made the picture, and what it leaves out."""

_REFUSED = {"i2i_d0_0": "infotext Denoising strength"}
"""The cases whose text is refused, and by which key: a request paints over more than nothing."""

_MASKED = ("Mask mode", "Mask blur", "Masked content")
"""Keys of what a mask does, which is not in the text."""

_OURS = {
    "Pictures", "Prompt syntax",
    "Quantization", "Fixed steps", "Inpaint overlay",  # which that program does not name
    "Version", "Model hash", "Model",
}  # fmt: skip
"""Keys of ours, which that program passes over, and those that depend on who writes."""

_MORE = {
    "Beta schedule alpha", "Beta schedule beta", "ENSD", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise",
    "UniPC variant", "UniPC skip type", "UniPC order", "UniPC lower order final", "Hires schedule type",
}  # fmt: skip
"""What our text names in the cases whose recorded one does not."""


def _cases(*kinds: str) -> list[Any]:
    cases = [case for case in cases_of(*kinds) if case.name not in MISSING]
    return [pytest.param(case, id=case.name) for case in cases]


def _outputs(wanted: GenerationRequest | Workflow) -> dict[str, Any]:
    return dict((wanted.workflow() if isinstance(wanted, GenerationRequest) else wanted).outputs)


def _sampled(wanted: GenerationRequest | Workflow) -> Sample:
    """Return the last sampling, as if it began from nothing."""
    decode = [node for node in in_order(*_outputs(wanted).values()) if isinstance(node, Decode)][-1]
    assert isinstance(decode.latents, Sample)
    return dataclasses.replace(decode.latents, latents=EmptyLatents())


def _text_of(plan: Plan) -> str:
    if plan.notes:
        return infotexts_of(plan, Stocked())[0]
    return infotext(plan.first, model_name=plan.first.model or "", model_hash=None, version="1")


@pytest.mark.parametrize("case", _cases("txt2img"))
def test_a_recorded_text_gives_the_workflow_of_its_call(case: A1111Case, pack_folder: Path) -> None:
    expected = _outputs(plan_for(case, pack_folder).wanted[0])
    read = _outputs(request_from_infotext(case.result["infotext"]))
    assert (read == expected) == (case.name not in _SAYS_TOO_LITTLE)


@pytest.mark.parametrize("case", _cases("img2img"))
def test_a_recorded_text_and_its_picture_give_the_sampling_of_its_call(case: A1111Case, pack_folder: Path) -> None:
    text = case.result["infotext"]
    if "mask" in case.payload:
        if any(key in text for key in _MASKED):
            with pytest.raises(BadRequest, match="infotext Mask"):
                request_from_infotext(text, ["image"])
        return  # a text without these keys says nothing of the mask
    with pytest.raises(BadRequest, match="infotext Denoising strength"):
        request_from_infotext(text)
    if case.name in _REFUSED:
        with pytest.raises(BadRequest, match=_REFUSED[case.name]):
            request_from_infotext(text, ["image"])
        return
    read = dataclasses.replace(request_from_infotext(text, ["image"]), image="photo.png")
    expected = _sampled(plan_for(case, pack_folder).wanted[0])
    assert (_sampled(read) == expected) == (case.name not in _SAYS_TOO_LITTLE)


@pytest.mark.parametrize("case", _cases("txt2img", "img2img"))
def test_a_text_has_the_words_of_automatic1111(case: A1111Case, pack_folder: Path) -> None:
    theirs, ours = (Infotext.of(text) for text in (case.result["infotext"], _text_of(plan_for(case, pack_folder))))
    prompt = theirs.prompt.replace("<lora:nothing_here:0.8>", "")  # ours names no LoRA that is not there
    assert (ours.prompt, ours.negative_prompt) == (prompt, theirs.negative_prompt)
    more = _MORE if case.name in _SAYS_TOO_LITTLE else set()
    expected = {key: value for key, value in theirs.pairs.items() if key not in _OURS}
    if expected.get("Conditional mask weight") == "1.0":  # which it says of checkpoints with nine channels
        del expected["Conditional mask weight"]
    if case.name == "odd_size":
        expected["Size"] = "96x72"  # the picture's own
    found = {key: value for key, value in ours.pairs.items() if key not in _OURS and key not in more - expected.keys()}
    assert list(found.items()) == list(expected.items())  # in this order


_NAMES = tuple(rule.label for rule in SAMPLER_RULES.values())
_TYPES = tuple(A1111_SCHEDULE_LABELS.values())
_PROMPTS = st.sampled_from(
    ["a cat", "a [cat:dog:0.5] (in a hat:1.3)", "a cat AND a dog :0.7", "[a|b], <lora:ink:0.5>", "it's BREAK, ok", ""]
)
_LABELS = st.sampled_from(_NAMES)
_SIDES = st.integers(1, 6).map(lambda cells: cells * 64)
_SHARES = st.floats(0.01, 1)

_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "randn_source": st.sampled_from(["GPU", "NV", "CPU"]),
        "eta_noise_seed_delta": st.integers(0, 2**53),
        "eta_ancestral": _SHARES,
        "eta_ddim": _SHARES,
        "sd_noise_schedule": st.sampled_from(["Default", "Zero Terminal SNR"]),
        "use_old_karras_scheduler_sigmas": st.booleans(),
        "emphasis": st.sampled_from(["Original", "No norm", "Ignore", "None"]),
        "use_old_emphasis_implementation": st.booleans(),
        "comma_padding_backtrack": st.integers(0, 75),
        "use_old_scheduling": st.booleans(),
        "s_churn": _SHARES,
        "s_noise": _SHARES,
        "sigma_min": _SHARES,
        "sigma_max": st.floats(1, 20),
        "rho": _SHARES,
        "beta_dist_alpha": _SHARES,
        "always_discard_next_to_last_sigma": st.booleans(),
        "sgm_noise_multiplier": st.booleans(),
        "enable_quantization": st.booleans(),
        "use_downcasted_alpha_bar": st.booleans(),
        "img2img_extra_noise": _SHARES,
        "s_min_uncond": _SHARES,
        "s_min_uncond_all": st.booleans(),
        "skip_early_cond": _SHARES,
        "uni_pc_variant": st.sampled_from(["bh1", "bh2"]),
        "uni_pc_order": st.integers(1, 3),
        "CLIP_stop_at_last_layers": st.integers(1, 3),
    },
)
_SECOND = st.fixed_dictionaries(
    {"enable_hr": st.just(True), "hr_upscaler": st.sampled_from([*LATENT_UPSCALERS, *KERNELS, "4x-sharp"])},
    optional={
        "denoising_strength": _SHARES,
        "hr_scale": st.floats(1, 4),
        "hr_resize_x": st.sampled_from([0, 256, 520]),
        "hr_resize_y": st.sampled_from([0, 256, 392]),
        "hr_second_pass_steps": st.integers(0, 50),
        "hr_sampler_name": _LABELS,
        "hr_scheduler": st.sampled_from(_TYPES),
        "hr_prompt": _PROMPTS,
        "hr_negative_prompt": _PROMPTS.filter(lambda text: "lora" not in text),
        "hr_cfg": st.floats(1, 20),
    },
)
_BODIES = st.fixed_dictionaries(
    {
        "prompt": _PROMPTS,
        "sampler_name": _LABELS,
        "steps": st.integers(3, 60),
        "seed": st.integers(0, 2**32),
        "width": _SIDES,
        "height": _SIDES,
        "override_settings": _SETTINGS,
    },
    optional={
        "negative_prompt": _PROMPTS.filter(lambda text: "lora" not in text),
        "scheduler": st.sampled_from(_TYPES),
        "cfg_scale": st.floats(1, 20),
        "eta": _SHARES,
        "s_churn": _SHARES,
        "s_tmin": _SHARES,
        "s_noise": _SHARES,
        "s_min_uncond": _SHARES,
        "subseed": st.integers(0, 2**32),
        "subseed_strength": _SHARES,
        "seed_resize_from_w": _SIDES,
        "seed_resize_from_h": _SIDES,
    },
)


def _planned(body: dict[str, Any]) -> Plan:
    override = Options(Stocked(), "a1111").read(body.get("override_settings", {}))
    defaults = Chosen(model="instant", clip_skip=1)
    asked = Txt2Img(**body)
    return plan_of(asked, HandedIn(), override=override, defaults=defaults, backend=Stocked(), most=1, program="a1111")


@settings(max_examples=150)
@given(_BODIES, st.one_of(st.just({}), _SECOND))
def test_a_calls_text_gives_the_workflow_of_the_call(body: dict[str, Any], second: dict[str, Any]) -> None:
    plan = _planned({**body, **second})
    assert _outputs(request_from_infotext(_text_of(plan))) == _outputs(plan.wanted[0])
