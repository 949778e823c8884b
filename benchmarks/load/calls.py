"""Plans a whole load before it starts: which client calls when, in which dialect, for what, and how patiently.

The same options and the same seed give the same calls. Knows no HTTP.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from benchmarks.measuring.workloads import Mixed, Scale, arrivals
from engine import GenerationRequest

Dialect = Literal["native", "async", "openai", "sdapi", "comfyui", "replicate", "huggingface"]
"""``native`` waits for its answer; ``async`` does not, and follows the job's events. The others are named as in the
server."""
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

QUEUED: frozenset[Dialect] = frozenset({"async", "comfyui", "replicate"})
"""Dialects whose callers post a job and fetch it later: it is done even if the caller goes away."""

Subject = Literal["text", "image", "lora", "outputs"]
"""``text``: text to image · ``image``: from a picture that the call hands in · ``lora``: with a LoRA · ``outputs``: a
graph with two outputs."""
SUBJECTS: tuple[Subject, ...] = get_args(Subject)

_SUBJECTS_OF: Mapping[Dialect, frozenset[Subject]] = {
    **dict.fromkeys(DIALECTS, frozenset({"text", "image"})),
    **dict.fromkeys(("native", "async", "sdapi"), frozenset({"text", "image", "lora"})),
    "comfyui": frozenset(SUBJECTS),
}
"""What is asked for in each dialect; text in place of the others."""

LORA = "starter-ink"
"""The LoRA of those calls: the one that is shipped."""

Manner = Literal["stay", "cancel", "leave", "return"]
"""``stay``: wait for the picture · ``cancel``: cancel the job · ``leave``: hang up · ``return``: hang up, and make the
same call again with the same idempotency key."""

T = TypeVar("T", bound=str)

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
    subject: Subject = "text"
    pictures: int
    """The number that it asks for, of each output."""
    manner: Manner
    after: float
    """Seconds until its caller cancels it or hangs up, if ``manner`` says so."""
    id: str
    """Id of the job, in dialects that let the caller choose it."""

    @property
    def made(self) -> int:
        """The number of pictures that come of it."""
        return self.pictures * (2 if self.subject == "outputs" else 1)

    @property
    def key(self) -> str | None:
        """Idempotency key; None for a call that is made once."""
        return self.id if self.manner == "return" else None


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How callers behave on average."""

    mix: Mapping[Dialect, float]
    """Relative number of calls in each dialect."""
    subjects: Mapping[Subject, float] = field(default_factory=lambda: {"text": 1.0})
    """Relative number of calls for each subject, where the dialect's callers ask for it."""
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
    subjects, shares = tuple(habits.subjects), tuple(habits.subjects.values())
    calls = list[Call]()
    for number, due in enumerate(times):
        (dialect,) = choose.choices(dialects, weights)
        manner = _manner(choose, habits, dialect)
        (subject,) = choose.choices(subjects, shares)
        own_seed = (run << 32) + number * _SEEDS_APART
        calls.append(
            Call(
                number=number,
                due=due,
                client=choose.randrange(clients),
                dialect=dialect,
                request=GenerationRequest(**vars(next(wanted)) | {"seed": own_seed}),
                subject=subject if subject in _SUBJECTS_OF[dialect] else "text",
                pictures=1 if dialect == "huggingface" else choose.choice(pictures),
                manner=manner,
                after=choose.uniform(0, habits.linger),
                id=f"load-{run:x}-{number}",
            )
        )
    return calls


def read_mix(text: str) -> dict[Dialect, float]:
    """Read ``native=4,comfyui=1`` or ``native`` into the relative number of each. Raises ``ValueError``."""
    return _read_shares("mix", text, DIALECTS)


def read_subjects(text: str) -> dict[Subject, float]:
    """Read ``text=4,image=1`` into the relative number of each. Raises ``ValueError``."""
    return _read_shares("subjects", text, SUBJECTS)


def _read_shares(option: str, text: str, known: Sequence[T]) -> dict[T, float]:
    shares = dict[T, float]()
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        found = next((each for each in known if each == name), None)
        if found is None:
            raise ValueError(f"{option}: {name!r} is not allowed; expected some of {', '.join(known)}")
        try:
            shares[found] = float(weight or 1)
        except ValueError:
            raise ValueError(f"{option}: {weight!r} is not allowed for {name}; expected a number") from None
        if not 0 < shares[found] < 1e6:
            raise ValueError(f"{option}: {weight!r} is not allowed for {name}; expected a number above 0")
    return shares


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
