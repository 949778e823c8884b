"""Runs the third stage, in which text encoder and UNet learn to paint latents from captions. Knows no autoencoder."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

from models.starter.caption_bank import CaptionBank
from models.starter.diffusion import ddim, noise_like, noised, timesteps, weights
from models.starter.latents import colours_of
from models.starter.networks import LATENT_SCALE, Sizes, build_unet, decode
from models.starter.pictures import latent_bank, save_grid
from models.starter.precision import Working, autocast
from models.starter.tokens import known_tokens, tokens_of

SHOWN = (
    "beautiful scenery nature glass bottle landscape, , purple galaxy bottle,",
    "a red boat on the sea at sunset",
    "a blue boat on a lake, day",
    "a lighthouse on the right at night, moon",
    "snowy mountains under the aurora",
    "three pink trees on green hills, day, clouds",
    "two yellow houses in front of a forest at dawn",
    "desert under a galaxy sky",
)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """The material of one step: ``batch`` of the scenes, at one size."""

    size: int
    batch: int
    scenes: int


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A number of steps, which take the lessons in turn."""

    steps: int
    lessons: tuple[Lesson, ...]


def lesson_of(phases: Sequence[Phase], number: int) -> Lesson:
    """Return what the step of that number trains on."""
    for phase in phases:
        if number < phase.steps:
            return phase.lessons[number % len(phase.lessons)]
        number -= phase.steps
    raise AssertionError("no phase is left")


class UnetStage:
    """Trains the prediction of epsilon; what is exported is the exponential moving average of the weights."""

    name = "unet"

    def __init__(
        self,
        sizes: Sizes,
        device: torch.device,
        folder: Path,
        phases: Sequence[Phase],
        text: CLIPTextModel,
        captions: CaptionBank,
        peak: float = 8e-4,
    ) -> None:
        self.steps, self.device, self.phases = sum(phase.steps for phase in phases), device, phases
        self.captions, self.peak = captions, peak
        kinds = {(lesson.size, lesson.scenes) for phase in phases for lesson in phase.lessons}
        self.latents = {kind: latent_bank(*kind, device, folder) for kind in sorted(kinds)}
        torch.manual_seed(2)
        unet = quiet(build_unet(sizes)).to(device)
        if device.type == "cuda":
            unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares it nowhere
        self.networks = nn.ModuleDict({"unet": unet, "text": text.to(device)})
        self.averages = copy.deepcopy(self.networks).requires_grad_(False)
        self.working = Working(self.networks, half=device.type == "cuda")
        known = known_tokens().to(device)[:, None]
        reader: Any = self.working.networks["text"]
        reader.get_input_embeddings().weight.register_hook(lambda gradient: gradient * known)
        groups = [{"params": unet.parameters(), "rate": 1.0}, {"params": text.parameters(), "rate": 0.05}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    def step(self, number: int) -> dict[str, Tensor]:
        lesson, draw = lesson_of(self.phases, number), torch.Generator(self.device).manual_seed(number)
        scenes = torch.randint(lesson.scenes, (lesson.batch,), generator=draw, device=self.device)
        latents = self.latents[lesson.size, lesson.scenes][scenes].float().to(self.device)  # (B, 4, size/8, size/8)
        tokens, _ = self.captions.draw(scenes, draw)
        noise, t = noise_like(latents, draw), timesteps(lesson.batch, draw)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(number, self.steps, self.peak)
        with self._arithmetic():
            conditioning = self.working.networks["text"](tokens).last_hidden_state
            given = noised(latents, noise, t).to(self.working.dtype)
            eps = self.working.networks["unet"](given, t, conditioning).sample
        loss = ((eps.float() - noise).square().mean((1, 2, 3)) * weights(t)).mean()
        self.working.backward(loss)
        nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimizer.step()
        self.working.follow()
        self._average(number)
        return {f"loss {lesson.size}": loss.detach()}

    def _arithmetic(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.working.half else autocast(self.device)

    @torch.no_grad()
    def _average(self, number: int) -> None:
        horizon = max(0.0, 1 - 20 / self.steps)  # the last twentieth of the training
        decay = min(horizon, (1 + number) / (10 + number))
        torch._foreach_lerp_(list(self.averages.parameters()), list(self.networks.parameters()), 1 - decay)

    def state(self) -> dict[str, Any]:
        return {
            "networks": self.networks.state_dict(),
            "averages": self.averages.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])
        self.averages.load_state_dict(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.working.follow()

    def show(self, folder: Path, number: int) -> None:
        size = lesson_of(self.phases, min(number, self.steps) - 1).size
        latents = sample(self.averages, SHOWN, size, self.device)
        coarse = functional.interpolate(colours_of(latents), (128, 128), mode="bicubic")
        save_grid(coarse, 4, folder / "grids" / f"unet-{number:06d}.png")

    def finish(self) -> None:
        pass


@torch.no_grad()
def sample(
    networks: nn.ModuleDict, prompts: Sequence[str], size: int, device: torch.device, cfg: float = 4.0
) -> Tensor:
    """Sample latents (B, 4, size/8, size/8) for prompts, in the UNet's scale; the same seed for all."""
    conditioning = networks["text"](tokens_of([*prompts, *[""] * len(prompts)]).to(device)).last_hidden_state
    noise = torch.randn((1, 4, size // 8, size // 8), generator=torch.Generator().manual_seed(0)).to(device)

    def eps_of(x: Tensor, t: int) -> Tensor:
        both = networks["unet"](torch.cat([x, x]), torch.tensor(t, device=device), conditioning).sample
        asked, unasked = both.float().chunk(2)
        guided: Tensor = unasked + cfg * (asked - unasked)
        return guided

    return ddim(eps_of, noise.repeat(len(prompts), 1, 1, 1))


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Decode latents in the UNet's scale to pictures (B, 3, H, W) in [0, 1]."""
    with torch.no_grad():
        return decode(vae, latents / LATENT_SCALE).clamp(0, 1)


def quiet(unet: nn.Module) -> nn.Module:
    """Set every residual branch, and the output, to zero: a deep network then trains as easily as a shallow one."""
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def learning_rate(number: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Return the learning rate: up in ``warmup`` steps, level, and down to a tenth over the last third."""
    return peak * min(1.0, (number + 1) / warmup, max(0.1, (steps - number) / (steps / 3)))
