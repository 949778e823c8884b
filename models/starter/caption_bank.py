"""Writes a training's captions beforehand, as tokens and as what they say, so that a GPU never waits for one."""

import itertools
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.starter.captions import answers_of, caption, empty_caption
from models.starter.tokens import with_strange_words
from models.starter.world import draw_scene

EMPTY = 0.1  # the share of captions that say nothing, which guidance subtracts
BLOCK = 512  # scenes that one process writes about at a time
FEW = 20_000  # captions that are not worth another process

Written = tuple[NDArray[np.uint16], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class CaptionBank:
    """Holds the same number of captions for each of the scenes 0, 1, 2 …"""

    tokens: Tensor  # (scenes, captions, 77) int32
    answers: Tensor  # (scenes, captions, questions) uint8

    def __len__(self) -> int:
        return len(self.tokens)

    def draw(self, scenes: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return one caption for each scene number (B,): tokens (B, 77) and answers (B, questions), both int64."""
        which = torch.randint(self.tokens.shape[1], scenes.shape, generator=draw, device=scenes.device)
        return self.tokens[scenes, which].long(), self.answers[scenes, which].long()


def write_captions(scenes: int, each: int, device: torch.device) -> CaptionBank:
    """Write ``each`` captions for every scene, on all processor cores."""
    blocks = [range(first, min(first + BLOCK, scenes)) for first in range(0, scenes, BLOCK)]
    if scenes * each < FEW:
        parts = [_written(block, each) for block in blocks]
    else:
        with ProcessPoolExecutor() as pool:
            parts = list(pool.map(_written, blocks, itertools.repeat(each)))
    tokens, answers = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return CaptionBank(
        tokens=torch.from_numpy(tokens.astype(np.int32)).to(device), answers=torch.from_numpy(answers).to(device)
    )


def _written(scenes: range, each: int) -> Written:
    tokens, answers = [], []
    for seed in scenes:
        scene, rng = draw_scene(seed), random.Random(f"captions of {seed}")
        captions = [empty_caption(rng) if rng.random() < EMPTY else caption(scene, rng) for _ in range(each)]
        tokens.append([with_strange_words(t.text, rng) for t in captions])
        answers.append([answers_of(t) for t in captions])
    return np.array(tokens, np.uint16), np.array(answers, np.uint8)
