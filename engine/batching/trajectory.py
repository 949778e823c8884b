"""One request in flight: its sampler, its place in it, its progress.

Hides the generator protocol of the samplers from everyone else. Knows no UNet and no other trajectory.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Hashable

import torch
from torch import Tensor

from engine.batching.denoiser import Denoiser, Evaluation
from engine.device.transfer import Fetch, to_device
from engine.pictures.decoder import PIXELS_PER_CELL
from engine.request import GenerationRequest
from engine.sampling.beginning import first_x
from engine.sampling.noise import NoiseSource, start_noise
from engine.sampling.samplers import SAMPLERS
from engine.sampling.samplers.protocol import Scalar
from engine.sampling.schedules import sigmas
from engine.text.prompt import chunks


class Trajectory:
    """A sampler at work on one request's x, which is its whole batch: float32 (B, 4, h, w).

    ``denoiser`` is who evaluates it; trajectories of one ``group`` may be evaluated together, and the ``owner`` s of
    those in flight take turns.
    """

    def __init__(
        self,
        request: GenerationRequest,
        denoiser: Denoiser,
        conditioning: Tensor,
        negative_conditioning: Tensor,
        owner: Hashable = None,
    ) -> None:
        assert request.seed is not None, "a trajectory's seed is fixed when its request is accepted"
        shape = (request.batch_size, 4, request.height // PIXELS_PER_CELL, request.width // PIXELS_PER_CELL)
        schedule = sigmas_of(request)
        device = conditioning.device
        noise = start_noise(request.seed, shape)
        x = to_device(first_x(noise=noise, sigma=schedule[0], latents=torch.zeros(shape)), device)
        sampler = SAMPLERS[request.sampler]
        self.denoiser = denoiser
        self.owner = owner
        self.pictures = request.batch_size
        self.steps: int | None = None if sampler.adaptive else len(schedule) - 1
        self._total = evaluation_count(request.sampler, len(schedule)) if self.steps is not None else None
        self._evaluated = 0
        self._evaluate = functools.partial(
            Evaluation,
            conditioning=conditioning,
            negative_conditioning=negative_conditioning,
            cfg_scale=request.cfg_scale,
            unconditional=sampler.needs_unconditional,
        )
        self._pair = sampler.needs_unconditional
        self._piece = denoiser.pictures_at_once(request.cfg_scale)
        self._scalar: Fetch | None = None
        self._pieces: deque[Evaluation] = deque()
        self._predicted: list[Tensor] = []
        self._result: Tensor | None = None
        self.latest = 0
        """Pictures of the latest evaluation that was answered."""
        self.denoised: Tensor | None = None
        """The latest prediction, float32 (B, 4, h, w) on the device."""
        self._sampler = sampler.function(x, schedule, NoiseSource(request.seed, schedule, shape, device))
        self._resume(None)
        first = self.evaluation(wait=True)
        self.group: Hashable = denoiser.group(first) if first is not None else None
        self.rows = first.rows if first is not None else 0

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
        """What is to be predicted next: what the sampler wants, a large batch in pieces that fit into one UNet call.

        None while it waits for a number from the device, unless ``wait`` says to wait for it, and when it is through.
        """
        while self._scalar is not None and (wait or self._scalar.ready()):
            fetched, self._scalar = self._scalar, None
            self._resume(float(fetched.value()))
        return self._pieces[0] if self._pieces else None

    def send(self, denoised: Tensor) -> None:
        """Take in the prediction for the latest ``evaluation``; what the sampler raises comes out here.

        Once the whole batch is predicted, the sampler is handed it and runs up to its next wish.
        """
        self._pieces.popleft()
        self.latest = denoised.shape[-4]
        self._predicted.append(denoised)
        if not self._pieces:
            whole = torch.cat(self._predicted, dim=-4) if len(self._predicted) > 1 else denoised
            self.denoised = whole[0] if self._pair else whole
            self._predicted = []
            self._evaluated += 1
            self._resume((whole[0], whole[1]) if self._pair else whole)

    def close(self) -> None:
        """End the sampler where it stands."""
        self._sampler.close()

    def _resume(self, answer: Tensor | tuple[Tensor, Tensor] | float | None) -> None:
        try:
            wanted = self._sampler.send(answer)
        except StopIteration as stop:
            self._result = stop.value
            return
        if isinstance(wanted, Scalar):
            self._scalar = Fetch(wanted.tensor)
        else:
            x, sigma = wanted
            self._pieces.extend(self._evaluate(x=piece, sigma=sigma) for piece in x.split(self._piece))


_DRY_SIGMAS = 10


def sigmas_of(request: GenerationRequest) -> Tensor:
    """The request's sigmas, float32 (n+1,) on the CPU. Raises ``BadRequest`` for a schedule without an answer."""
    return sigmas(sampler=request.sampler, scheduler=request.scheduler, steps=request.steps, denoise=request.denoise)


def check(request: GenerationRequest) -> None:
    """All that can be told of a request without its checkpoint: prompts' syntax, schedule. Raises ``BadRequest``."""
    chunks(request.prompt)
    chunks(request.negative_prompt, "negative_prompt")
    sigmas_of(request)


class _Silence:
    """Noise for a dry run."""

    def white(self) -> Tensor:
        return torch.zeros(1, 1, 1, 1)

    def brownian(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return torch.zeros(1, 1, 1, 1)


@functools.lru_cache(maxsize=256)
def evaluation_count(sampler: str, sigma_count: int) -> int:
    """How many evaluations ``sampler`` needs for so many sigmas that end at 0, found by a dry run.

    Each further sigma costs as many as the last: long schedules are not run through.
    """
    if sigma_count > _DRY_SIGMAS:
        longest, shorter = (evaluation_count(sampler, count) for count in (_DRY_SIGMAS, _DRY_SIGMAS - 1))
        return longest + (sigma_count - _DRY_SIGMAS) * (longest - shorter)
    schedule = torch.linspace(10.0, 0.0, sigma_count)
    record = SAMPLERS[sampler]
    dry = record.function(torch.zeros(1, 1, 1, 1), schedule, _Silence())
    count = 0
    try:
        wanted = next(dry)
        while True:
            assert not isinstance(wanted, Scalar), f"{sampler} goes by what it sees; its evaluations cannot be counted"
            count += 1
            wanted = dry.send((wanted[0], wanted[0]) if record.needs_unconditional else wanted[0])
    except StopIteration:
        return count
