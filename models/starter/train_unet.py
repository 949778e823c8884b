"""The third stage: text encoder and UNet learn to paint latents from captions. Knows no autoencoder."""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

from models.starter.captions import caption, empty_caption
from models.starter.diffusion import ddim, noised, timesteps, weights
from models.starter.latents import colours_of
from models.starter.networks import LATENT_SCALE, Sizes, build_unet, decode
from models.starter.pictures import Latents, save_grid
from models.starter.tokens import known_tokens, tokens_of, with_strange_words
from models.starter.train_vae import autocast
from models.starter.world import draw_scene

EMPTY = 0.1  # the share of captions that say nothing, which guidance subtracts
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
class Phase:
    """So many steps on pictures of one size."""

    size: int
    steps: int
    batch: int
    scenes: int  # that many different ones, kept; 0 for ever new ones


class UnetStage:
    """Epsilon prediction; what is exported is the exponential moving average of the weights."""

    name = "unet"

    def __init__(
        self, sizes: Sizes, device: torch.device, folder: Path, phases: Sequence[Phase], text: CLIPTextModel
    ) -> None:
        self.steps, self.device = sum(phase.steps for phase in phases), device
        self.phases = [(phase, Latents(phase.size, phase.scenes, device, folder)) for phase in phases]
        torch.manual_seed(2)
        self.unet, self.text = quiet(build_unet(sizes)).to(device), text.to(device)
        if device.type == "cuda":
            self.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch declares it nowhere
        self.averages = copy.deepcopy(nn.ModuleDict({"unet": self.unet, "text": self.text})).requires_grad_(False)
        known = known_tokens().to(device)[:, None]
        self.text.get_input_embeddings().weight.register_hook(lambda gradient: gradient * known)
        groups = [{"params": self.unet.parameters(), "rate": 1.0}, {"params": self.text.parameters(), "rate": 0.05}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    def step(self, number: int) -> dict[str, float]:
        phase, source = self._phase(number)
        draw, rng = torch.Generator().manual_seed(number), random.Random(number)
        seeds = [rng.randrange(source.count) for _ in range(phase.batch)]
        latents = source[seeds]  # (B, 4, size/8, size/8)
        tokens = torch.tensor([self._tokens(seed, rng) for seed in seeds], device=self.device)
        noise = torch.randn(latents.shape, generator=draw).to(self.device)
        t = timesteps(phase.batch, draw).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(number, self.steps)
        with autocast(self.device):
            conditioning = self.text(tokens).last_hidden_state
            eps = self.unet(noised(latents, noise, t), t, conditioning).sample
        loss = ((eps.float() - noise).square().mean((1, 2, 3)) * weights(t)).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*self.unet.parameters(), *self.text.parameters()], 1.0)
        self.optimizer.step()
        self._average(number)
        return {f"loss {phase.size}": loss.item()}

    def _phase(self, number: int) -> tuple[Phase, Latents]:
        for phase, source in self.phases:
            if number < phase.steps:
                return phase, source
            number -= phase.steps
        raise AssertionError("no phase is left")

    def _tokens(self, seed: int, rng: random.Random) -> list[int]:
        said = empty_caption(rng) if rng.random() < EMPTY else caption(draw_scene(seed), rng)
        return with_strange_words(said.text, rng)

    @torch.no_grad()
    def _average(self, number: int) -> None:
        horizon = max(0.0, 1 - 20 / self.steps)  # the last twentieth of the training
        decay = min(horizon, (1 + number) / (10 + number))
        theirs = [*self.unet.parameters(), *self.text.parameters()]
        torch._foreach_lerp_(list(self.averages.parameters()), theirs, 1 - decay)

    def state(self) -> dict[str, Any]:
        parts = {"unet": self.unet, "text": self.text, "averages": self.averages, "optimizer": self.optimizer}
        return {name: part.state_dict() for name, part in parts.items()}

    def resume(self, state: dict[str, Any]) -> None:
        self.unet.load_state_dict(state["unet"])
        self.text.load_state_dict(state["text"])
        self.averages.load_state_dict(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])

    def show(self, folder: Path, number: int) -> None:
        phase, _ = self._phase(min(number, self.steps - 1))
        latents = sample(self.averages, SHOWN, phase.size, self.device)
        coarse = functional.interpolate(colours_of(latents), (128, 128), mode="bicubic")
        save_grid(coarse, 4, folder / "grids" / f"unet-{number:06d}.png")

    def finish(self) -> None:
        pass


@torch.no_grad()
def sample(
    networks: nn.ModuleDict, prompts: Sequence[str], size: int, device: torch.device, cfg: float = 4.0
) -> Tensor:
    """Latents (B, 4, size/8, size/8) for prompts, in the UNet's scale; the same seed for all."""
    conditioning = networks["text"](tokens_of([*prompts, *[""] * len(prompts)]).to(device)).last_hidden_state
    noise = torch.randn((1, 4, size // 8, size // 8), generator=torch.Generator().manual_seed(0)).to(device)

    def eps_of(x: Tensor, t: int) -> Tensor:
        both = networks["unet"](torch.cat([x, x]), torch.tensor(t, device=device), conditioning).sample
        asked, unasked = both.float().chunk(2)
        guided: Tensor = unasked + cfg * (asked - unasked)
        return guided

    return ddim(eps_of, noise.repeat(len(prompts), 1, 1, 1))


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents in the UNet's scale → pictures (B, 3, H, W) in [0, 1]."""
    with torch.no_grad():
        return decode(vae, latents / LATENT_SCALE).clamp(0, 1)


def quiet(unet: nn.Module) -> nn.Module:
    """Every residual branch, and the output, begin at zero: a deep network that trains as easily as a shallow one."""
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def learning_rate(number: int, steps: int, peak: float = 8e-4, warmup: int = 100) -> float:
    """Up in ``warmup`` steps, level, and down to a tenth over the last third."""
    return peak * min(1.0, (number + 1) / warmup, max(0.1, (steps - number) / (steps / 3)))
