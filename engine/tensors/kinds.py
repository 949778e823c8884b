"""The names and shapes of a file's tensors → what kind of file it is. Knows no file and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FileKind = Literal["checkpoints", "loras", "vae", "controlnet", "embeddings", "upscale_models"]
"""The kinds of files that the engine works with, as ComfyUI calls their folders."""

Shapes = Mapping[str, tuple[int, ...]]

CHECKPOINT = "a checkpoint"
"""The words for a checkpoint that may be one of Stable Diffusion 1.x."""

LISTED = "[]"
"""What stands for the key of tensors that lay in a list of dictionaries: an embedding of several parts."""

_UNET, _VAE, _TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
_UPSCALERS = ("params_ema", "params-ema", "params")
"""Keys under which those who train upscale models save them, and no others do."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file was found to be."""

    kind: FileKind | None
    """None for what the engine has no use for, or does not know."""
    words: str
    """``a LoRA``, ``a Stable Diffusion XL checkpoint``; "" where it is not known."""
    mark: str = ""
    """The tensor's name that showed it."""
    alias: str = ""
    """The name that a LoRA has in its metadata, whatever its file is called."""


@dataclass(frozen=True)
class _Mark:
    words: str
    kind: FileKind | None
    within: tuple[str, ...] = ()
    """Parts of names."""
    begins: tuple[str, ...] = ()
    """Beginnings of names."""
    names: tuple[str, ...] = ()
    """Whole names."""
    ends: tuple[str, ...] = ()
    """Ends of names."""

    def found(self, shapes: Shapes) -> str | None:
        """The first name that has the mark."""
        exact = next((name for name in self.names if name in shapes), None)
        if exact is not None or not (self.within or self.begins or self.ends):
            return exact
        for name in shapes:
            if name.startswith(self.begins) or name.endswith(self.ends) or any(part in name for part in self.within):
                return name
        return None


_LORA = (
    *("lora_unet_", "lora_te", "lycoris_", "lora_down", "lora_up", "lora_A", "lora_B", "lora.down", "lora.up"),
    *("lora_linear_layer", "_lora.", ".hada_w", ".lokr_w", ".oft_blocks", ".dora_scale"),
)

_MARKS = (
    _Mark("a textual-inversion embedding", "embeddings", names=("emb_params", "clip_l", "clip_g")),
    _Mark("a LoRA", "loras", within=_LORA, ends=(".diff", ".diff_b")),
    _Mark(
        "a ControlNet",
        "controlnet",
        within=("control_model.", "zero_convs.", "controlnet_cond_embedding.", "controlnet_down_blocks."),
    ),
    _Mark("an AnimateDiff motion module", None, within=("motion_modules.",)),
    _Mark(
        "a Stable Diffusion XL checkpoint",
        "checkpoints",
        within=("conditioner.embedders.", "diffusion_model.label_emb."),
    ),
    _Mark("a Stable Diffusion 2 checkpoint", "checkpoints", within=("cond_stage_model.model.",)),
    _Mark("a Stable Diffusion 3 checkpoint", "checkpoints", within=("joint_blocks.",)),
    _Mark("a Flux checkpoint", "checkpoints", within=("double_blocks.", "double_stream_blocks.")),
    _Mark(CHECKPOINT, "checkpoints", begins=(_UNET,)),
    _Mark("a VAE alone", "vae", begins=(_VAE,)),
    _Mark("a text encoder alone", None, begins=(_TEXT,)),
    _Mark(
        "a T2I-adapter",
        "controlnet",
        begins=("adapter.body.", "body.0.in_conv.", "body.0.block1.", "body.0.resnets."),
    ),
    _Mark(
        "a VAE alone, in diffusers' layout",
        "vae",
        begins=("encoder.down_blocks.", "encoder.mid_block.", "decoder.up_blocks.", "decoder.mid_block."),
    ),
    _Mark("a UNet alone, in diffusers' layout", None, begins=("down_blocks.", "mid_block.", "up_blocks.")),
    _Mark("a VAE alone", "vae", begins=("encoder.down.", "decoder.up.")),
    _Mark("a UNet alone", None, begins=("input_blocks.", "output_blocks.")),
    _Mark("a CLIP vision model", None, begins=("vision_model.", "visual.")),
    _Mark("a text encoder alone", None, begins=("text_model.", "encoder.layers.")),
    _Mark(
        "an upscale model",
        "upscale_models",
        begins=("conv_first.", "RRDB_trunk.", "model.1.sub.", "body.0.rdb1.", "upconv1.", "params_ema."),
    ),
    _Mark("an upscale model", "upscale_models", names=("body.0.weight",)),
)
"""What a file may be; the first whose mark is found."""


def content_by_shapes(shapes: Shapes, nested: str = "") -> Content:
    """Return what a file is whose tensors have these shapes, ``nested`` under that key of what was saved."""
    if nested == "string_to_param":
        return Content(kind="embeddings", words="a textual-inversion embedding", mark=nested)
    for mark in _MARKS:
        name = mark.found(shapes)
        if name is not None:
            return Content(kind=mark.kind, words=mark.words, mark=name)
    if nested in _UPSCALERS:
        return Content(kind="upscale_models", words="an upscale model", mark=nested)
    lone = len(shapes) == 1 or nested == LISTED
    if shapes and lone and all(1 <= len(shape) <= 2 for shape in shapes.values()):
        return Content(kind="embeddings", words="a textual-inversion embedding", mark=next(iter(shapes)))
    return Content(kind=None, words="")
