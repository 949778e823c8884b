"""diffusers' pipelines for pictures to start from, masks, ControlNets and LoRAs as a subject, as they come.

Each request takes the pipeline that diffusers' documentation names for it; all share their networks. They take as many
steps as the engine. Their noise is their own, and they draw from the posterior of a picture's latents where the engine
takes its mean, so that only ControlNets and LoRAs give the engine's picture.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from benchmarks.subjects.peers.diffusers import DiffusersSubject, filled, pipeline_options
from engine import GenerationRequest
from engine.checkpoint.controlnet import read_controlnet
from engine.checkpoint.weights import open_weights
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.request_parts import Control, Hires, Lora

_CELLS = 64
"""The latents' sides in the configuration that Stable Diffusion 1.5 comes with."""


@dataclass(kw_only=True)
class DiffusersFeaturesSubject(DiffusersSubject):
    """Runs the pipelines. The files that requests name lie in ``folder``."""

    folder: Path

    @property
    def includes(self) -> str:
        return (
            f"{super().includes}; a LoRA is loaded and run beside the weights (load_lora_weights) at its first use, "
            "and fused with them before its next one (fuse_lora)"
        )

    def absent(self) -> str | None:
        if importlib.util.find_spec("peft") is None:
            return "diffusers needs peft for LoRAs, which is not installed (pip install '.[peers]')"
        return super().absent()

    def forget(self, lora: Path) -> None:
        """Let go of ``lora``, so that its next use is its first one."""
        self._turns.run(self._unload)

    def _load(self) -> None:
        super()._load()
        self._loras: tuple[Lora, ...] = ()
        self._fused = False
        self._controlnets: dict[str, Any] = {}
        unet = self._pipeline.unet  # whose configuration its loaders read as Stable Diffusion 1.5's own file has it
        unet.register_to_config(sample_size=_CELLS, layers_per_block=unet.config.layers_per_block[0])
        networks = self._pipeline.components
        self._img2img = diffusers.StableDiffusionImg2ImgPipeline(**networks, requires_safety_checker=False)
        self._inpaint = diffusers.StableDiffusionInpaintPipeline(**networks, requires_safety_checker=False)
        for pipeline in (self._img2img, self._inpaint):
            pipeline.set_progress_bar_config(disable=True)

    def _paint(self, request: GenerationRequest) -> np.ndarray[Any, np.dtype[np.uint8]]:
        assert request.seed is not None
        self._take(request.loras)
        if request.hires is not None:
            output = self._second_pass(request, request.hires)
        elif request.image is not None:
            output = self._started(request, request.image)
        elif request.controls:
            (control,) = request.controls
            output = self._controlled(request, control)
        else:
            return super()._paint(request)
        return np.asarray(output.images[0])

    def _take(self, loras: tuple[Lora, ...]) -> None:
        """Have the networks changed by ``loras``: beside the weights the first time, then fused with them."""
        if loras == self._loras:
            if loras and not self._fused:
                self._pipeline.fuse_lora()
                self._fused = True
            return
        self._unload()
        for number, lora in enumerate(loras):
            self._pipeline.load_lora_weights(self.folder / lora.name, adapter_name=str(number))
        if loras:
            self._pipeline.set_adapters([*map(str, range(len(loras)))], [lora.strength for lora in loras])
        self._loras = loras

    def _unload(self) -> None:
        if self._fused:
            self._pipeline.unfuse_lora()
        if self._loras:
            self._pipeline.unload_lora_weights()
        self._loras, self._fused = (), False

    def _controlled(self, request: GenerationRequest, control: Control) -> Any:
        if control.model not in self._controlnets:
            self._controlnets[control.model] = diffusers.StableDiffusionControlNetPipeline(
                **self._pipeline.components, controlnet=self._controlnet(control.model), requires_safety_checker=False
            )
            self._controlnets[control.model].set_progress_bar_config(disable=True)
        pipeline = self._controlnets[control.model]
        pipeline.scheduler = self._schedulers[request.sampler]
        return pipeline(
            **pipeline_options(request, getattr(torch, self.dtype)),
            image=self._picture(control.image),
            controlnet_conditioning_scale=control.strength,
            control_guidance_start=control.start,
            control_guidance_end=control.end,
        )

    def _controlnet(self, name: str) -> Any:
        weights = open_weights(self.folder / name)
        return filled(read_controlnet(weights.shapes), weights, torch.device(self.device), getattr(torch, self.dtype))

    def _started(self, request: GenerationRequest, image: str) -> Any:
        masked: Mapping[str, Any] = {}
        pipeline = self._img2img
        if request.mask is not None:
            pipeline, masked = self._inpaint, {"mask_image": self._picture(request.mask).convert("L")}
        return self._sampled_again(request, pipeline, self._picture(image), request.denoise, **masked)

    def _second_pass(self, request: GenerationRequest, hires: Hires) -> Any:
        """The pipeline's latents, enlarged, sampled again."""
        self._pipeline.scheduler = self._schedulers[request.sampler]
        options = pipeline_options(request, getattr(torch, self.dtype))
        first = self._pipeline(**options, output_type="latent").images
        width, height = (side // PIXELS_PER_CELL for side in hires.size(request.width, request.height))
        larger = interpolate(first, size=(height, width), mode=hires.method)
        larger_request = replace(request, height=height * PIXELS_PER_CELL, width=width * PIXELS_PER_CELL)
        return self._sampled_again(larger_request, self._img2img, larger, hires.denoise)

    def _sampled_again(
        self, request: GenerationRequest, pipeline: Any, image: Any, denoise: float, **further: Any
    ) -> Any:
        """Run the end of a longer schedule: as many steps of it as the request has."""
        pipeline.scheduler = self._schedulers[request.sampler]
        longer = replace(request, steps=round(request.steps / denoise), denoise=1.0)
        options = pipeline_options(longer, getattr(torch, self.dtype))
        del options["latents"]
        if pipeline is self._img2img:  # which takes its size from the picture
            del options["height"], options["width"]
        return pipeline(**options, image=image, strength=denoise, **further)

    def _picture(self, name: str) -> Image.Image:
        with Image.open(self.folder / name) as image:
            return image.convert("RGB")
