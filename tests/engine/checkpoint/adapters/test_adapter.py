"""Adapter files: which layers they change under which names, what is counted, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from engine.checkpoint.adapters import Adapter, open_adapter
from engine.checkpoint.adapters.names import Names
from engine.checkpoint.structure import structures_of
from engine.errors import BrokenCheckpoint
from tests.adapters import QUERY, low_rank

PLACE = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
TEXT = "encoder.layers.0.self_attn.q_proj"


def adapter(path: Path, checkpoint: Path, tensors: dict[str, Tensor], names: Names = "all") -> Adapter:
    save_file(tensors, path)
    return open_adapter(path, structures_of(checkpoint), names=names)


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_" + QUERY.replace(".", "_"),
        "lora_unet_" + PLACE.replace(".", "_"),
        "lycoris_" + QUERY.replace(".", "_"),
        "diffusion_model." + PLACE,
        "unet." + QUERY.replace("to_q", "processor.to_q"),
        QUERY.replace("to_q", "processor.to_q"),
        "unet." + QUERY,
        QUERY,
        "base_model.model." + QUERY,
    ],
)
@pytest.mark.parametrize(
    ("up", "down"),
    [
        (".lora_up.weight", ".lora_down.weight"),
        ("_lora.up.weight", "_lora.down.weight"),
        (".lora_B.weight", ".lora_A.weight"),
        (".lora.up.weight", ".lora.down.weight"),
        (".lora_linear_layer.up.weight", ".lora_linear_layer.down.weight"),
        (".lora_B.default.weight", ".lora_A.default.weight"),
        (".lora_B", ".lora_A"),
    ],
)
def test_every_spelling_of_a_layer_is_known(
    tmp_path: Path, tiny_checkpoint: Path, name: str, up: str, down: str
) -> None:
    tensors = {name + up: torch.ones(32, 2), name + down: torch.ones(2, 32)}
    found = adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors)
    assert set(found.changes_of["unet"]) == {QUERY + ".weight"}
    assert found.unknown == ()
    value = found.changed(QUERY + ".weight", torch.zeros(32, 32), "unet", 0.5)
    assert torch.equal(value, torch.ones(32, 32))


@pytest.mark.parametrize("prefix", ["lora_te_text_model_", "lora_te1_text_model_"])
def test_kohyas_names_of_the_text_encoder(tmp_path: Path, tiny_checkpoint: Path, prefix: str) -> None:
    tensors = low_rank(prefix + TEXT.replace(".", "_"), 64, 64)
    found = adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors)
    (name,) = found.changes_of["text_encoder"]
    assert name.endswith(TEXT + ".weight")
    assert not found.changes_of["unet"]


def test_comfyuis_reading_leaves_pefts_attention_layers_out(tmp_path: Path, tiny_checkpoint: Path) -> None:
    other = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2"
    tensors = {
        f"unet.{layer}.lora_{letter}.weight": torch.ones(*shape)
        for layer, inner in ((QUERY, 32), (other, 128))
        for letter, shape in (("B", (32, 2)), ("A", (2, inner)))
    }
    read = {names: adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors, names) for names in ("all", "comfyui")}
    assert set(read["all"].changes_of["unet"]) == {QUERY + ".weight", other + ".weight"}
    assert set(read["comfyui"].changes_of["unet"]) == {other + ".weight"}
    assert len(read["comfyui"].unknown) == 2


def test_automatic1111_knows_kohyas_names_alone(tmp_path: Path, tiny_checkpoint: Path) -> None:
    kohya, place = ("lora_unet_" + name.replace(".", "_") for name in (QUERY, PLACE))
    for name in (kohya, place, "lora_te_text_model_" + TEXT.replace(".", "_")):
        found = adapter(tmp_path / "ink.safetensors", tiny_checkpoint, low_rank(name, 32, 32), "a1111")
        assert (len(found.layers), found.unknown) == (1, ())
    for name in (QUERY, "unet." + QUERY, "diffusion_model." + PLACE, "text_encoder.text_model." + TEXT):
        found = adapter(tmp_path / "ink.safetensors", tiny_checkpoint, low_rank(name, 32, 32), "a1111")
        assert (len(found.layers), len(found.unknown)) == (0, len(low_rank(name, 32, 32)))


def test_biases_and_norms_change_by_whole_differences(tmp_path: Path, tiny_checkpoint: Path) -> None:
    out = QUERY.replace("to_q", "to_out.0")
    norm = "down_blocks.0.attentions.0.norm"
    tensors = {
        f"lora_unet_{out}".replace(".", "_") + ".diff_b": torch.ones(32),
        f"lora_unet_{norm}".replace(".", "_") + ".w_norm": torch.ones(32),
        f"lora_unet_{norm}".replace(".", "_") + ".b_norm": 2 * torch.ones(32),
    }
    found = adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors)
    assert set(found.changes_of["unet"]) == {out + ".bias", norm + ".weight", norm + ".bias"}
    assert torch.equal(found.changed(norm + ".bias", torch.zeros(32), "unet", 0.5), torch.ones(32))
    assert torch.equal(found.changed(norm + ".weight", torch.zeros(32), "unet", 0.5), torch.full((32,), 0.5))


def test_what_changes_no_layer_is_counted_and_said_once(
    tmp_path: Path, tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 32)
    tensors |= low_rank("lora_unet_nothing", 4, 4) | {"other": torch.ones(1)}
    with caplog.at_level(logging.WARNING):
        found = adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors)
    assert len(found.unknown) == 3
    assert [record.getMessage() for record in caplog.records if "3 of its 5" in record.getMessage()]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lora_unet_nothing.lora_up.weight": torch.ones(2, 2)}, "none of its 1 tensors"),
        ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha": torch.ones(1)}, "Stable Diffusion XL"),
        (low_rank("lora_unet_" + QUERY.replace("attn1.to_q", "attn2.to_k").replace(".", "_"), 32, 2048), "XL"),
        (low_rank("lora_unet_" + QUERY.replace("attn1.to_q", "attn2.to_k").replace(".", "_"), 32, 1024), "Diffusion 2"),
    ],
)
def test_adapters_for_other_models_are_refused(
    tmp_path: Path, tiny_checkpoint: Path, tensors: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(BrokenCheckpoint, match=message):
        adapter(tmp_path / "a.safetensors", tiny_checkpoint, tensors)


def test_values_that_fit_no_layer_or_are_not_finite_are_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    name = "lora_unet_" + QUERY.replace(".", "_")
    wrong = adapter(tmp_path / "wrong.safetensors", tiny_checkpoint, low_rank(name, 32, 48))
    with pytest.raises(BrokenCheckpoint, match="does not fit"):
        wrong.changed(QUERY + ".weight", torch.zeros(32, 32), "unet", 1.0)
    bad = low_rank(name, 32, 32)
    bad[name + ".lora_up.weight"][0, 0] = float("nan")
    broken = adapter(tmp_path / "nan.safetensors", tiny_checkpoint, bad)
    with pytest.raises(BrokenCheckpoint, match=r"lora_up\.weight holds NaN"):
        broken.changed(QUERY + ".weight", torch.zeros(32, 32), "unet", 1.0)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, tiny_checkpoint: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 32), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BrokenCheckpoint, match="truncated"):
        open_adapter(path, structures_of(tiny_checkpoint), names="all")


@given(place=st.integers(0, 600), byte=st.integers(0, 255), length=st.integers(0, 2000))
@settings(max_examples=60)
def test_a_damaged_file_is_refused_or_changes_finite_values(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, place: int, byte: int, length: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.safetensors"
    save_file(low_rank("lora_unet_" + QUERY.replace(".", "_"), 32, 32), path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content[: max(1, len(content) - max(0, length - 1000))])
    try:
        found = open_adapter(path, structures_of(tiny_checkpoint), names="all")
        values = [
            found.changed(name, torch.zeros(structures_of(tiny_checkpoint)["unet"].shapes[name]), "unet", 1.0)
            for name in found.changes_of["unet"]
        ]
    except BrokenCheckpoint:
        return
    assert all(not value.isnan().any() for value in values)
