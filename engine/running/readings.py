"""Which parametrization and noise levels a node for a model has, known without its weights.

Schedules need the levels, and are checked before any checkpoint is loaded.
"""

from __future__ import annotations

from engine.errors import BadRequest
from engine.sampling.levels import NoiseLevels
from engine.sampling.parametrization import EPS, Parametrization, continuous, discrete, fractional
from engine.workflow.a1111 import FractionalReading
from engine.workflow.models import Model
from engine.workflow.patches import ContinuousReading, DiscreteReading, chain_of

_LEAST_SIGMA = 1e-37
"""The smallest level of a model: float32 has all its digits from here on."""


def parametrization_of(model: Model) -> Parametrization:
    """Return how the output of ``model`` is read. A model made from several is read as the first of them is.

    Raises ``BadRequest`` for levels whose ends are the wrong way round, or too small for 32 bits.
    """
    for node in chain_of(model):
        match node:
            case DiscreteReading(sampling=kind, zsnr=zsnr):
                return discrete(kind, zero_terminal_snr=zsnr)
            case FractionalReading(sampling=kind, zsnr=zsnr, half=half, rounded=rounded):
                return fractional(kind, zero_terminal_snr=zsnr, half=half, rounded=rounded)
            case ContinuousReading(sampling=kind, sigma_min=sigma_min, sigma_max=sigma_max):
                if sigma_min < _LEAST_SIGMA:
                    raise BadRequest("sigma_min", sigma_min, f"a level of at least {_LEAST_SIGMA:g}", node=node)
                if sigma_min >= sigma_max:
                    raise BadRequest("sigma_min", sigma_min, f"a level below sigma_max, {sigma_max:g}", node=node)
                return continuous(kind, sigma_min=sigma_min, sigma_max=sigma_max)
    return EPS


def levels_of(model: Model) -> NoiseLevels:
    """Return the noise levels of ``model``; for equal readings the same object."""
    return parametrization_of(model).levels
