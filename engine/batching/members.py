"""Conditioning: encoded prompts, and where, when and how strongly each of them counts.

A conditioning is a tuple of members, each made by nodes without knowing the picture that it is for. For a sampling,
which has a size and noise levels, they become the parts of branches. Knows no network and no node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from engine.batching.branches import Branch, Part, Rests, Turns
from engine.batching.controls import Control, Preparation
from engine.batching.coverage import bounds, faded, for_pictures, resized
from engine.batching.windows import Shares, Window
from engine.sampling.levels import NoiseLevels


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedLatents:
    """A picture with a hole, for inpainting networks."""

    latents: Tensor
    """(b, 4, h, w) float32 on the device, in the UNet's scale: the picture, grey in the hole."""
    mask: Tensor
    """(b, H, W) float32 on the device: 1 where the hole is."""
    rounded: bool = True
    """Whether networks are shown only zeros and ones of the mask."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One encoded prompt of a conditioning."""

    tokens: Tensor
    """(1, 77·n, width) float32 on the device."""
    strength: float = 1.0
    """How much it weighs in the mean of its branch's predictions."""
    area: Window | Shares | None = None
    """Where it counts: the network is given that part of x alone. None: everywhere."""
    mask: Tensor | None = None
    """(B, h, w) float32 of any size: how much it weighs in each place; None: the same everywhere."""
    mask_strength: float = 1.0
    """A factor of the mask."""
    mask_bounds: bool = False
    """Whether its area is the bounds of its mask."""
    start: float = 0.0
    """The share of the sampling, 0 … 1, from which on it counts."""
    end: float = 1.0
    """The share of the sampling up to which it counts."""
    turns: Turns | None = None
    """The evaluations in which it counts; None: all."""
    rests: Rests | None = None
    """Those in which guidance does without it; None: none."""
    masked: MaskedLatents | None = None
    """What an inpainting network is shown of the picture that it repaints."""
    controls: tuple[Control, ...] = ()
    """What is added to the network's predictions, in this order."""
    shares_controls: bool = False
    """Whether other prompts that have no controls get its own."""
    channels: Tensor | None = None
    """What the network takes beside x, (1 or B, c, h, w) on the device; made of ``masked`` for each sampling."""


Conditioning: TypeAlias = tuple[Member, ...]


def of_equal_length(prompts: Sequence[Conditioning]) -> tuple[Conditioning, ...]:
    """Return the prompts with the last vector of each shorter text repeated up to the longest one's tokens, as
    AUTOMATIC1111 has the parts of ``AND``."""
    length = max(member.tokens.shape[1] for prompt in prompts for member in prompt)
    return tuple(_mapped(prompt, lambda tokens: _extended(tokens, length)) for prompt in prompts)


def padded(prompts: Sequence[Conditioning], filler: Tensor | None) -> tuple[Conditioning, ...]:
    """Return the prompts, the negative one last, with as many tokens as each other.

    The shorter ones get ``filler`` (1, 77, width) behind their own as often as it takes; without one the negative
    prompt's last vector is repeated, or its end is cut off. AUTOMATIC1111's ``pad_cond_uncond`` and its first version.
    """
    *others, negative = prompts
    lengths = [max(member.tokens.shape[1] for member in prompt) for prompt in prompts]
    if filler is not None:
        return tuple(_mapped(prompt, lambda tokens: _filled(tokens, filler, max(lengths))) for prompt in prompts)
    length = max(lengths[:-1], default=lengths[-1])
    return (*others, _mapped(negative, lambda tokens: _extended(tokens[:, :length], length)))


def _mapped(prompt: Conditioning, change: Callable[[Tensor], Tensor]) -> Conditioning:
    return tuple(replace(member, tokens=change(member.tokens)) for member in prompt)


def _filled(tokens: Tensor, filler: Tensor, length: int) -> Tensor:
    missing = (length - tokens.shape[1]) // filler.shape[1]
    return torch.cat([tokens, filler.repeat(1, missing, 1)], dim=1) if missing else tokens


def _extended(tokens: Tensor, length: int) -> Tensor:
    missing = length - tokens.shape[1]
    return torch.cat([tokens, tokens[:, -1:].expand(-1, missing, -1)], dim=1) if missing else tokens


def branches_of(prompts: Sequence[Conditioning], shape: Sequence[int], levels: NoiseLevels) -> tuple[Branch, ...]:
    """Return the branch of each prompt for x of ``shape`` (B, 4, h, w), at the noise levels of a model.

    The first prompt is the positive one. As in ComfyUI, where a member of one prompt has an area, the others get a
    member of the same area, strength, range and controls, so that guidance has something to compare it with.
    """
    pictures, _, height, width = shape
    placed = [[_placed(member, height, width) for member in prompt] for prompt in prompts]
    for prompt in placed:
        for member in prompt:  # those that were added to it included
            for other in placed:
                if other is not prompt:
                    other.extend(_opposite(member, other))
    for prompt in placed[1:]:
        _share_controls(placed[0], prompt)
    preparation = Preparation(pictures, levels)
    return tuple(
        Branch(parts=tuple(_part(member, pictures, height, width, levels, preparation) for member in prompt))
        for prompt in placed
    )


def _placed(member: Member, height: int, width: int) -> Member:
    """Return the member with its area in cells and its mask at the size of the latents."""
    mask = None if member.mask is None else resized(member.mask, height, width)
    area = member.area.window(height, width) if isinstance(member.area, Shares) else member.area
    if mask is not None and member.mask_bounds:
        area = bounds(mask)
    return replace(member, area=area, mask=mask)


def _opposite(member: Member, prompt: Sequence[Member]) -> list[Member]:
    """Return what ``prompt`` lacks against ``member`` of another prompt: its own words for the member's area.

    They are those of its smallest area around that one, or else of its first member for the whole picture.
    """
    area = member.area
    if not isinstance(area, Window):
        return []
    around = [each for each in prompt if isinstance(each.area, Window) and each.area.contains(area)]
    whole = [each for each in prompt if each.area is None]
    nearest = min(around, key=_cells, default=whole[0] if whole else None)
    if nearest is None or nearest.area == area:
        return []
    return [replace(member, tokens=nearest.tokens, channels=nearest.channels)]


def _share_controls(positive: Sequence[Member], prompt: list[Member]) -> None:
    """Give members for the whole picture the controls of the positive prompt's that share theirs, in turn.

    As in ComfyUI, later controls take the place of earlier ones where there are more of them than members, and a
    prompt with controls of its own gets none.
    """
    whole = [number for number, member in enumerate(prompt) if member.area is None]
    if any(prompt[number].controls for number in whole):
        return
    shared = [member.controls for member in positive if member.area is None and member.shares_controls]
    for turn, controls in enumerate(shared if whole else []):
        number = whole[turn % len(whole)]
        prompt[number] = replace(prompt[number], controls=controls)


def _cells(member: Member) -> int:
    assert isinstance(member.area, Window)
    return member.area.cells


def _part(
    member: Member, pictures: int, height: int, width: int, levels: NoiseLevels, preparation: Preparation
) -> Part:
    assert not isinstance(member.area, Shares)
    window = None if member.area is None else member.area.cut(height, width)
    if window == (0, 0, height, width):
        window = None
    size = (height, width) if window is None else (window.height, window.width)
    return Part(
        conditioning=member.tokens,
        window=window,
        channels=member.channels,
        controls=tuple(preparation.control(control, *size) for control in member.controls),
        weight=_weight(member, window, pictures, height, width),
        first_sigma=levels.sigma_at_percent(member.start),
        last_sigma=levels.sigma_at_percent(member.end),
        turns=member.turns,
        rests=member.rests,
    )


def _weight(member: Member, window: Window | None, pictures: int, height: int, width: int) -> Tensor | None:
    """Return the weight of a member in its window: a mask has its own edges, and an area without one fades."""
    if member.mask is not None:
        mask = for_pictures(member.mask, pictures)
        return (mask if window is None else window.of(mask)) * member.mask_strength * member.strength
    if window is not None:
        return (member.strength * faded(window, height, width)).to(member.tokens.device)
    return None if member.strength == 1 else torch.full((1, 1, 1, 1), member.strength, device=member.tokens.device)
