"""Controls: what they add, when they work, and that a controlled row's bits do not depend on the others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.batching import trials as trials_module
from engine.batching.branches import Part
from engine.batching.calls import Calls
from engine.batching.controls import (
    AdapterController,
    Control,
    Controller,
    ControlNetController,
    Preparation,
    Use,
    controlled,
)
from engine.batching.denoiser import Denoiser, Evaluation
from engine.batching.rows import Row
from engine.checkpoint import load_checkpoint
from engine.checkpoint.controlnet import load_control
from engine.config import EngineConfig
from engine.networks.controlnet import ControlNet
from engine.networks.operations import Operations
from engine.networks.pieces import same_bits
from engine.networks.t2i_adapter import T2iAdapter
from engine.networks.unet import Unet
from engine.sampling.levels import STABLE_DIFFUSION_1
from tests.controls import write_adapter, write_controlnet

CPU = torch.device("cpu")
FACTS = {"widths": (32, 64, 64, 64), "context": 64}


@pytest.fixture(autouse=True)
def _larger_calls_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_module, "_WISHES_BEFORE_TRYING", 1)


@dataclasses.dataclass(frozen=True)
class Networks:
    """A UNet, two ControlNets and a T2I-adapter, in one mode."""

    denoiser: Denoiser
    first: ControlNetController
    second: ControlNetController
    adapter: AdapterController


def networks_of(folder: Path, checkpoint: Path, batching: str) -> Networks:
    exact = batching == "exact"
    sizes = EngineConfig(batching="exact" if exact else "fast", unet_rows=2 if exact else 8).call_sizes(gpu=False)
    operations = Operations(unit=sizes[0] if exact else None)

    def controller(name: str, seed: int) -> ControlNetController:
        path = write_controlnet(folder / name, seed=seed)
        network = ControlNet(load_control(path, device=CPU, dtype=torch.float32).blueprint.module, operations)  # type: ignore[arg-type]
        return ControlNetController(name=name, network=network, calls=Calls(network, exact=exact, sizes=sizes), **FACTS)  # type: ignore[arg-type]

    path = write_adapter(folder / "adapter.safetensors")
    adapter = T2iAdapter(load_control(path, device=CPU, dtype=torch.float32).blueprint.module, operations)  # type: ignore[arg-type]
    unet = Unet(load_checkpoint(checkpoint, device=CPU, dtype=torch.float32).unet, operations)
    return Networks(
        denoiser=Denoiser(unet, exact=exact, sizes=sizes),
        first=controller("first.safetensors", 1),
        second=controller("second.safetensors", 2),
        adapter=AdapterController(name="adapter", network=adapter, **FACTS),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Networks:
    return networks_of(tmp_path_factory.mktemp("exact"), tiny_checkpoint, "exact")


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Networks:
    return networks_of(tmp_path_factory.mktemp("fast"), tiny_checkpoint, "fast")


def pictures(seed: int, count: int = 1, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def control(controller: Controller, seed: int = 0, *, count: int = 1, **options: float) -> Control:
    return Control(controller=controller, pictures=pictures(seed, count), **options)


def evaluation(
    seed: int, positive: Sequence[Control] = (), negative: Sequence[Control] | None = (), *, batch: int = 1
) -> Evaluation:
    """Of pictures of 128 × 128 pixels, large enough for group norms to have many values at the lowest level; without a
    negative prompt where that is None."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4, 16, 16, generator=generator) * (1 + seed)
    preparation = Preparation(batch, STABLE_DIFFUSION_1)

    def part(controls: Sequence[Control]) -> Part:
        own = tuple(preparation.control(each, 16, 16) for each in controls)
        return Part(conditioning=torch.randn(1, 77, 64, generator=generator), controls=own)

    parts = (part(positive),) if negative is None else (part(positive), part(negative))
    return Evaluation(x=x, sigma=torch.tensor(0.5 + seed), parts=parts)


def predict(networks: Networks, *evaluations: Evaluation) -> list[Tensor]:
    """The predictions for each evaluation, its parts stacked: (parts, B, 4, h, w)."""
    return [torch.stack([eps for (eps,) in parts]) for parts in networks.denoiser.predict(evaluations)]


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def mixed(networks: Networks) -> list[Evaluation]:
    """Evaluations with controls of every kind, on one prompt and on both."""
    first, second, adapter = networks.first, networks.second, networks.adapter
    both, chained = [control(first, 1)], [control(first, 2), control(second, 3, strength=0.6)]
    return [
        evaluation(0, both, both),
        evaluation(1),
        evaluation(2, chained, chained),
        evaluation(3, both, ()),
        evaluation(4, [control(second, 4)], [control(second, 5)]),
        evaluation(5, [control(first, 6, count=2)], [control(first, 6, count=2)], batch=3),
        evaluation(6, [control(adapter, 7)], [control(adapter, 7)]),
        evaluation(7, [control(adapter, 8), *both], both),
        evaluation(8, both, None),
        evaluation(9, [control(first, 9), control(first, 10)], ()),
    ]


def test_in_exact_mode_a_controlled_row_has_the_same_bits_alone_and_beside_others(exact: Networks) -> None:
    evaluations = mixed(exact)
    alone = [predict(exact, each)[0] for each in evaluations]
    every = range(len(evaluations))
    for order in (every, every[::-1], every[3:7]):
        found = predict(exact, *(evaluations[i] for i in order))
        assert all(map(same_bits, found, (alone[i] for i in order)))


def test_fast_equals_exact_up_to_rounding(exact: Networks, fast: Networks) -> None:
    for wanted, found in zip(predict(exact, *mixed(exact)), predict(fast, *mixed(fast)), strict=True):
        assert error(found, wanted) < 5e-6


def test_trajectories_share_the_calls_of_a_controlnet(fast: Networks) -> None:
    sizes: list[int] = []

    def called(*inputs: Tensor) -> tuple[Tensor, ...]:
        sizes.append(len(inputs[2]))
        return fast.first.network(*inputs)  # type: ignore[operator,no-any-return]

    network = _Counting(called, fast.first.network)
    calls = Calls(network, exact=False, sizes=(1, 2, 4, 8))
    controller = dataclasses.replace(fast.first, calls=calls)
    several = [evaluation(seed, [control(controller, seed)], [control(controller, seed)]) for seed in range(3)]
    predict(fast, *several)
    assert sum(sizes) == 6
    assert len(sizes) < 3


class _Counting:
    """A ControlNet's function whose calls are seen."""

    dtype = torch.float32
    channels = 32

    def __init__(self, called: object, network: object) -> None:
        self._called = called
        self._network = network

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self._called(*inputs)  # type: ignore[operator,no-any-return]

    def pieces(self, rows: int) -> dict[int, int]:
        return {rows: 1}


def test_chained_controls_add_up_by_their_strengths(exact: Networks) -> None:
    generator = torch.Generator().manual_seed(0)
    row = Row(0, torch.randn(1, 4, 8, 8, generator=generator), 300.0, torch.randn(1, 77, 64, generator=generator))
    preparation = Preparation(1, STABLE_DIFFUSION_1)
    chained = (control(exact.first, 1, strength=0.5), control(exact.second, 2), control(exact.adapter, 3, strength=2.0))
    uses: list[Use] = [(preparation.control(each, 8, 8), 0) for each in chained]
    (found,) = controlled([row], [uses])
    alone = [controlled([row], [[use]])[0].beside_conditioning for use in uses]
    residuals, features = found.beside_conditioning[:9], found.beside_conditioning[9:]
    assert all(torch.allclose(a + b, c) for a, b, c in zip(alone[0], alone[1], residuals, strict=True))
    assert all(map(torch.equal, alone[2], features))
    (whole,) = controlled([row], [[(preparation.control(control(exact.first, 1), 8, 8), 0)]])
    assert all(torch.allclose(a, 0.5 * b) for a, b in zip(alone[0], whole.beside_conditioning, strict=True))


def test_a_controlnet_for_shuffled_pictures_adds_the_mean_of_each_residual(exact: Networks) -> None:
    shuffled = dataclasses.replace(exact.first, averaged=True)
    residuals = [torch.randn(1, 32, 8, 8), torch.randn(1, 64, 1, 1)]
    first, second = shuffled.weighed(residuals, 0.5)
    assert torch.allclose(first, residuals[0].mean(dim=(2, 3), keepdim=True) * 0.5)
    assert first.shape == residuals[0].shape
    assert torch.allclose(second, residuals[1] * 0.5)


def test_a_soft_control_leaves_the_last_layer_at_its_strength_and_the_fine_ones_less(exact: Networks) -> None:
    residuals = [torch.randn(1, 8, 4, 4) for _ in range(13)]
    plain, soft = (exact.first.weighed(residuals, 0.8, softly=softly) for softly in (False, True))
    assert torch.equal(soft[12], plain[12])
    shares = [float(some.norm() / whole.norm()) for some, whole in zip(soft, plain, strict=True)]
    assert shares == pytest.approx([0.825**layers for layers in range(12, -1, -1)])
    picture = torch.rand(1, 3, 64, 64)
    whole, less = (exact.adapter.prepared(picture, 1.0, softly=softly) for softly in (False, True))
    factors = [float(some.norm() / each.norm()) for some, each in zip(less, whole, strict=True)]
    assert factors == sorted(factors)
    assert (factors[-1], len(set(factors))) == (1, len(factors))


@pytest.mark.parametrize("kind", ["first", "adapter"])
def test_a_control_works_within_its_range_both_ends_included(exact: Networks, kind: str) -> None:
    prepared = Preparation(1, STABLE_DIFFUSION_1).control(control(getattr(exact, kind), start=0.2, end=0.6), 16, 16)
    first, last = STABLE_DIFFUSION_1.sigma_at_percent(0.2), STABLE_DIFFUSION_1.sigma_at_percent(0.6)
    assert prepared.active(first)
    assert prepared.active(last)
    assert not prepared.active(math.nextafter(first, math.inf))
    assert not prepared.active(math.nextafter(last, 0))
    plain = evaluation(0, (), ())
    beyond = dataclasses.replace(
        plain, parts=tuple(dataclasses.replace(part, controls=(prepared,)) for part in plain.parts)
    )
    within = dataclasses.replace(beyond, sigma=torch.tensor(last))
    assert same_bits(predict(exact, beyond)[0], predict(exact, plain)[0])
    assert (
        error(predict(exact, within)[0], predict(exact, dataclasses.replace(plain, sigma=torch.tensor(last)))[0]) > 1e-2
    )


def test_work_counts_the_calls_of_active_controlnets(exact: Networks) -> None:
    plain = evaluation(0, (), ()).work
    both = [control(exact.first, 1)]
    assert evaluation(0, (), None).work == plain / 2
    assert evaluation(0, (), (), batch=3).work == 3 * plain
    assert evaluation(0, both, ()).work == plain * 1.25
    assert evaluation(0, both, both).work == plain * 1.5
    assert evaluation(0, [control(exact.adapter, 1)], ()).work == plain  # its features are made once
    assert evaluation(0, [control(exact.first, 1, end=0.1)], ()).work == plain


def test_the_pictures_of_a_batch_get_the_controls_pictures_in_turn(exact: Networks) -> None:
    two = pictures(0, 2)
    whole = Preparation(3, STABLE_DIFFUSION_1).control(Control(controller=exact.first, pictures=two), 8, 8)
    own = [
        Preparation(1, STABLE_DIFFUSION_1).control(Control(controller=exact.first, pictures=two[k : k + 1]), 8, 8)
        for k in range(2)
    ]
    for picture in range(3):
        assert torch.equal(whole.of(picture)[0], own[picture % 2].prepared[0])
    assert torch.equal(whole.of_pictures(slice(1, 3)).of(1)[0], own[0].prepared[0])
    assert len(Preparation(5, STABLE_DIFFUSION_1).control(control(exact.first), 8, 8).prepared[0]) == 1


def test_pictures_are_cropped_to_the_middle_and_scaled_to_the_nearest_pixel() -> None:
    seen: list[Tensor] = []

    class Watching:
        def embedded(self, picture: Tensor) -> Tensor:
            seen.append(picture)
            return picture

    calls = Calls(_Counting(None, None), exact=False, sizes=(1,))
    watched = ControlNetController(name="watched", network=Watching(), calls=calls, **FACTS)  # type: ignore[arg-type]
    ramp = torch.arange(200.0).expand(3, 100, 200).permute(1, 2, 0)[None] / 200  # grey, 200 wide
    Preparation(1, STABLE_DIFFUSION_1).control(Control(controller=watched, pictures=ramp), 25, 25)
    (square,) = seen
    assert square.shape == (1, 3, 200, 200)
    assert torch.equal(square[0, 0, 0, ::2], ramp[0, 0, 50:150, 0])


def test_what_both_prompts_have_in_common_is_prepared_once(exact: Networks) -> None:
    preparation, shown = Preparation(1, STABLE_DIFFUSION_1), pictures(0)
    one, other = (
        preparation.control(Control(controller=exact.first, pictures=shown, end=end), 8, 8) for end in (1.0, 0.5)
    )
    assert one.prepared is other.prepared
    assert preparation.control(Control(controller=exact.first, pictures=shown), 4, 8).prepared is not one.prepared


def test_a_controlnet_is_given_the_noisy_channels_alone(exact: Networks) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, nine = torch.randn(1, 77, 64, generator=generator), torch.randn(1, 9, 8, 8, generator=generator)
    use = (Preparation(1, STABLE_DIFFUSION_1).control(control(exact.first), 8, 8), 0)
    found, wanted = (
        controlled([Row(0, x, 300.0, tokens), Row(0, x, 300.0, tokens)], [[use], [use]])[0]
        for x in (nine, nine[:, :4].contiguous())
    )
    assert all(map(torch.equal, found.beside_conditioning, wanted.beside_conditioning))
    assert found.x is nine
