"""diffusers' ``StableDiffusionPipeline`` as a subject: as it comes, or tuned as its documentation recommends.

Prompts go in as text and PIL pictures come out, as in its documentation; the pipeline tokenises (with this project's
copy of CLIP's vocabulary, since its own comes from a hub), encodes, samples and decodes. Only the start noise and, for
euler, the sigmas are passed in, so that it makes the same picture.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch

from benchmarks.measuring.workloads import SAMPLERS, Mixed, Scale
from benchmarks.subjects.peers.turns import Turns
from benchmarks.subjects.subject import Delivery
from benchmarks.suite.plan import Mode
from engine import GenerationRequest
from engine.checkpoint.contents import read_contents
from engine.checkpoint.shapes import Blueprint
from engine.checkpoint.weights import Weights, open_weights
from engine.sampling.noise import start_noise
from engine.sampling.schedules import sigmas
from engine.text.prompt import chunks

_TRAINED = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""Scheduler settings that come with Stable Diffusion 1.5."""

_SCHEDULERS = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
}


class _Tokenizer:
    """Has what the pipeline uses of a CLIP tokenizer."""

    model_max_length = 77
    added_tokens_encoder: Mapping[str, int] = {}

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def __call__(self, prompt: str | list[str], **_: Any) -> SimpleNamespace:
        texts = [prompt] if isinstance(prompt, str) else prompt
        return SimpleNamespace(input_ids=torch.tensor([chunks(text)[0].tokens for text in texts]))


@dataclass(kw_only=True)
class DiffusersSubject:
    """Runs the pipeline.

    ``compiled`` is the mode in which UNet and VAE decoder are compiled; None leaves the pipeline as it comes.
    """

    name: str
    checkpoint: Path
    device: str
    dtype: str
    compiled: Mode | None = None
    scale: Scale | None = None
    """Size and steps that a compiled pipeline is prepared for when it is opened."""
    concurrent: bool = False

    @property
    def includes(self) -> str:
        what = "tokenising, prompt encoding, sampling, VAE; to an array on the CPU; one request after another"
        if self.compiled is None:
            return what
        return f"{what}; channels_last, fused QKV, UNet and VAE decoder compiled ({self.compiled})"

    def absent(self) -> str | None:
        if self.compiled is not None and self.device == "cpu":
            return "its documentation compiles on GPUs only"
        return None

    def open(self) -> None:
        self._turns = Turns()
        self._turns.run(self._load)

    def _load(self) -> None:
        diffusers.utils.logging.set_verbosity_error()
        device = torch.device(self.device)
        self._schedulers = {
            sampler: getattr(diffusers, kind)(**_TRAINED, **settings)
            for sampler, (kind, settings) in _SCHEDULERS.items()
        }
        self._pipeline = _pipeline(self.checkpoint, self._schedulers["euler"], device, getattr(torch, self.dtype))
        if self.compiled is not None:
            self._compile(self.compiled)

    def _compile(self, mode: Mode) -> None:
        """Compile as diffusers' guide to fast inference does, by making pictures with each sampler."""
        self._pipeline.fuse_qkv_projections()
        for part in (self._pipeline.unet, self._pipeline.vae):
            part.to(memory_format=torch.channels_last)
        self._pipeline.unet = torch.compile(self._pipeline.unet, mode=mode, fullgraph=True)
        self._pipeline.vae.decode = torch.compile(self._pipeline.vae.decode, mode=mode, fullgraph=True)
        assert self.scale is not None, "a compiled pipeline is prepared for one size"
        first: dict[str, GenerationRequest] = {}
        for request in Mixed(self.scale, seed=0):
            first.setdefault(request.sampler, request)
            if len(first) == len(SAMPLERS):
                break
        for scheduler in self._schedulers.values():
            _count_in_float32(scheduler)
        for request in [*first.values()] * 2:
            self._paint(request)

    def paint(self, request: GenerationRequest) -> Delivery:
        return Delivery(self._turns.run(lambda: self._paint(request)))

    def _paint(self, request: GenerationRequest) -> np.ndarray[Any, np.dtype[np.uint8]]:
        self._pipeline.scheduler = self._schedulers[request.sampler]
        output = self._pipeline(**pipeline_options(request, getattr(torch, self.dtype)))
        return np.asarray(output.images[0])

    def give_up(self) -> None:
        self._turns.give_up()

    def settled(self) -> bool:
        return True

    def counts(self) -> Mapping[str, int]:
        return {}

    def record(self) -> Mapping[str, Any]:
        return {"diffusers": diffusers.__version__, "torch": torch.__version__, "compiled": self.compiled}

    def close(self) -> None:
        self._turns.close()


def pipeline_options(request: GenerationRequest, dtype: torch.dtype) -> dict[str, Any]:
    """What a pipeline is called with for the prompts, size, steps and noise of ``request``."""
    assert request.seed is not None
    shape = (1, 4, request.height // 8, request.width // 8)
    same = request.sampler == "euler"
    return {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "guidance_scale": request.cfg_scale,
        "latents": start_noise(request.seed, shape).to(dtype),
        "generator": torch.Generator().manual_seed(request.seed),
        **({"sigmas": _sigmas(request)} if same else {"num_inference_steps": request.steps}),
    }


def _count_in_float32(scheduler: Any) -> None:
    """Make a scheduler give its timesteps in float32 as euler's does; another dtype would compile the UNet again."""
    original = scheduler.set_timesteps

    @functools.wraps(original)
    def set_timesteps(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        scheduler.timesteps = scheduler.timesteps.float()

    scheduler.set_timesteps = set_timesteps


def _pipeline(checkpoint: Path, scheduler: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Build diffusers' own networks with the checkpoint's weights; they hold nothing of the engine's."""
    weights = open_weights(checkpoint)
    contents = read_contents(weights.shapes, weights.dtypes)
    unet, vae, text_encoder = (filled(blueprint, weights, device, dtype) for blueprint in contents.blueprints)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=_Tokenizer(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def filled(blueprint: Blueprint, weights: Weights, device: torch.device, dtype: torch.dtype) -> Any:
    """Return the network of ``blueprint`` with copies of its weights."""
    state = {}
    for name, parameter in blueprint.module.named_parameters():
        stored = weights.take(blueprint.names[name]).reshape(parameter.shape)
        state[name] = stored.to(device=device, dtype=dtype, copy=True)
    for name, buffer in blueprint.module.named_buffers():  # positions: 0, 1, 2, …
        parent, _, leaf = name.rpartition(".")
        setattr(blueprint.module.get_submodule(parent), leaf, torch.arange(buffer.shape[-1], device=device)[None])
    blueprint.module.load_state_dict(state, strict=False, assign=True)
    return blueprint.module.requires_grad_(False).eval()


def _sigmas(request: GenerationRequest) -> list[float]:
    levels = sigmas(sampler=request.sampler, scheduler=request.scheduler, steps=request.steps, denoise=request.denoise)
    return [float(level) for level in levels]
