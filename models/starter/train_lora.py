"""Trains adapters beside the checkpoint's frozen UNet to draw in ink. Knows no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.text.prompt import token_ids
from models.starter import ink
from models.starter.base import Base
from models.starter.caption_bank import CaptionBank
from models.starter.diffusion import noise_like, noised, timesteps, weights
from models.starter.low_rank import attach
from models.starter.pictures import latent_bank, save_grid
from models.starter.precision import autocast
from models.starter.train_unet import SHOWN, Phase, decoded, learning_rate, lesson_of, sample

TRIGGER = "ink drawing"


class LoraStage:
    """Trains the prediction of epsilon on ink drawings, from captions with the trigger words and without."""

    name = "ink"

    def __init__(
        self,
        base: Base,
        device: torch.device,
        folder: Path,
        captions: CaptionBank,
        *,
        phases: tuple[Phase, ...],
        rank: int,
        peak: float,
    ) -> None:
        """Make the stage; the adapters act in the UNet of ``base`` from now on. ``captions`` are of scenes 0, 1 …"""
        self.steps, self.phases, self.peak = sum(phase.steps for phase in phases), phases, peak
        self.base, self.device, self.captions = base, device, captions
        kinds = {(lesson.size, lesson.scenes) for phase in phases for lesson in phase.lessons}
        self.latents = {kind: latent_bank(*kind, device, folder / "ink", ink.draw) for kind in sorted(kinds)}
        torch.manual_seed(3)
        self.adapters = attach(base.unet, rank).to(device)
        self.optimizer = torch.optim.AdamW(
            self.adapters.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
        )

    def step(self, number: int) -> dict[str, Tensor]:
        lesson, draw = lesson_of(self.phases, number), torch.Generator(self.device).manual_seed(number)
        scenes = torch.randint(lesson.scenes, (lesson.batch,), generator=draw, device=self.device)
        latents = self.latents[lesson.size, lesson.scenes][scenes].float().to(self.device)  # (B, 4, size/8, size/8)
        tokens, _ = self.captions.draw(scenes, draw)
        asked = torch.rand(lesson.batch, 1, generator=draw, device=self.device) < 0.5
        tokens = torch.where(asked, with_trigger(tokens), tokens)
        noise, t = noise_like(latents, draw), timesteps(lesson.batch, draw)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(number, self.steps, self.peak, warmup=20)
        with torch.no_grad():
            conditioning = self.base.text(tokens).last_hidden_state
        with autocast(self.device):
            eps = self.base.unet(noised(latents, noise, t), t, conditioning).sample
        loss = ((eps.float() - noise).square().mean((1, 2, 3)) * weights(t)).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.adapters.parameters(), 1.0)
        self.optimizer.step()
        return {f"loss {lesson.size}": loss.detach()}

    def state(self) -> dict[str, Any]:
        return {"adapters": self.adapters.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        self.adapters.load_state_dict(state["adapters"])
        self.optimizer.load_state_dict(state["optimizer"])

    def show(self, folder: Path, number: int) -> None:
        size = lesson_of(self.phases, min(number, self.steps) - 1).size
        latents = sample(self.base.painters(), SHOWN, size, self.device)
        save_grid(decoded(self.base.vae, latents), 4, folder / "grids" / f"ink-{number:06d}.png")

    def finish(self) -> None:
        pass


def with_trigger(tokens: Tensor) -> Tensor:
    """Return captions' tokens (B, 77) with the trigger words in front; what no longer fits is cut at the end."""
    words = torch.tensor(token_ids(f"{TRIGGER}, "), device=tokens.device).expand(len(tokens), -1)
    kept = torch.cat([tokens[:, :1], words, tokens[:, 1:]], dim=1)[:, : tokens.shape[1]]
    return torch.cat([kept[:, :-1], tokens[:, -1:]], dim=1)
