"""The shapes of a checkpoint's tensors → its three networks, without weights, and each parameter's name in the file.

Knows the naming of Stable Diffusion 1.x single-file checkpoints and what no tensor tells (heads, groups,
activations). Knows nothing of files, values, dtypes or devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from engine.checkpoint.shapes import (
    Blueprint,
    LayoutError,
    Shapes,
    built,
    count,
    file_names,
    has,
    multiple,
    outputs,
    vote,
)

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."

GROUPS = 32  # of every GroupNorm, in UNet and VAE
UNET_HEADS = 8
_TEXT_HEAD_WIDTH = 64
_LATENT_CHANNELS = 4
_INPAINTING_CHANNELS = 9  # the latents, a mask, and the latents with a hole
_VAE_LEVELS = 4  # three halvings: one latent is 8 × 8 pixels
_VOCABULARY = 49408
_POSITIONS = 77

UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_RESNET = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a UNet, or of a ControlNet's half of one."""

    width: int
    """Its channels."""
    blocks: int
    """Residual blocks on the way down."""
    attention: int
    """Transformer blocks after each residual block."""


def _unet_level(shapes: Shapes, number: int, blocks: list[int]) -> Level:
    if not blocks:
        raise LayoutError(f"level {number} of the UNet has no residual block")
    layers = ("in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    axes = [axis for i in blocks for axis in outputs(f"{UNET}input_blocks.{i}.0.", *layers)]
    width = vote(shapes, f"the width of the UNet's level {number}", axes)
    depths = {count(shapes, f"{UNET}input_blocks.{i}.1.transformer_blocks.") for i in blocks}
    if len(depths) > 1:
        raise LayoutError(f"level {number} of the UNet has attention of unequal depth: {sorted(depths)}")
    return Level(
        width=multiple(f"the width of the UNet's level {number}", width, GROUPS, "GroupNorm has that many groups"),
        blocks=len(blocks),
        attention=depths.pop(),
    )


def unet_levels(shapes: Shapes) -> list[Level]:
    """Return the levels of the UNet, full resolution first. Raises ``LayoutError``."""
    levels: list[list[int]] = [[]]
    for i in range(1, count(shapes, UNET + "input_blocks.")):
        if has(shapes, f"{UNET}input_blocks.{i}.0.op."):
            levels.append([])
        else:
            levels[-1].append(i)
    return [_unet_level(shapes, number, blocks) for number, blocks in enumerate(levels)]


def unet_places(levels: list[Level]) -> dict[str, str]:
    """Return where the file has each of the UNet's layers, by diffusers' names, below ``UNET``."""
    places = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    block = 1
    for number, level in enumerate(levels):
        for i in range(level.blocks):
            places[f"down_blocks.{number}.resnets.{i}"] = f"input_blocks.{block}.0"
            places[f"down_blocks.{number}.attentions.{i}"] = f"input_blocks.{block}.1"
            block += 1
        places[f"down_blocks.{number}.downsamplers.0.conv"] = f"input_blocks.{block}.0.op"
        block += 1
    block = 0
    for number, level in enumerate(reversed(levels)):
        for i in range(level.blocks + 1):
            places[f"up_blocks.{number}.resnets.{i}"] = f"output_blocks.{block}.0"
            places[f"up_blocks.{number}.attentions.{i}"] = f"output_blocks.{block}.1"
            block += 1
        upsampler = 2 if level.attention else 1
        places[f"up_blocks.{number}.upsamplers.0.conv"] = f"output_blocks.{block - 1}.{upsampler}.conv"
    return places


def _input_channels(shapes: Shapes) -> int:
    channels = vote(shapes, "the number of the UNet's input channels", [(UNET + "input_blocks.0.0.weight", 1)])
    if channels == 8:
        raise LayoutError("it is an instruct-pix2pix model: its UNet takes 8 channels, an ordinary one takes 4")
    if channels not in (_LATENT_CHANNELS, _INPAINTING_CHANNELS):
        allowed = f"{_LATENT_CHANNELS}, or {_INPAINTING_CHANNELS} for inpainting"
        raise LayoutError(f"its UNet takes {channels} channels where Stable Diffusion 1.x takes {allowed}")
    return channels


def read_unet(shapes: Shapes) -> Blueprint:
    """Return the UNet, ``model.diffusion_model.…``. Raises ``LayoutError``."""
    channels = _input_channels(shapes)
    levels = unet_levels(shapes)
    keys = [name for name in shapes if name.startswith(UNET) and name.endswith("attn2.to_k.weight")]
    context = vote(shapes, "the width of the UNet's context", [(name, 1) for name in keys])
    if context == 1024:
        raise LayoutError("it is a Stable Diffusion 2 model: its UNet takes a context 1024 wide, that of 1.x 768")
    middle = max(1, count(shapes, UNET + "middle_block.1.transformer_blocks."))
    first = [(UNET + "input_blocks.0.0.bias", 0), (UNET + "input_blocks.0.0.weight", 0)]
    width = vote(shapes, "the UNet's width", [*first, (UNET + "time_embed.0.weight", 1)])
    if width != levels[0].width:
        raise LayoutError(f"the UNet begins {width} channels wide, its first level has {levels[0].width}")
    time = vote(shapes, "the width of the time embedding", outputs(UNET, "time_embed.0", "time_embed.2"))
    module = built(
        "UNet",
        UNet2DConditionModel,
        in_channels=channels,
        out_channels=_LATENT_CHANNELS,
        block_out_channels=tuple(level.width for level in levels),
        layers_per_block=tuple(level.blocks for level in levels),
        down_block_types=tuple("CrossAttnDownBlock2D" if x.attention else "DownBlock2D" for x in levels),
        up_block_types=tuple("CrossAttnUpBlock2D" if x.attention else "UpBlock2D" for x in reversed(levels)),
        # diffusers takes the middle's depth from the last level, which in 1.x has no attention of its own
        transformer_layers_per_block=tuple(level.attention or middle for level in levels),
        attention_head_dim=UNET_HEADS,  # the number of heads, whatever diffusers calls it
        cross_attention_dim=context,
        time_embedding_dim=time,
        norm_num_groups=GROUPS,
    )
    return Blueprint(
        module=module,
        names=file_names(module, UNET, unet_places(levels), UNET_RESNET),
        owns=(UNET,),
        widths=tuple(level.width for level in levels),
        context=context,
    )


def _vae_places(levels: int, blocks: int) -> dict[str, str]:
    places = {name: name for name in ("quant_conv", "post_quant_conv")}
    for half in ("encoder", "decoder"):
        places |= {f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "conv_out")}
        places[f"{half}.conv_norm_out"] = f"{half}.norm_out"
        for i in (0, 1):
            places[f"{half}.mid_block.resnets.{i}"] = f"{half}.mid.block_{i + 1}"
        for name, file_name in _VAE_ATTENTION.items():
            places[f"{half}.mid_block.attentions.0.{name}"] = f"{half}.mid.attn_1.{file_name}"
    for level in range(levels):
        up = levels - 1 - level
        for i in range(blocks + 1):
            places[f"encoder.down_blocks.{level}.resnets.{i}"] = f"encoder.down.{level}.block.{i}"
            places[f"decoder.up_blocks.{level}.resnets.{i}"] = f"decoder.up.{up}.block.{i}"
        places[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
        places[f"decoder.up_blocks.{level}.upsamplers.0.conv"] = f"decoder.up.{up}.upsample.conv"
    return places


def read_vae(shapes: Shapes) -> Blueprint:
    """Return the autoencoder, ``first_stage_model.…``. Raises ``LayoutError``."""
    levels = count(shapes, VAE + "encoder.down.")
    if levels != _VAE_LEVELS:
        raise LayoutError(f"its VAE has {levels} levels where Stable Diffusion 1.x has {_VAE_LEVELS}")
    counts = {count(shapes, f"{VAE}encoder.down.{level}.block.") for level in range(levels)}
    if len(counts) > 1 or 0 in counts:
        raise LayoutError(f"the levels of its VAE have unequal numbers of blocks: {sorted(counts)}")
    blocks = counts.pop()
    widths = []
    for level in range(levels):
        layers = [f"block.{i}.{layer}" for i in range(blocks) for layer in ("conv1", "norm2", "conv2")]
        what = f"the width of the VAE's level {level}"
        width = vote(shapes, what, outputs(f"{VAE}encoder.down.{level}.", *layers))
        widths.append(multiple(what, width, GROUPS, "GroupNorm has that many groups"))
    latents = vote(
        shapes, "the number of latent channels", [*outputs(VAE, "post_quant_conv"), (VAE + "decoder.conv_in.weight", 1)]
    )
    if latents != _LATENT_CHANNELS:
        raise LayoutError(f"its VAE has {latents} latent channels where Stable Diffusion 1.x has {_LATENT_CHANNELS}")
    module = built(
        "VAE",
        AutoencoderKL,
        latent_channels=latents,
        block_out_channels=tuple(widths),
        layers_per_block=blocks,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=GROUPS,
    )
    return Blueprint(
        module=module,
        names=file_names(module, VAE, _vae_places(levels, blocks), _VAE_RESNET),
        owns=(VAE + "encoder.", VAE + "decoder."),
        widths=tuple(widths),
    )


def read_text_encoder(shapes: Shapes) -> Blueprint:
    """Return the text encoder, ``cond_stage_model.transformer.…``, with or without ``text_model.``. Raises
    ``LayoutError``."""
    prefix = TEXT + "text_model." if has(shapes, TEXT + "text_model.") else TEXT
    layers = count(shapes, prefix + "encoder.layers.")
    if not layers:
        raise LayoutError(f"the text encoder's layers ({prefix}encoder.layers.…) are missing")
    numbered = [f"encoder.layers.{i}." for i in range(layers)]
    norms = [f"{layer}layer_norm{k}" for layer in numbered for k in (1, 2)]
    width = vote(shapes, "the text encoder's width", outputs(prefix, "final_layer_norm", *norms))
    multiple("the text encoder's width", width, _TEXT_HEAD_WIDTH, "a head has that width")
    inner = vote(shapes, "the width of the text encoder's MLP", outputs(prefix, *[x + "mlp.fc1" for x in numbered]))
    sizes = {}
    for table, least in (("token", _VOCABULARY), ("position", _POSITIONS)):
        name = f"embeddings.{table}_embedding.weight"
        sizes[table] = vote(shapes, f"the text encoder's number of {table}s", [(prefix + name, 0)])
        if sizes[table] < least:
            raise LayoutError(f"the text encoder has {sizes[table]} {table}s where Stable Diffusion 1.x has {least}")
    config = CLIPTextConfig(
        vocab_size=sizes["token"],
        max_position_embeddings=sizes["position"],
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // _TEXT_HEAD_WIDTH,
        hidden_act="quick_gelu",
    )
    module = built("text encoder", CLIPTextModel, config=config)
    names = {name: prefix + name.removeprefix("text_model.") for name, _ in module.named_parameters()}
    owns = (prefix + "encoder.",)
    return Blueprint(module=module, names=names, owns=owns, widths=(width,), layers=layers, context=width)
