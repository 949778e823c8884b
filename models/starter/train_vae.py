"""Runs the first stage, in which the encoder learns to compute latents and the decoder to paint from them. Knows no
words."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.starter.latents import latents_of
from models.starter.networks import LATENT_SCALE, NOISE, Sizes, build_vae, decode, encode
from models.starter.pictures import Bank, held_out, picture_bank, save_grid
from models.starter.precision import autocast


class VaeStage:
    """Trains on crops of rendered scenes, which are encoded and decoded."""

    name = "vae"

    def __init__(
        self,
        sizes: Sizes,
        device: torch.device,
        *,
        steps: int,
        batch: int,
        crop: int,
        scenes: int,
        sides: Sequence[int],
        peak: float = 2e-4,
    ) -> None:
        """Train on squares of ``crop`` pixels, out of ``scenes`` pictures of each of the ``sides``."""
        self.steps, self.batch, self.crop, self.peak, self.device = steps, batch, crop, peak, device
        torch.manual_seed(0)
        self.vae = build_vae(sizes).to(device)
        if device.type == "cuda":
            self.vae.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3, fused=True
        )
        sources = {side: picture_bank(side, scenes, device) for side in sorted(set(sides))}
        self.pictures = [sources[side] for side in sides]

    def step(self, number: int) -> dict[str, Tensor]:
        draw = torch.Generator(self.device).manual_seed(number)
        target = crops(random.Random(number).choice(self.pictures), self.batch, self.crop, draw)
        latents = latents_of(target)
        noise = NOISE * torch.randn(latents.shape, generator=draw, device=self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak * rate(number, self.steps)
        with autocast(self.device):
            got = decode(self.vae, (latents + noise) / LATENT_SCALE).float()
            loss = painted_loss(got, target)
            if number % 3 == 0:  # the lesser task of the two
                loss = loss + (encode(self.vae, target).float() * LATENT_SCALE - latents).abs().mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        return {"psnr": psnr(got.detach(), target), "loss": loss.detach()}

    def state(self) -> dict[str, Any]:
        return {"vae": self.vae.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])

    @torch.no_grad()
    def show(self, folder: Path, number: int) -> None:
        pictures = held_out(6, self.pictures[1 % len(self.pictures)].size, self.device)
        painted = decode(self.vae, latents_of(pictures) / LATENT_SCALE)
        again = decode(self.vae, encode(self.vae, pictures))
        there, back = (psnr(x.clamp(0, 1), pictures) for x in (painted, again))
        print(f"vae  {number}  {there:.2f} dB from true latents, {back:.2f} dB there and back, held out", flush=True)
        save_grid(torch.cat([pictures, painted, again]), 6, folder / "grids" / f"vae-{number:06d}.png")

    def finish(self) -> None:
        pass


def crops(source: Bank, count: int, side: int, draw: torch.Generator) -> Tensor:
    """Return (count, 3, side, side) in [0, 1], each from a scene of its own."""
    device = draw.device
    pictures = source[torch.randint(source.count, (count,), generator=draw, device=device)]
    corners = torch.randint(source.size - side + 1, (2, count, 1), generator=draw, device=device)
    y, x = corners + torch.arange(side, device=device)  # (count, side) each
    rows = torch.arange(count, device=device)[:, None, None]
    return pictures[rows, :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2).float() / 255


def painted_loss(got: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of colours, and of their steps to the next pixels, so that edges stay
    edges."""
    difference = got - target
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.abs().mean() + 0.5 * edges


def psnr(got: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB."""
    return -10 * torch.log10((got - target).square().mean() + 1e-12)


def rate(number: int, steps: int, warmup: int = 50) -> float:
    """Return the learning rate: up in ``warmup`` steps, level, and down to nothing over the last third."""
    up = min(1.0, (number + 1) / warmup)
    down = min(1.0, (steps - number) / (steps / 3))
    return up * down
