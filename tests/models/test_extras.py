"""The starter's LoRA and ControlNet: at first they change nothing, and what is written is what was trained."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from engine.checkpoint import controlnet as engine_control
from engine.networks.controlnet import ControlNet
from engine.networks.operations import Operations
from models.starter import low_rank
from models.starter.base import Base, load_base
from models.starter.caption_bank import write_captions
from models.starter.control import Controlled, build_control, load_control, tensors
from models.starter.export import export
from models.starter.extras import EDGES, INK, TINY, train_extras
from models.starter.low_rank import attach
from models.starter.networks import build_text_encoder, build_unet, build_vae
from models.starter.plan import TINY as TINY_STARTER
from models.starter.stage import Stage, run
from models.starter.tokens import tokens_of
from models.starter.train_control import ControlStage
from models.starter.train_lora import LoraStage, with_trigger
from tests.models.clocks import StepClock

CPU = torch.device("cpu")
CAPTIONS = write_captions(TINY.scenes, TINY.captions, CPU)
X, T, CONDITIONING = torch.randn(2, 4, 8, 8), torch.tensor([20, 700]), torch.randn(2, 77, 64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint of the starter's layout, as small as can be."""
    torch.manual_seed(0)
    path, sizes = tmp_path_factory.mktemp("checkpoint") / "small.safetensors", TINY_STARTER.sizes
    export(build_unet(sizes), build_vae(sizes), build_text_encoder(sizes), path)
    return path


@pytest.fixture
def base(checkpoint: Path) -> Base:
    return load_base(checkpoint, CPU)


def lora_stage(base: Base, folder: Path) -> LoraStage:
    return LoraStage(base, CPU, folder, CAPTIONS, phases=TINY.lora, rank=TINY.rank, peak=TINY.lora_peak)


def control_stage(base: Base, folder: Path) -> ControlStage:
    return ControlStage(base, CPU, folder, CAPTIONS, phases=TINY.control, peak=TINY.control_peak)


@torch.no_grad()
def eps(unet: nn.Module) -> torch.Tensor:
    predicted: torch.Tensor = unet(X, T, CONDITIONING).sample
    return predicted


@pytest.mark.parametrize("build", [lora_stage, control_stage])
def test_a_resumed_training_is_the_unbroken_one(
    build: Callable[[Base, Path], Stage], checkpoint: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(build(load_base(checkpoint, CPU), whole), whole, StepClock(steps=99))
    assert not run(build(load_base(checkpoint, CPU), broken), broken, StepClock(steps=2))
    last = build(load_base(checkpoint, CPU), broken)
    assert run(last, broken, StepClock(steps=99))
    once, twice = (torch.load(folder / f"{last.name}.pt", weights_only=True) for folder in (whole, broken))
    (network,) = set(once) - {"optimizer", "steps done"}
    for key, value in once[network].items():
        assert torch.equal(value, twice[network][key]), key


def test_new_adapters_change_nothing(base: Base) -> None:
    before = eps(base.unet)
    attach(base.unet, 4)
    torch.testing.assert_close(eps(base.unet), before)


def test_what_the_lora_file_adds_to_the_weights_is_what_the_adapters_did(checkpoint: Path, base: Base) -> None:
    plain = load_base(checkpoint, CPU).unet
    untouched = eps(plain)
    adapters = attach(base.unet, 4)
    for parameter in adapters.parameters():
        nn.init.normal_(parameter, std=0.1)
    merge(plain, low_rank.tensors(adapters))
    adapted = eps(base.unet)
    torch.testing.assert_close(eps(plain), adapted, atol=2e-2, rtol=2e-2)  # the file's numbers are float16
    assert (adapted - untouched).abs().max() > 0.2


def merge(unet: UNet2DConditionModel, file: dict[str, torch.Tensor], strength: float = 1.0) -> None:
    """Add the products of a LoRA file to the weights that it names, and assert that all of the file is used."""
    unused = set(file)
    for name, weight in unet.named_parameters():
        key = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        if f"{key}.alpha" in file:
            down, up, alpha = (file[f"{key}.{end}"].float() for end in ("lora_down.weight", "lora_up.weight", "alpha"))
            change = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
            weight.data += strength * alpha / len(down) * change
            unused -= {f"{key}.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert not unused


def test_the_trigger_words_come_first_and_the_rest_follows() -> None:
    (captioned,) = with_trigger(tokens_of(["a red boat on the sea"]))
    assert torch.equal(captioned, tokens_of(["ink drawing, a red boat on the sea"])[0])
    (long,) = with_trigger(tokens_of(["boat " * 75]))
    assert torch.equal(long, tokens_of(["ink drawing, " + "boat " * 72])[0])


def test_a_new_controlnet_changes_nothing(base: Base) -> None:
    painter = Controlled(base.unet, build_control(base.unet))
    painter.hint = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(eps(painter), eps(base.unet))


def test_a_new_controlnets_file_holds_the_checkpoints_encoder_by_the_checkpoints_names(
    checkpoint: Path, base: Base
) -> None:
    file, known = tensors(build_control(base.unet)), load_file(checkpoint)
    copied = {name for name in file if re.search(r"\.(time_embed|input_blocks|middle_block)\.", name)}
    for name in copied:
        original = known[name.replace("control_model.", "model.diffusion_model.")].float()
        torch.testing.assert_close(file[name].float(), original, atol=2**-10, rtol=2**-4)  # float8 has three bits
    own = {re.sub(r"\.\d+(\.0)?\.(weight|bias)$", "", name) for name in set(file) - copied}
    assert own == {f"control_model.{name}" for name in ("input_hint_block", "zero_convs", "middle_block_out")}
    outputs = sum(name.endswith("weight") for name in file if ".zero_convs." in name)
    blocks = len({name.split(".")[2] for name in file if ".input_blocks." in name})
    assert outputs == blocks


@torch.no_grad()
def test_the_engine_reads_the_controlnets_file_and_computes_what_diffusers_computes(base: Base, tmp_path: Path) -> None:
    new, path = build_control(base.unet), tmp_path / "control.safetensors"
    for layer in (*new.controlnet_down_blocks, new.controlnet_mid_block):
        nn.init.normal_(layer.weight, std=0.2)
    save_file(tensors(new), path)
    x, hint = torch.randn(1, 4, 16, 16), torch.rand(1, 3, 128, 128)
    down, middle = load_control(base.unet, load_file(path))(x, T[:1], CONDITIONING[:1], hint, return_dict=False)
    ours = ControlNet(engine_control.load_control(path, device=CPU, dtype=torch.float32).blueprint.module, Operations())  # type: ignore[arg-type]
    found = ours(x, T[:1].float(), CONDITIONING[:1], ours.embedded(hint))
    for got, wanted in zip(found, (*down, middle), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-3)


def test_the_whole_training_writes_what_was_trained(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train_extras(TINY, checkpoint, folder, tmp_path, CPU, minutes=math.inf)
    drawn, edges = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("ink", "edges"))
    lora, control = load_file(tmp_path / INK), load_file(tmp_path / EDGES)
    for name, value in drawn["adapters"].items():
        key = re.sub(r"\.(down|up)\.weight$", r".lora_\1.weight", name)
        assert torch.equal(lora[key], value.half()), name
    assert any(value.any() for name, value in lora.items() if "lora_up" in name)
    zero = edges["control"]["controlnet_down_blocks.1.weight"]
    assert zero.any()
    assert torch.equal(control["control_model.zero_convs.1.0.weight"], zero.half())
    with safe_open(tmp_path / INK, "pt") as file:
        assert file.metadata()["modelspec.trigger_phrase"] == "ink drawing"


def test_a_training_whose_time_is_up_writes_nothing(checkpoint: Path, tmp_path: Path) -> None:
    assert not train_extras(TINY, checkpoint, tmp_path / "run", tmp_path, CPU, minutes=0)
    assert not list(tmp_path.glob("*.safetensors"))
