"""The training: what is stopped and resumed ends where an unbroken run ends; what is exported is what was trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from engine.checkpoint import load_checkpoint
from models.starter.diffusion import KEPT, ddim, noised, timesteps
from models.starter.latents import colours_of, latents_of
from models.starter.networks import LATENT_SCALE, Sizes, build_text_encoder, build_vae, decode, encode
from models.starter.pictures import HELD_OUT, Latents, Pictures
from models.starter.plan import TINY
from models.starter.scenes import render
from models.starter.stage import Clock, Stage, run
from models.starter.tokens import known_tokens
from models.starter.train import train
from models.starter.train_text import TextStage
from models.starter.train_unet import UnetStage
from models.starter.train_vae import VaeStage, psnr
from models.starter.world import draw_scene

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class StepClock(Clock):
    """Time is up after so many looks at the clock."""

    deadline: float = math.inf
    steps: int
    looks: list[int] = field(default_factory=list)

    def is_over(self) -> bool:
        self.looks.append(1)
        return len(self.looks) > self.steps


def vae_stage(folder: Path) -> Stage:
    return VaeStage(TINY.sizes, CPU, steps=TINY.vae_steps, batch=2, scenes=4, sides=(64,))


def text_stage(folder: Path) -> Stage:
    return TextStage(TINY.sizes, CPU, steps=TINY.text_steps, batch=4)


def unet_stage(folder: Path) -> Stage:
    torch.manual_seed(5)
    return UnetStage(TINY.sizes, CPU, folder, TINY.phases, build_text_encoder(TINY.sizes))


@pytest.mark.parametrize("build", [vae_stage, text_stage, unet_stage])
def test_a_resumed_training_is_the_unbroken_one(build: Callable[[Path], Stage], tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(build(whole), whole, StepClock(steps=99))
    assert not run(build(broken), broken, StepClock(steps=2))
    assert run(build(broken), broken, StepClock(steps=99))
    name = build(tmp_path).name
    once, twice = (torch.load(folder / f"{name}.pt", weights_only=True) for folder in (whole, broken))
    for network in set(once) - {"optimizer", "steps done"}:
        for key, value in once[network].items():
            assert torch.equal(value, twice[network][key]), f"{network} {key}"


def test_a_complete_stage_is_not_trained_again(tmp_path: Path) -> None:
    assert run(text_stage(tmp_path), tmp_path, StepClock(steps=99))
    clock = StepClock(steps=99)
    assert run(text_stage(tmp_path), tmp_path, clock)
    assert clock.looks == []


def test_the_whole_training_writes_a_checkpoint_that_the_engine_loads(tmp_path: Path) -> None:
    out = tmp_path / "starter.safetensors"
    assert train(TINY, tmp_path / "run", out, CPU, minutes=math.inf)
    checkpoint = load_checkpoint(out, device=CPU, dtype=torch.float32)
    saved = torch.load(tmp_path / "run" / "unet.pt", weights_only=True)["averages"]
    for name, value in checkpoint.unet.named_parameters():
        assert torch.equal(value, saved[f"unet.{name}"].half().float()), name
    for name, value in checkpoint.text_encoder.named_parameters():
        assert torch.equal(value, saved[f"text.{name}"].half().float()), name
    vae = torch.load(tmp_path / "run" / "vae.pt", weights_only=True)["vae"]
    for name, value in checkpoint.vae.named_parameters():
        assert torch.equal(value, vae[name].half().float().reshape(value.shape)), name
    assert (tmp_path / "run" / "grids" / "final.png").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_no_time_means_no_checkpoint_and_no_damage(tmp_path: Path) -> None:
    out = tmp_path / "starter.safetensors"
    assert not train(TINY, tmp_path / "run", out, CPU, minutes=0)
    assert not out.exists()


def test_an_untrained_autoencoder_is_a_resampler() -> None:
    pictures = render([draw_scene(seed) for seed in range(4)], 128)
    vae = build_vae(Sizes())
    with torch.no_grad():
        latents = encode(vae, pictures) * LATENT_SCALE
        torch.testing.assert_close(latents[:, :3], latents_of(pictures)[:, :3], atol=0.02, rtol=0)
        assert psnr(decode(vae, latents_of(pictures) / LATENT_SCALE), pictures) > 17


def test_latents_have_about_unit_variance_and_hold_the_colours() -> None:
    pictures = render([draw_scene(seed) for seed in range(64)], 128)
    latents = latents_of(pictures)
    assert (latents.mean((0, 2, 3)).abs() < 0.5).all()
    assert ((latents.std((0, 2, 3)) - 1).abs() < 0.35).all()
    coarse = torch.nn.functional.avg_pool2d(pictures, 8)
    torch.testing.assert_close(colours_of(latents), coarse, atol=1e-4, rtol=0)


def test_kept_latents_are_the_ones_made_anew(tmp_path: Path) -> None:
    kept, anew = (Latents(64, count, CPU, tmp_path) for count in (8, 0))
    for _ in range(2):
        torch.testing.assert_close(kept[[3, 5, 3]], anew[[3, 5, 3]], atol=1e-2, rtol=1e-3)


def test_held_out_scenes_are_others_than_those_trained_on() -> None:
    source = Pictures(32, 4, CPU, keep=True)
    assert source.count <= HELD_OUT
    assert not torch.allclose(source[[0]], source[[HELD_OUT]], atol=0.05)


def test_unknown_words_stay_without_meaning() -> None:
    stage = TextStage(TINY.sizes, CPU, steps=4, batch=4)
    stage.step(0)
    table = stage.encoder.get_input_embeddings().weight
    assert not table[~known_tokens()].any()
    assert table[known_tokens()].any(dim=1).all()


def test_ddim_with_a_perfect_denoiser_finds_the_picture() -> None:
    target, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def perfect(x: torch.Tensor, t: int) -> torch.Tensor:
        return (x - KEPT[t].sqrt() * target) / (1 - KEPT[t]).sqrt()

    torch.testing.assert_close(ddim(perfect, noise), target, atol=0.2, rtol=0)


def test_noise_grows_with_the_timestep_and_every_timestep_can_be_drawn() -> None:
    clean = torch.zeros(3, 4, 8, 8)
    spread = noised(clean, torch.randn(clean.shape), torch.tensor([0, 500, 999])).std((1, 2, 3))
    assert (spread.diff() > 0).all()
    drawn = timesteps(20_000, torch.Generator().manual_seed(0))
    assert drawn.min() < 10
    assert drawn.max() > 990
