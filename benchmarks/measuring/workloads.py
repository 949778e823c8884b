"""Gives the requests and their times, from seeds, so that every subject gets the same requests at the same times.

Knows nothing of subjects.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean

from engine import GenerationRequest
from engine.batching.trajectory import evaluation_count

SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m")
"""Samplers of the mix: they take one evaluation a step, and every peer has them."""

_SUBJECTS = ("a glass bottle", "a red boat", "two houses", "a lighthouse", "three trees", "a mountain", "an old mill")
_PLACES = ("by the sea", "in the hills", "before a forest", "at a lake", "in the desert", "under galaxies", "in snow")
_STYLES = ("at dawn", "at night", "at sunset", "in soft colours", "watercolour", "detailed scenery", "with aurora")
_NEGATIVES = ("text, watermark", "blurry", "low quality, text", "")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Size and steps of the pictures."""

    size: int
    """Width and height in pixels."""
    steps: int
    """Steps of a picture; in the mix, of an average one."""

    @property
    def mixed_steps(self) -> tuple[int, int]:
        """The fewest and the most steps of the mix: half and one and a half times ``steps``."""
        return max(1, self.steps // 2), max(1, self.steps + self.steps // 2)

    @property
    def mean_steps(self) -> float:
        """The average steps of a picture of the mix, where every number is equally likely."""
        return sum(self.mixed_steps) / 2


def alone(scale: Scale, number: int) -> GenerationRequest:
    """Give the standard request with a prompt and a seed of its own, so that no cache answers it."""
    return GenerationRequest(
        prompt=f"beautiful scenery nature glass bottle landscape, purple galaxy bottle, number {number}",
        width=scale.size,
        height=scale.size,
        steps=scale.steps,
        seed=802908303372950 + number,
    )


@dataclass(frozen=True)
class Alone:
    """Yields ``alone`` requests without end, from number ``first`` on."""

    scale: Scale
    first: int = 0

    def __iter__(self) -> Iterator[GenerationRequest]:
        return (alone(self.scale, number) for number in itertools.count(self.first))


@dataclass(frozen=True)
class Mixed:
    """Yields requests without end, whose prompts, steps, samplers, schedulers, guidance and seeds vary."""

    scale: Scale
    seed: int

    @property
    def mean_evaluations(self) -> float:
        """The average evaluations of a picture, over samplers and steps, which are all equally likely."""
        low, high = self.scale.mixed_steps
        return mean(evaluation_count(sampler, steps + 1) for sampler in SAMPLERS for steps in range(low, high + 1))

    def __iter__(self) -> Iterator[GenerationRequest]:
        choose = random.Random(self.seed)
        while True:
            yield GenerationRequest(
                prompt=f"{choose.choice(_SUBJECTS)} {choose.choice(_PLACES)}, {choose.choice(_STYLES)}",
                negative_prompt=choose.choice(_NEGATIVES),
                width=self.scale.size,
                height=self.scale.size,
                steps=choose.randint(*self.scale.mixed_steps),
                cfg_scale=choose.choice((5.0, 7.0, 8.0)),
                sampler=choose.choice(SAMPLERS),
                scheduler=choose.choice(("normal", "karras")),
                seed=choose.randrange(2**32),
            )


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Give the arrival times of a Poisson process of ``rate`` a second, in seconds from 0 to ``seconds``."""
    choose = random.Random(seed)
    times, now = [], choose.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += choose.expovariate(rate)
    return times
