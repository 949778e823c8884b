"""The training: what is stopped and resumed ends where an unbroken run ends; what is exported is what was trained."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.checkpoint import load_checkpoint
from models.starter.caption_bank import write_captions
from models.starter.diffusion import KEPT, ddim, noise_like, noised, timesteps
from models.starter.latents import colours_of, latents_of
from models.starter.networks import LATENT_SCALE, Sizes, build_text_encoder, build_vae, decode, encode
from models.starter.pictures import HELD_OUT, Bank, held_out, latent_bank, picture_bank
from models.starter.plan import TINY
from models.starter.precision import Working
from models.starter.scenes import render
from models.starter.stage import Stage, run
from models.starter.tokens import known_tokens
from models.starter.train import train
from models.starter.train_text import TextStage
from models.starter.train_unet import UnetStage
from models.starter.train_vae import VaeStage, crops, psnr
from models.starter.world import draw_scene
from tests.models.clocks import StepClock

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
CAPTIONS = write_captions(TINY.scenes, TINY.captions, CPU)


def vae_stage(folder: Path) -> Stage:
    return VaeStage(TINY.sizes, CPU, steps=TINY.vae_steps, batch=2, crop=48, scenes=4, sides=(64,))


def text_stage(folder: Path) -> Stage:
    return TextStage(TINY.sizes, CPU, CAPTIONS, steps=TINY.text_steps, batch=4)


def unet_stage(folder: Path) -> Stage:
    torch.manual_seed(5)
    return UnetStage(TINY.sizes, CPU, folder, TINY.phases, build_text_encoder(TINY.sizes), CAPTIONS)


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
    assert (tmp_path / "run" / "grids" / "final-128.png").exists()
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


def test_kept_latents_are_those_of_the_scenes_and_outlive_the_run(tmp_path: Path) -> None:
    wanted = latents_of(render([draw_scene(seed) for seed in (3, 5, 3)], 64))
    for _ in range(2):
        kept = latent_bank(64, 8, CPU, tmp_path)
        torch.testing.assert_close(kept[torch.tensor([3, 5, 3])].float(), wanted, atol=1e-2, rtol=1e-3)
    latent_bank(64, 8, CPU, tmp_path)[torch.tensor([0])].zero_()
    file = torch.from_file(str(next(tmp_path.glob("*.bin"))), size=8 * 4 * 64, dtype=torch.float16).reshape(8, -1)
    assert file.isnan().all(1).tolist() == [False, True, True, False, True, False, True, True]


def test_a_bank_that_is_painted_ahead_holds_the_same_as_one_painted_scene_by_scene(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.starter.pictures.BLOCK", 3 * 32**2)  # three scenes at a time
    ahead = Bank(32, torch.empty(8, 4, 4, 4), latents_of, ahead=True)
    one_by_one = Bank(32, torch.full((8, 4, 4, 4), torch.nan), latents_of, ahead=False)
    for scene in (5, 0, 7):
        seeds = torch.tensor([scene])
        torch.testing.assert_close(ahead[seeds], one_by_one[seeds], atol=1e-3, rtol=1e-3)
    assert ahead[torch.arange(8)].isfinite().all()


def test_crops_are_pieces_of_their_pictures() -> None:
    source = picture_bank(32, 4, CPU)
    whole = source[torch.arange(4)].float() / 255
    for piece in crops(source, 6, 8, torch.Generator().manual_seed(0)):
        places = whole.unfold(2, 8, 1).unfold(3, 8, 1)  # (4, 3, 25, 25, 8, 8)
        assert (places == piece[None, :, None, None]).all(dim=-1).all(dim=-1).all(dim=1).any()


def test_held_out_scenes_are_others_than_those_trained_on() -> None:
    source = picture_bank(32, 4, CPU)
    assert source.count <= HELD_OUT
    trained = source[torch.arange(4)].float() / 255
    assert ((trained[:, None] - held_out(4, 32, CPU)[None]).abs().mean((2, 3, 4)) > 0.02).all()


def test_a_copy_in_half_precision_trains_the_float32_weights() -> None:
    torch.manual_seed(0)
    plain = nn.ModuleDict({"layer": nn.Linear(8, 8)})
    before = plain["layer"].weight.detach().clone()
    halved = Working(copy.deepcopy(plain), half=True)
    whole = Working(plain, half=False)
    seen = torch.randn(16, 8)
    for working in (whole, halved):
        optimizer = torch.optim.SGD(working.masters.parameters(), lr=1e-4)
        for _ in range(20):
            working.backward(working.networks["layer"](seen.to(working.dtype)).float().square().sum())
            optimizer.step()
            working.follow()
    torch.testing.assert_close(halved.masters["layer"].weight, whole.masters["layer"].weight, atol=2e-3, rtol=0)
    assert halved.networks["layer"].weight.dtype == torch.bfloat16
    assert torch.equal(halved.networks["layer"].weight, halved.masters["layer"].weight.bfloat16())
    assert not torch.allclose(before, plain["layer"].weight, atol=1e-3)


def test_unknown_words_stay_without_meaning() -> None:
    stage = TextStage(TINY.sizes, CPU, CAPTIONS, steps=4, batch=4)
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


def test_noise_hides_how_bright_a_picture_is() -> None:
    noise = noise_like(torch.zeros(500, 4, 32, 32), torch.Generator().manual_seed(0))
    assert abs(float(noise.std()) - 1) < 0.02
    assert 0.08 < float(noise.mean((2, 3)).std()) < 0.14  # white noise alone has 0.03 there
