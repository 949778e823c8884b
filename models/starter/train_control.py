"""Trains a ControlNet beside the checkpoint's frozen UNet to follow edges. Knows no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.starter.base import Base
from models.starter.caption_bank import CaptionBank
from models.starter.control import Controlled, build_control
from models.starter.diffusion import noise_like, noised, timesteps, weights
from models.starter.edges import canny, light
from models.starter.pictures import Bank, held_out, latent_bank, save_grid
from models.starter.precision import autocast
from models.starter.tokens import tokens_of
from models.starter.train_unet import SHOWN, Phase, decoded, learning_rate, lesson_of, sample

LEVELS = ((0.1, 0.2), (0.2, 0.4), (0.4, 0.8))  # Canny's thresholds, from every visible edge to the boldest
SILENT = 0.3  # the share of pictures without a caption, which makes the edges matter


class ControlStage:
    """Trains the prediction of epsilon from a picture's edges and its caption."""

    name = "edges"

    def __init__(
        self,
        base: Base,
        device: torch.device,
        folder: Path,
        captions: CaptionBank,
        *,
        phases: tuple[Phase, ...],
        peak: float,
    ) -> None:
        """Make the stage; ``captions`` are of scenes 0, 1, 2 …"""
        self.steps, self.phases, self.peak = sum(phase.steps for phase in phases), phases, peak
        self.base, self.device, self.captions = base, device, captions
        kinds = sorted({(lesson.size, lesson.scenes) for phase in phases for lesson in phase.lessons})
        self.latents = {kind: latent_bank(*kind, device, folder) for kind in kinds}
        self.hints = {kind: hint_bank(*kind, device) for kind in kinds}
        torch.manual_seed(4)
        self.control = build_control(base.unet).to(device)
        self.painter = Controlled(base.unet, self.control)
        self.silence = tokens_of([""]).to(device)
        self.optimizer = torch.optim.AdamW(
            self.control.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-2, fused=True
        )

    def step(self, number: int) -> dict[str, Tensor]:
        lesson, draw = lesson_of(self.phases, number), torch.Generator(self.device).manual_seed(number)
        scenes = torch.randint(lesson.scenes, (lesson.batch,), generator=draw, device=self.device)
        latents = self.latents[lesson.size, lesson.scenes][scenes].float().to(self.device)  # (B, 4, size/8, size/8)
        level = torch.randint(len(LEVELS), (lesson.batch,), generator=draw, device=self.device)
        edges = self.hints[lesson.size, lesson.scenes][scenes][torch.arange(lesson.batch, device=self.device), level]
        self.painter.hint = edges[:, None].float().expand(-1, 3, -1, -1)
        tokens, _ = self.captions.draw(scenes, draw)
        silent = torch.rand(lesson.batch, 1, generator=draw, device=self.device) < SILENT
        noise, t = noise_like(latents, draw), timesteps(lesson.batch, draw)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(number, self.steps, self.peak, warmup=30)
        with torch.no_grad():
            conditioning = self.base.text(torch.where(silent, self.silence, tokens)).last_hidden_state
        with autocast(self.device):
            eps = self.painter(noised(latents, noise, t), t, conditioning).sample
        loss = ((eps.float() - noise).square().mean((1, 2, 3)) * weights(t)).mean()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.control.parameters(), 1.0)
        self.optimizer.step()
        return {f"loss {lesson.size}": loss.detach()}

    def state(self) -> dict[str, Any]:
        return {"control": self.control.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        self.control.load_state_dict(state["control"])
        self.optimizer.load_state_dict(state["optimizer"])

    def show(self, folder: Path, number: int) -> None:
        """Write a grid: held-out scenes, their edges, and pictures of other prompts that follow these edges."""
        size = lesson_of(self.phases, min(number, self.steps) - 1).size
        pictures = held_out(len(SHOWN), size, self.device)
        self.painter.hint = canny(light(pictures), *LEVELS[0]).expand(-1, 3, -1, -1)
        latents = sample(self.base.painters(self.painter), SHOWN, size, self.device)
        shown = torch.cat([pictures, self.painter.hint, decoded(self.base.vae, latents)])
        save_grid(shown, len(SHOWN), folder / "grids" / f"edges-{number:06d}.png")

    def finish(self) -> None:
        pass


def hint_bank(size: int, count: int, device: torch.device) -> Bank:
    """Return a bank of the edges of scenes, uint8 (count, levels, size, size), 1 on 0."""
    kept = torch.empty(count, len(LEVELS), size, size, dtype=torch.uint8, device=device)
    return Bank(size, kept, _edges, ahead=device.type == "cuda")


def _edges(pictures: Tensor) -> Tensor:
    return torch.cat([canny(light(pictures), *level) for level in LEVELS], dim=1)
