"""Keeps what each scene number gives, painted once: pictures and latents. Also writes grids of pictures as PNG."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.starter.latents import latents_of
from models.starter.scenes import render
from models.starter.world import Scene, draw_scene

HELD_OUT = 1 << 40  # seeds from here on are never trained on
BLOCK = 1 << 27  # pixels that are painted at a time, which takes some 12 GB


Painter = Callable[[Sequence[Scene], int, torch.device], Tensor]  # ``render``, or what paints in another style


class Bank:
    """Scenes 0 … count − 1 at one size, each painted when it is first asked for.

    With ``ahead`` all are painted then, in large blocks: painting takes some 20,000 small operations for one scene or
    for a thousand, which a GPU must not be asked for in every step.
    """

    def __init__(
        self, size: int, kept: Tensor, of: Callable[[Tensor], Tensor], *, ahead: bool, painter: Painter = render
    ) -> None:
        """Make a bank. ``kept`` (count, …) takes what ``of`` makes of pictures (B, 3, size, size); NaN in it means: not
        yet."""
        self.size, self.count, self._ahead, self._painter = size, len(kept), ahead, painter
        self._kept, self._of = kept, of
        self._missing = torch.ones(self.count, dtype=torch.bool)
        if kept.is_floating_point() and not ahead:
            self._missing = kept.flatten(1)[:, 0].isnan()
        self._complete = False

    def __getitem__(self, scenes: Tensor) -> Tensor:
        """Return what is kept, (B, …), for scene numbers (B,) int64."""
        if not self._complete:
            self._paint(torch.arange(self.count) if self._ahead else scenes.unique())
        return self._kept[scenes]

    def _paint(self, scenes: Tensor) -> None:
        missing = scenes[self._missing[scenes]]
        for block in missing.split(max(1, BLOCK // self.size**2)) if len(missing) else ():
            pictures = self._painter([draw_scene(seed) for seed in block.tolist()], self.size, self._kept.device)
            self._kept[block.to(self._kept.device)] = self._of(pictures).to(self._kept.dtype)
        self._missing[missing] = False
        self._complete = not self._missing.any()


def picture_bank(size: int, count: int, device: torch.device) -> Bank:
    """Return a bank of pictures, uint8 (count, 3, size, size), in memory."""
    kept = torch.empty(count, 3, size, size, dtype=torch.uint8, device=device)
    return Bank(size, kept, lambda pictures: (pictures * 255).round(), ahead=device.type == "cuda")


def latent_bank(size: int, count: int, device: torch.device, folder: Path, painter: Painter = render) -> Bank:
    """Return a bank of latents, float16 (count, 4, size/8, size/8): in a GPU's memory, else in a file that outlives the
    run. A ``folder`` is for one ``painter``."""
    shape = (count, 4, size // 8, size // 8)
    if device.type == "cuda":
        return Bank(
            size, torch.empty(shape, dtype=torch.float16, device=device), latents_of, ahead=True, painter=painter
        )
    file = folder / f"latents-{size}-{count}.bin"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.full(shape, torch.nan, dtype=torch.float16).numpy().tofile(file)
    kept = torch.from_file(str(file), shared=True, size=math.prod(shape), dtype=torch.float16)
    return Bank(size, kept.reshape(shape), latents_of, ahead=False, painter=painter)


def held_out(count: int, size: int, device: torch.device) -> Tensor:
    """Return pictures (count, 3, size, size) in [0, 1] of scenes that are never trained on."""
    return render([draw_scene(HELD_OUT + i) for i in range(count)], size, device)


def save_grid(pictures: Tensor, columns: int, path: Path) -> None:
    """Write pictures (B, 3, S, S) in [0, 1] side by side."""
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows * columns, channels, height, width)
    sheet[:count] = pictures.detach().float().cpu().clamp(0, 1)
    sheet = sheet.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet.reshape(rows * height, columns * width, channels) * 255).byte().numpy()).save(path)
