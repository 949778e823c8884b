"""Makes the three networks, new and untrained. Knows their sizes; knows nothing of training, scenes or files."""

import math
from dataclasses import dataclass

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from models.starter.resampler import start_as_resampler

LATENT_SCALE = 0.18215  # a checkpoint's latents times this have unit variance
VOCABULARY, POSITIONS = 49408, 77
END = 49407
NOISE = 0.06  # on the latents when the decoder learns, so that near latents decode alike


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The widths of each level, full resolution first. GroupNorm needs multiples of 32, the text heads of 64."""

    vae: tuple[int, ...] = (96, 64, 64, 128)
    vae_blocks: int = 1
    unet: tuple[int, ...] = (64, 128, 128, 128)
    unet_blocks: int = 1
    attention: tuple[bool, ...] = (False, True, True, False)  # at full resolution it would be most of the work
    text: int = 64
    text_layers: int = 4


def build_vae(sizes: Sizes) -> AutoencoderKL:
    levels = len(sizes.vae)
    vae = AutoencoderKL(
        block_out_channels=sizes.vae,
        layers_per_block=sizes.vae_blocks,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )
    start_as_resampler(vae, LATENT_SCALE, log_variance=2 * math.log(NOISE / LATENT_SCALE))
    return vae


def build_unet(sizes: Sizes) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=sizes.unet,
        layers_per_block=sizes.unet_blocks,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in sizes.attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(sizes.attention)),
        attention_head_dim=8,  # the number of heads, whatever diffusers calls it
        cross_attention_dim=sizes.text,
    )


def build_text_encoder(sizes: Sizes) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=POSITIONS,
            hidden_size=sizes.text,
            intermediate_size=4 * sizes.text,
            num_hidden_layers=sizes.text_layers,
            num_attention_heads=sizes.text // 64,
            hidden_act="quick_gelu",
            eos_token_id=END,
            bos_token_id=END - 1,
            pad_token_id=END,
        )
    )


def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Return the mean of the latents (B, 4, H/8, W/8), in the file's scale, of pictures (B, 3, H, W) in [0, 1]."""
    moments: Tensor = vae.quant_conv(vae.encoder(pictures * 2 - 1))
    return moments[:, :4]


def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Return the pictures of latents; they may exceed [0, 1] a little."""
    pictures: Tensor = vae.decoder(vae.post_quant_conv(latents))
    return pictures / 2 + 0.5
