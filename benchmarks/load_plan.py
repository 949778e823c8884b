"""Who calls when, in which dialect, for what, and how patiently: the whole load, fixed before it begins.

Seeded: the same options give the same calls. Knows no HTTP.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from benchmarks.measuring.workloads import Mixed, Scale, arrivals
from engine import GenerationRequest

Dialect = Literal["native", "async", "openai", "sdapi", "comfyui", "replicate", "huggingface"]
"""``native`` waits for its answer, ``async`` does not and follows the job's events; the others are named as in
``server``."""
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

QUEUED: frozenset[Dialect] = frozenset({"async", "comfyui", "replicate"})
"""They post a job and look after it later: a caller who goes away leaves it to be done."""

Manner = Literal["stay", "cancel", "leave", "return"]
"""``stay`` until the picture is there · ``cancel`` the job on the way · ``leave``: hang up · ``return``: hang up, and
make the same call again under the same idempotency key."""

MOST_PICTURES = 3
_PICTURES = (1, 1, 1, 1, 1, 1, 1, 2, 2, MOST_PICTURES)
_SEEDS_APART = 64
"""A call's pictures have seeds of their own, counted on from the call's."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of one client. Times in seconds."""

    number: int
    due: float
    """When it arrives, from the beginning of the load."""
    client: int
    dialect: Dialect
    request: GenerationRequest
    """Its seed is no other call's."""
    pictures: int
    manner: Manner
    after: float
    """How long it lasts until its caller cancels it or hangs up."""
    id: str
    """The job's, where the dialect lets the caller choose."""

    @property
    def key(self) -> str | None:
        """Its idempotency key."""
        return self.id if self.manner == "return" else None


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What callers do, on average."""

    mix: Mapping[Dialect, float]
    """How many calls are made in each dialect, relative to the others."""
    cancels: float = 0.05
    """The share of calls that are cancelled."""
    hang_ups: float = 0.05
    """The share of callers who hang up; every other one comes back."""
    linger: float = 0.05
    """Cancels and hang-ups come within so many seconds."""
    most_pictures: int = MOST_PICTURES
    """Of a call; most ask for one."""


def plan(
    *, rate: float, seconds: float, clients: int, scale: Scale, habits: Habits, seed: int, run: int, jobs: int | None
) -> list[Call]:
    """The calls of a Poisson process of ``rate`` a second: for ``seconds``, or ``jobs`` of them.

    ``run`` tells this load's seeds and ids from those of others at the same server: below 2³¹.
    """
    times = arrivals(rate, seconds, seed) if jobs is None else _first(rate, jobs, seed)
    choose, wanted = random.Random(f"calls {seed}"), iter(Mixed(scale, seed))
    dialects, weights = tuple(habits.mix), tuple(habits.mix.values())
    pictures = [each for each in _PICTURES if each <= habits.most_pictures]
    calls = list[Call]()
    for number, due in enumerate(times):
        (dialect,) = choose.choices(dialects, weights)
        manner = _manner(choose, habits, dialect)
        own_seed = (run << 32) + number * _SEEDS_APART
        calls.append(
            Call(
                number=number,
                due=due,
                client=choose.randrange(clients),
                dialect=dialect,
                request=GenerationRequest(**vars(next(wanted)) | {"seed": own_seed}),
                pictures=1 if dialect == "huggingface" else choose.choice(pictures),
                manner=manner,
                after=choose.uniform(0, habits.linger),
                id=f"load-{run:x}-{number}",
            )
        )
    return calls


def read_mix(text: str) -> dict[Dialect, float]:
    """``native=4,comfyui=1`` or ``native`` → how many of each. Raises ``ValueError``."""
    mix = dict[Dialect, float]()
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        dialect = next((each for each in DIALECTS if each == name), None)
        if dialect is None:
            raise ValueError(f"mix: {name!r} is not allowed; expected some of {', '.join(DIALECTS)}")
        try:
            mix[dialect] = float(weight or 1)
        except ValueError:
            raise ValueError(f"mix: {weight!r} is not allowed for {name}; expected a number") from None
        if not 0 < mix[dialect] < 1e6:
            raise ValueError(f"mix: {weight!r} is not allowed for {name}; expected a number above 0")
    return mix


def _first(rate: float, jobs: int, seed: int) -> list[float]:
    """The first ``jobs`` arrivals; those of a longer time begin with the same ones."""
    seconds = jobs / rate
    while len(times := arrivals(rate, seconds, seed)) < jobs:
        seconds *= 1.5
    return list(itertools.islice(times, jobs))


def _manner(choose: random.Random, habits: Habits, dialect: Dialect) -> Manner:
    drawn = choose.random()
    if drawn < habits.cancels:
        return "cancel"
    if drawn >= habits.cancels + habits.hang_ups:
        return "stay"
    keyed = drawn < habits.cancels + habits.hang_ups / 2
    return "return" if keyed and dialect != "sdapi" else "leave"  # AUTOMATIC1111's clients have no such key
