"""One sampling in flight: its sampler, how far it is, and what it wants predicted next.

Hides the generator protocol of the samplers from the rest of the engine. Knows no network and no other trajectory.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.batching.branches import Part
from engine.batching.denoiser import Denoiser, Evaluation
from engine.batching.guidance import Ask, Course, Guided, predictions_of, unconditional_of
from engine.batching.predictor import Predictor
from engine.device.transfer import Fetch
from engine.sampling.levels import STABLE_DIFFUSION_1, NoiseLevels
from engine.sampling.noise import StepNoise
from engine.sampling.samplers.protocol import Sampler, Scalar, Stage
from engine.sampling.samplers.table import sampler_named


class Trajectory:
    """A sampler at work on x, one whole batch: float32 (B, 4, h, w).

    ``denoiser`` makes its predictions, until another one takes over. Trajectories with a group in common may share
    calls; the ``owner`` s of the trajectories in flight take turns.
    """

    groups: frozenset[Hashable] = frozenset()
    rows = 0
    """How many rows the evaluation that is wanted has in UNet calls."""
    work = 0.0
    """What that evaluation costs, about, in the unit of ``engine.batching.work``."""
    latest = 0
    """Pictures of the latest evaluation that was answered."""
    denoised: Tensor | None = None
    """The prediction of the latest step's first evaluation, float32 (B, 4, h, w) on the device."""

    _evaluated = 0
    _wanted: tuple[Tensor, Tensor] | None = None  # the x and sigma of the evaluation under way
    _course: Course | None = None  # to its denoised prediction
    _asked: Ask | None = None
    _scalar: Fetch | None = None
    _result: Tensor | None = None
    _nothing_asked = False

    def __init__(
        self,
        *,
        sampler: str,
        x: Tensor,
        sigmas: Tensor,
        noise: StepNoise,
        predictor: Predictor,
        owner: Hashable = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """``x`` is the first x, on the device; ``sigmas`` are float32 (n+1,) on the CPU."""
        record = sampler_named(sampler)
        self.denoiser: Denoiser = predictor.denoiser
        self.owner = owner
        self.pictures: int = x.shape[0]
        self.steps: int | None = None if record.adaptive else len(sigmas) - 1
        """Steps in all; None where the sampler decides as it goes."""
        self._total = (
            None
            if record.adaptive
            else evaluation_count(sampler, len(sigmas), to_zero=bool(sigmas[-1] == 0), options=tuple(options))
        )
        self._predictor = predictor
        self._pair = record.needs_unconditional
        self._skips = record.draws_unused
        self._pieces: deque[Evaluation] = deque()
        self._predicted: list[list[tuple[Tensor, ...]]] = []
        self._common: dict[tuple[Part, ...], tuple[Part, ...]] = {}
        self._sampling = _function(sampler, tuple(options), predictor.parametrization.levels)(x, sigmas, noise)
        self._resume(None)
        self._go_on()
        self.evaluation(wait=True)  # its group and rows are known from now on

    @property
    def x(self) -> Tensor | None:
        """The final x, float32 (B, 4, h, w), once the sampler is through."""
        return self._result

    @property
    def step(self) -> int:
        """Steps done, 0 … ``steps``. Samplers with several evaluations a step advance by their share of them."""
        if self._total is None or self.steps is None:
            return self._evaluated
        return self._evaluated * self.steps // max(self._total, 1)

    def evaluation(self, *, wait: bool = False) -> Evaluation | None:
        """Return what is to be predicted next: what guidance wants, a large batch in pieces that fit into one UNet
        call.

        None while the sampler waits for a number from the device, unless ``wait`` says to wait for it, and once it is
        through.
        """
        while self._scalar is not None and (wait or self._scalar.ready()):
            fetched, self._scalar = self._scalar, None
            self._resume(float(fetched.value()))
            self._go_on()
        return self._pieces[0] if self._pieces else None

    def send(self, outputs: list[tuple[Tensor, ...]]) -> None:
        """Take in what the network makes of each part of the latest ``evaluation``; what the sampler raises comes out
        here.

        Once the whole batch is predicted, guidance goes on, and once that has its denoised prediction, the sampler,
        which runs up to its next wish.
        """
        latest = self._pieces.popleft()
        self.latest = latest.x.shape[0]
        self._predicted.append(outputs)
        if self._pieces:
            self._show(self._pieces[0])
            return
        pieces, self._predicted = self._predicted, []
        whole = [
            tuple(torch.cat(each) if len(each) > 1 else each[0] for each in zip(*part, strict=True))
            for part in zip(*pieces, strict=True)
        ]
        self._guide(whole)
        self._go_on()

    def close(self) -> None:
        """End the sampler where it stands."""
        self._sampling.close()

    def _resume(self, answer: Any) -> None:
        """Hand the sampler ``answer``; run it up to its next wish."""
        try:
            wanted = self._sampling.send(answer)
        except StopIteration as stop:
            self._result = stop.value
            return
        if isinstance(wanted, Scalar):
            self._scalar = Fetch(wanted.tensor)
            return
        self._wanted = wanted
        self._hand_over(wanted[1])
        predictor = self._predictor
        if predictor.patching is not None and self._skips and not isinstance(wanted, Stage):
            predictor.patching.skip(wanted[0])
        branches = [branch.at(wanted[1], self._evaluated) for branch in predictor.branches]
        self._course = predictor.guidance.course(*wanted, branches)
        self._ask(next(self._course))

    def _hand_over(self, sigma: Tensor) -> None:
        """Have the predictor that takes over make the predictions, if it is due at ``sigma``."""
        then = self._predictor.then
        if then is not None and then.due(sigma, self._evaluated, self._predictor.parametrization.levels.sigmas):
            self._predictor, self._common = then.predictor, {}
            self.denoiser = self._predictor.denoiser
            self._hand_over(sigma)

    def _ask(self, ask: Ask) -> None:
        """Have the active parts of what guidance asks for predicted."""
        assert self._wanted is not None
        sigma = self._wanted[1]
        self._asked = Ask(ask.x, [branch.at(sigma, self._evaluated) for branch in ask.branches])
        parts = tuple(part for branch in self._asked.branches for part in branch.parts)
        if not parts:
            self._nothing_asked = True
            return
        if parts not in self._common:
            self._common[parts] = self.denoiser.with_common_length(parts)
        common, at_once = self._common[parts], self.denoiser.pictures_at_once(len(parts))
        if self._predictor.patching is not None:
            common = self._predictor.patching.of(common, sigma, ask.x)
        for first in range(0, self.pictures, at_once):
            pictures = slice(first, first + at_once)
            self._pieces.append(
                Evaluation(
                    x=ask.x[pictures],
                    sigma=sigma,
                    parts=common if at_once >= self.pictures else tuple(part.of_pictures(pictures) for part in common),
                    parametrization=self._predictor.parametrization,
                )
            )
        self._show(self._pieces[0])

    def _show(self, piece: Evaluation) -> None:
        """Let the batcher know what the next evaluation takes."""
        self.groups, self.rows, self.work = self.denoiser.groups(piece), piece.rows, piece.work

    def _go_on(self) -> None:
        """Answer guidance as long as it asks for branches of which no part is active."""
        while self._nothing_asked:
            self._nothing_asked = False
            self._guide([])

    def _guide(self, outputs: Sequence[tuple[Tensor, ...]]) -> None:
        """Hand guidance the network's outputs for what it asked; run it up to its next wish, or hand the sampler its
        denoised prediction."""
        assert self._course is not None
        assert self._asked is not None
        assert self._wanted is not None
        try:
            parametrization = self._predictor.parametrization
            ask = self._course.send(predictions_of(self._asked, self._wanted[1], outputs, parametrization))
        except StopIteration as stop:
            guided: Guided = stop.value
        else:
            self._ask(ask)
            return
        if not isinstance(self._wanted, Stage):
            self.denoised = guided.denoised
        self._evaluated += 1
        self._resume((guided.denoised, unconditional_of(guided)) if self._pair else guided.denoised)


def _function(sampler: str, options: tuple[tuple[str, Any], ...], levels: NoiseLevels) -> Sampler:
    """The sampler's function, with ``options`` in place of its defaults, for a model of these ``levels``."""
    record = sampler_named(sampler)
    function = record.configured(dict(options))
    return functools.partial(function, levels=levels) if record.needs_levels else function


_DRY_SIGMAS = 10


class _Silence:
    """Noise for a dry run."""

    def white(self) -> Tensor:
        return torch.zeros(1, 1, 1, 1)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.zeros(1, 1, 1, 1)


@functools.lru_cache(maxsize=256)
def evaluation_count(
    sampler: str, sigma_count: int, *, to_zero: bool = True, options: tuple[tuple[str, Any], ...] = ()
) -> int:
    """Return how many evaluations ``sampler`` needs for ``sigma_count`` sigmas, found by a dry run.

    ``to_zero``: whether they end at 0, a step that many samplers make in another way. Each further sigma costs as many
    evaluations as the last: long schedules are not run through.
    """
    if sigma_count > _DRY_SIGMAS:
        counts = (_DRY_SIGMAS, _DRY_SIGMAS - 1)
        longest, shorter = (evaluation_count(sampler, count, to_zero=to_zero, options=options) for count in counts)
        return longest + (sigma_count - _DRY_SIGMAS) * (longest - shorter)
    record, sigmas = sampler_named(sampler), torch.linspace(10.0, 0.0 if to_zero else 1.0, sigma_count)
    dry = _function(sampler, options, STABLE_DIFFUSION_1)(torch.zeros(1, 1, 1, 1), sigmas, _Silence())
    count = 0
    try:
        wanted = next(dry)
        while True:
            assert not isinstance(wanted, Scalar), f"{sampler} goes by what it sees; its evaluations cannot be counted"
            count += 1
            wanted = dry.send((wanted[0], wanted[0]) if record.needs_unconditional else wanted[0])
    except StopIteration:
        return count
