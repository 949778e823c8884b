"""The first stage: the encoder learns to tell the latents, the decoder to paint from them. Knows no words."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.starter.latents import latents_of
from models.starter.networks import LATENT_SCALE, NOISE, Sizes, build_vae, decode, encode
from models.starter.pictures import HELD_OUT, Pictures, save_grid

CROP = 64


class VaeStage:
    """Crops of rendered scenes, there and back."""

    name = "vae"

    def __init__(
        self,
        sizes: Sizes,
        device: torch.device,
        *,
        steps: int,
        batch: int,
        scenes: int,
        sides: Sequence[int] = (128, 256, 256),
    ) -> None:
        self.steps, self.batch, self.device = steps, batch, device
        torch.manual_seed(0)
        self.vae = build_vae(sizes).to(device)
        if device.type == "cuda":
            self.vae.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3)
        sources = {side: Pictures(side, scenes, device, keep=device.type == "cpu") for side in set(sides)}
        self.pictures = [sources[side] for side in sides]

    def step(self, number: int) -> dict[str, float]:
        draw = torch.Generator().manual_seed(number)
        target = self._crops(draw)
        told = latents_of(target)
        noise = NOISE * torch.randn(told.shape, generator=draw).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = 2e-4 * rate(number, self.steps)
        with autocast(self.device):
            got = decode(self.vae, (told + noise) / LATENT_SCALE).float()
            loss = painted_loss(got, target)
            if number % 3 == 0:  # the lesser task of the two
                loss = loss + (encode(self.vae, target).float() * LATENT_SCALE - told).abs().mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        return {"psnr": psnr(got.detach(), target), "loss": loss.item()}

    def _crops(self, draw: torch.Generator) -> Tensor:
        """(batch, 3, CROP, CROP), each from another scene."""
        source = self.pictures[int(torch.randint(len(self.pictures), (), generator=draw))]
        seeds = torch.randint(source.count, (self.batch,), generator=draw).tolist()
        corners = torch.randint(source.size - CROP + 1, (self.batch, 2), generator=draw).tolist()
        pairs = zip(source[seeds], corners, strict=True)
        return torch.stack([picture[:, y : y + CROP, x : x + CROP] for picture, (y, x) in pairs])

    def state(self) -> dict[str, Any]:
        return {"vae": self.vae.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])

    @torch.no_grad()
    def show(self, folder: Path, number: int) -> None:
        pictures = Pictures(self.pictures[-1].size, 6, self.device, keep=False)[list(range(HELD_OUT, HELD_OUT + 6))]
        painted = decode(self.vae, latents_of(pictures) / LATENT_SCALE)
        again = decode(self.vae, encode(self.vae, pictures))
        there, back = (psnr(x.clamp(0, 1), pictures) for x in (painted, again))
        print(f"vae  {number}  {there:.2f} dB from told latents, {back:.2f} dB there and back, held out", flush=True)
        save_grid(torch.cat([pictures, painted, again]), 6, folder / "grids" / f"vae-{number:06d}.png")

    def finish(self) -> None:
        pass


def painted_loss(got: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference of colours, and of their steps to the next pixels, so that edges stay edges."""
    difference = got - target
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.abs().mean() + 0.5 * edges


def psnr(got: Tensor, target: Tensor) -> float:
    return -10 * math.log10(float((got - target).square().mean()) + 1e-12)


def rate(number: int, steps: int, warmup: int = 50) -> float:
    """A learning rate's course: up in ``warmup`` steps, level, and down to nothing over the last third."""
    up = min(1.0, (number + 1) / warmup)
    down = min(1.0, (steps - number) / (steps / 3))
    return up * down


@contextlib.contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """bfloat16; and on a CPU plain attention, since the fused one's backward pass takes a quarter of a step there."""
    plain = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()
    with torch.autocast(device.type, torch.bfloat16), plain:
        yield
