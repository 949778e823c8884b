"""Plans a whole load before it starts: which client calls when, in which dialect, for what, and how patiently.

The same options and the same seed give the same calls. Knows no HTTP.
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
"""``native`` waits for its answer; ``async`` does not, and follows the job's events. The others are named as in the
server."""
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

QUEUED: frozenset[Dialect] = frozenset({"async", "comfyui", "replicate"})
"""Dialects whose callers post a job and fetch it later: it is done even if the caller goes away."""

Manner = Literal["stay", "cancel", "leave", "return"]
"""``stay``: wait for the picture · ``cancel``: cancel the job · ``leave``: hang up · ``return``: hang up, and make the
same call again with the same idempotency key."""

MOST_PICTURES = 3
_PICTURES = (1, 1, 1, 1, 1, 1, 1, 2, 2, MOST_PICTURES)
_SEEDS_APART = 64
"""Distance between the seeds of two calls; the pictures of one call take consecutive seeds."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of one client. Times in seconds."""

    number: int
    due: float
    """When it is made, since the start of the load."""
    client: int
    dialect: Dialect
    request: GenerationRequest
    """Has a seed that no other call has."""
    pictures: int
    manner: Manner
    after: float
    """Seconds until its caller cancels it or hangs up, if ``manner`` says so."""
    id: str
    """Id of the job, in dialects that let the caller choose it."""

    @property
    def key(self) -> str | None:
        """Idempotency key; None for a call that is made once."""
        return self.id if self.manner == "return" else None


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How callers behave on average."""

    mix: Mapping[Dialect, float]
    """Relative number of calls in each dialect."""
    cancels: float = 0.05
    """Share of the calls that are cancelled."""
    hang_ups: float = 0.05
    """Share of the callers who hang up; half of them come back."""
    linger: float = 0.05
    """Most seconds until a cancel or a hang-up."""
    most_pictures: int = MOST_PICTURES
    """Most pictures of one call; most calls ask for one."""


def plan_calls(
    *, rate: float, seconds: float, clients: int, scale: Scale, habits: Habits, seed: int, run: int, jobs: int | None
) -> list[Call]:
    """Plan the calls of a Poisson process of ``rate`` per second: for ``seconds``, or ``jobs`` of them.

    ``run``, below 2³¹, keeps the seeds and ids of this load apart from those of other loads on the same server.
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
    """Read ``native=4,comfyui=1`` or ``native`` into the relative number of each. Raises ``ValueError``."""
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
    """Give the first ``jobs`` arrivals; a longer load with the same seed starts with the same ones."""
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
