"""stable-diffusion.cpp as a subject, through its Python package ``stable-diffusion-cpp-python`` if it is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.subjects.peers.turns import Turns
from benchmarks.subjects.subject import Delivery
from engine import GenerationRequest

PACKAGE = "stable-diffusion-cpp-python"
_WEIGHTS = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}
_SAMPLERS = {"euler": "euler", "euler_ancestral": "euler_a", "dpmpp_2m": "dpm++2m"}
_SCHEDULERS = {"normal": "discrete", "karras": "karras"}


@dataclass(kw_only=True)
class StableDiffusionCppSubject:
    """Runs the library in this process. Whether it uses a GPU was decided when it was built; its log says so."""

    name: str
    checkpoint: Path
    device: str
    dtype: str

    concurrent: bool = False
    includes: str = "prompt encoding, sampling, VAE; to an array on the CPU; one request after another"

    def absent(self) -> str | None:
        there = importlib.util.find_spec("stable_diffusion_cpp") is not None
        return None if there else f"the package {PACKAGE} is not installed"

    def open(self) -> None:
        package = importlib.import_module("stable_diffusion_cpp")
        self._turns = Turns()
        settings: dict[str, Any] = {
            "model_path": str(self.checkpoint),
            "wtype": _WEIGHTS[self.dtype],
            "n_threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
            "rng_type": "cpu",  # torch's generator, so that the noise is the same
            "sampler_rng_type": "cpu",
            "diffusion_flash_attn": self.device != "cpu",
            "vae_decode_only": True,
            "verbose": False,
        }
        known = inspect.signature(package.StableDiffusion).parameters
        settings = {key: value for key, value in settings.items() if key in known}
        self._model = self._turns.run(lambda: package.StableDiffusion(**settings))

    def paint(self, request: GenerationRequest) -> Delivery:
        return Delivery(self._turns.run(lambda: self._paint(request)))

    def _paint(self, request: GenerationRequest) -> np.ndarray[Any, np.dtype[np.uint8]]:
        pictures = self._model.generate_image(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width,
            height=request.height,
            cfg_scale=request.cfg_scale,
            sample_method=_SAMPLERS[request.sampler],
            scheduler=_SCHEDULERS[request.scheduler],
            sample_steps=request.steps,
            seed=request.seed,
        )
        return np.asarray(pictures[0].convert("RGB"))

    def give_up(self) -> None:
        self._turns.give_up()

    def settled(self) -> bool:
        return True

    def counts(self) -> Mapping[str, int]:
        return {}

    def record(self) -> Mapping[str, Any]:
        return {PACKAGE: importlib.metadata.version(PACKAGE)}

    def close(self) -> None:
        self._turns.close()
