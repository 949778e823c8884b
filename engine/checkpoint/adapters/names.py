"""What adapter files call the layers of a network: kohya's, LyCORIS', diffusers' and PEFT's names.

Knows nothing of values, and no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.checkpoint.layout import TEXT, UNET
from engine.checkpoint.structure import NetworkKind, Structure
from engine.config import LoraNames

Names: TypeAlias = LoraNames | Literal["a1111"]
"""Whose names of layers are known."""

SUFFIXES: Mapping[str, str] = {
    **{f".lora_{part}.weight": part for part in ("up", "down", "mid")},
    **{f"{end}.{part}.weight": part for end in ("_lora", ".lora", ".lora_linear_layer") for part in ("up", "down")},
    **{
        f".lora_{letter}{end}": part
        for letter, part in (("B", "up"), ("A", "down"))
        for end in ("", ".weight", ".default.weight")
    },
    **{f".{part}": part for part in ("alpha", "dora_scale", "diff", "diff_b", "w_norm", "b_norm")},
    **{f".hada_{part}": f"hada_{part}" for part in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f".lokr_{part}": f"lokr_{part}" for part in ("w1", "w2", "w1_a", "w1_b", "w2_a", "w2_b", "t2")},
}
"""How the names of a layer's tensors end, and what each is."""

_SUFFIX = re.compile("(" + "|".join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True))) + ")$")

_TEXT_LAYERS = re.compile(
    r"(?:text_model\.)?(encoder\.layers\.\d+\.(?:self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12]))\.weight"
)


@dataclass(frozen=True)
class Layer:
    """A layer's weight in one of the two networks that adapters change."""

    network: NetworkKind
    weight: str
    """The parameter's name in the module."""


def parted(names: Iterator[str]) -> dict[str, dict[str, str]]:
    """Return the file's name for each layer → part (``up``, ``alpha``, …) → tensor. Names with no known end are left
    out."""
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        found = _SUFFIX.search(name)
        if found is not None:
            layers.setdefault(name[: found.start()], {})[SUFFIXES[found[1]]] = name
    return layers


def layer_names(unet: Structure, text_encoder: Structure, names: Names) -> dict[str, Layer]:
    """Return every name that a file may have for a layer.

    ``comfyui`` leaves the UNet's attention layers out where a file calls them as PEFT does, as ComfyUI leaves them.
    ``a1111`` knows kohya's names alone, but for that of the norm before the last convolution.
    """
    found: dict[str, Layer] = {}
    for weight, file_name in unet.names.items():
        if weight.endswith(".weight"):
            layer = Layer("unet", weight)
            module, place = weight.removesuffix(".weight"), file_name.removeprefix(UNET).removesuffix(".weight")
            found |= dict.fromkeys(_unet_names(module, place, names), layer)
    for weight, file_name in text_encoder.names.items():
        if weight.endswith(".weight"):
            module = "text_model." + file_name.removeprefix(TEXT).removeprefix("text_model.").removesuffix(".weight")
            if names != "a1111":
                found[f"text_encoders.clip_l.transformer.{module}"] = Layer("text_encoder", weight)
        if (known := _TEXT_LAYERS.fullmatch(weight)) is not None:
            found |= dict.fromkeys(_text_names(known[1], names), Layer("text_encoder", weight))
    return found


def _unet_names(module: str, place: str, names: Names) -> Iterator[str]:
    """Of the layer ``module``, as diffusers calls it, which a single file calls ``place``."""
    for name in (module, place):
        if names != "a1111" or name != "conv_norm_out":
            yield "lora_unet_" + name.replace(".", "_")
    if names == "a1111":
        return
    yield "lycoris_" + module.replace(".", "_")
    yield "diffusion_model." + place
    processor = module.replace(".to_", ".processor.to_")
    if processor.endswith(".to_out.0"):
        processor = processor.removesuffix(".0")
    # PEFT writes the module's own name, which ComfyUI knows of layers without "to_" alone
    spellings = (processor,) if names == "comfyui" else (processor, module)
    for name in spellings:
        yield from (name, "unet." + name)
    if names == "all":
        yield "base_model.model." + module


def _text_names(module: str, names: Names) -> Iterator[str]:
    """Of the layer ``encoder.layers.N.…``."""
    flat = module.replace(".", "_")
    yield from (f"lora_te_text_model_{flat}", f"lora_te1_text_model_{flat}")
    if names == "a1111":
        return
    yield f"text_encoder.text_model.{module}"
    if names == "all":
        yield f"text_encoder.{module}"
