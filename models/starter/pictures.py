"""Scenes' pictures by number: rendered when first asked for, then kept; and grids of them as PNG."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.starter.latents import latents_of
from models.starter.scenes import render
from models.starter.world import draw_scene

HELD_OUT = 1 << 40  # seeds from here on are never trained on


class Pictures:
    """The pictures of scenes 0 … count − 1 at one size, as uint8. With ``keep=False`` each is rendered anew."""

    def __init__(self, size: int, count: int, device: torch.device, keep: bool) -> None:
        self.size, self.count, self.device = size, count, device
        self._kept: dict[int, Tensor] | None = {} if keep else None

    def __getitem__(self, seeds: list[int]) -> Tensor:
        """(B, 3, size, size) float32 in [0, 1], on the device."""
        if self._kept is None:
            return render([draw_scene(seed) for seed in seeds], self.size, self.device)
        missing = [seed for seed in dict.fromkeys(seeds) if seed not in self._kept]
        if missing:
            fresh = render([draw_scene(seed) for seed in missing], self.size, self.device)
            self._kept.update(zip(missing, (fresh * 255).round().byte(), strict=True))
        return torch.stack([self._kept[seed] for seed in seeds]).float() / 255


class Latents:
    """The latents of scenes 0 … count − 1 at one size, kept in a file once made; with count 0, of all, made anew."""

    def __init__(self, size: int, count: int, device: torch.device, folder: Path) -> None:
        self.size, self.device, self.count = size, device, count or HELD_OUT
        self._side = size // 8
        self._file = folder / f"latents-{size}-{count}.bin"
        self._kept: Tensor | None = None
        if count:
            numbers = count * 4 * self._side**2
            if not self._file.exists():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                torch.full((numbers,), torch.nan, dtype=torch.float16).numpy().tofile(self._file)
            kept = torch.from_file(str(self._file), shared=True, size=numbers, dtype=torch.float16)
            self._kept = kept.reshape(count, 4, self._side, self._side)

    def __getitem__(self, seeds: list[int]) -> Tensor:
        """(B, 4, size/8, size/8) float32, on the device."""
        if self._kept is None:
            return self._made(seeds)
        missing = [seed for seed in dict.fromkeys(seeds) if self._kept[seed, 0, 0, 0].isnan()]
        if missing:
            self._kept[missing] = self._made(missing).half().cpu()
        return self._kept[seeds].float().to(self.device)

    def _made(self, seeds: list[int]) -> Tensor:
        return latents_of(render([draw_scene(seed) for seed in seeds], self.size, self.device))


def save_grid(pictures: Tensor, columns: int, path: Path) -> None:
    """Write pictures (B, 3, S, S) in [0, 1] side by side."""
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows * columns, channels, height, width)
    sheet[:count] = pictures.detach().float().cpu().clamp(0, 1)
    sheet = sheet.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet.reshape(rows * height, columns * width, channels) * 255).byte().numpy()).save(path)
