"""What a file is, is found in the names and shapes of its tensors."""

from __future__ import annotations

import pytest

from engine.tensors.kinds import FileKind, content_by_shapes

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "loras"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.hada_w1_a", "loras"),
        (f"unet.{ATTENTION}.to_q.lora_A.weight", "loras"),
        (f"{ATTENTION}.processor.to_q_lora.up.weight", "loras"),
        ("diffusion_model.input_blocks.1.1.proj_in.lokr_w1", "loras"),
        ("diffusion_model.input_blocks.1.1.proj_in.diff", "loras"),
        ("model.diffusion_model.input_blocks.0.0.weight", "checkpoints"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "checkpoints"),
        ("first_stage_model.decoder.conv_in.weight", "vae"),
        ("decoder.up.0.block.0.conv1.weight", "vae"),
        ("decoder.up_blocks.0.resnets.0.conv1.weight", "vae"),
        ("control_model.input_hint_block.0.weight", "controlnet"),
        ("zero_convs.0.0.weight", "controlnet"),
        ("controlnet_down_blocks.0.weight", "controlnet"),
        ("body.0.block1.weight", "controlnet"),
        ("adapter.body.0.resnets.0.block1.weight", "controlnet"),
        ("emb_params", "embeddings"),
        ("clip_l", "embeddings"),
        ("model.1.sub.0.RDB1.conv1.0.weight", "upscale_models"),
        ("body.0.rdb1.conv1.weight", "upscale_models"),
        ("body.0.weight", "upscale_models"),
        ("down_blocks.0.resnets.0.conv1.weight", None),
        ("input_blocks.0.0.weight", None),
        ("text_model.final_layer_norm.weight", None),
        ("motion_modules.0.weight", None),
        ("something.else", None),
    ],
)
def test_the_kind_is_told_by_names(name: str, kind: FileKind | None) -> None:
    others = {f"{name[:3]}{i}": (4, 4, 3, 3) for i in range(3)}
    assert content_by_shapes({**others, name: (8, 8)}).kind == kind


def test_the_kind_is_told_by_where_the_tensors_lay_and_by_shapes() -> None:
    assert content_by_shapes({"*": (2, 768)}, "string_to_param").kind == "embeddings"
    assert content_by_shapes({"<any word>": (768,)}).kind == "embeddings"
    assert content_by_shapes({"0.a": (3, 768), "1.a": (768,)}, "[]").kind == "embeddings"
    assert content_by_shapes({"a": (3, 768), "b": (768,)}).kind is None
    assert content_by_shapes({"layers.0.weight": (8, 8, 3, 3)}, "params_ema").kind == "upscale_models"
    assert content_by_shapes({}).kind is None
