"""Rows for the classes that load files, and for text encoders and prompts."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import made
from engine.parameters import Text
from engine.workflow.models import Checkpoint, ClipWithLora, LastLayer, VaeFile, WithLora
from engine.workflow.text import EncodeText

_CHECKPOINT = made(Checkpoint, name="ckpt_name")
_FILE = Other("ckpt_name", lenient=True)
_STRENGTH = {"step": 0.01}
_OURS = (Other("manner", ours=True), Other("rank", ours=True))
_NETWORKS = tuple(output(type, _CHECKPOINT) for type in ("MODEL", "CLIP", "VAE"))

ROWS = (
    row(
        "CheckpointLoaderSimple",
        "Load Checkpoint",
        "loaders",
        "Loads the network, the text encoder and the VAE of a checkpoint.",
        inputs=(_FILE,),
        outputs=_NETWORKS,
    ),
    row(
        "CheckpointLoader",
        "Load Checkpoint With Config (DEPRECATED)",
        "advanced/loaders",
        "Loads a checkpoint; what kind it is, is found in the file, and the name of a configuration is ignored.",
        inputs=(Other("config_name", kind=Text(), default="", help="ignored", lenient=True), _FILE),
        outputs=_NETWORKS,
        written=False,
    ),
    row(
        "LoraLoaderModelOnly",
        "LoraLoaderModelOnly",
        "loaders",
        "Changes a model by a LoRA.",
        inputs=("model", "lora_name", Other("strength_model", hints=_STRENGTH), *_OURS),
        outputs=(
            output(
                "MODEL",
                made(
                    WithLora, model="model", name="lora_name", strength="strength_model", manner="manner", rank="rank"
                ),
            ),
        ),
    ),
    row(
        "LoraLoader",
        "Load LoRA",
        "loaders",
        "Changes a model and a text encoder by a LoRA.",
        inputs=(
            *("model", "clip", "lora_name"),
            *(Other(name, hints=_STRENGTH) for name in ("strength_model", "strength_clip")),
        ),
        outputs=(
            output("MODEL", made(WithLora, model="model", name="lora_name", strength="strength_model")),
            output("CLIP", made(ClipWithLora, clip="clip", name="lora_name", strength="strength_clip")),
        ),
        written=False,
    ),
    row(
        "LoraLoaderClipOnly",
        "LoraLoaderClipOnly",
        "loaders",
        "Changes a text encoder by a LoRA.",
        inputs=("clip", "lora_name", Other("strength_clip", hints=_STRENGTH), *_OURS),
        outputs=(
            output(
                "CLIP",
                made(
                    ClipWithLora, clip="clip", name="lora_name", strength="strength_clip", manner="manner", rank="rank"
                ),
            ),
        ),
        ours=True,
    ),
    row(
        "VAELoader",
        "Load VAE",
        "loaders",
        "Loads a VAE from a file of its own.",
        inputs=("vae_name",),
        outputs=(output("VAE", made(VaeFile, name="vae_name")),),
    ),
    row(
        "CLIPSetLastLayer",
        "CLIP Set Last Layer",
        "conditioning",
        "Ends the text encoder at an earlier layer.",
        inputs=("clip", "stop_at_clip_layer"),
        outputs=(output("CLIP", made(LastLayer, clip="clip", layer="stop_at_clip_layer")),),
    ),
    row(
        "CLIPTextEncode",
        "CLIP Text Encode (Prompt)",
        "conditioning",
        "Encodes a prompt; (words:1.3) weigh more.",
        inputs=(Other("text", hints={"multiline": True, "dynamicPrompts": True}), "clip"),
        outputs=(output("CONDITIONING", made(EncodeText, text="text", clip="clip")),),
    ),
)
