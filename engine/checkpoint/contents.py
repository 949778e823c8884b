"""What a file holds, by the names and shapes of its tensors: a whole Stable Diffusion 1.x checkpoint, or what else.

Knows nothing of files and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from engine.checkpoint.layout import TEXT, UNET, VAE, read_text_encoder, read_unet, read_vae
from engine.checkpoint.shapes import Blueprint, LayoutError, Shapes, has
from engine.tensors.kinds import CHECKPOINT, content_by_shapes
from engine.tensors.pickles import shown

STORED_DTYPES = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """What the shapes of a checkpoint's tensors tell."""

    parameters: int
    """Values in the three networks together."""
    unet_widths: tuple[int, ...]
    """Channels of each level of the UNet, full resolution first."""
    vae_widths: tuple[int, ...]
    """Channels of each level of the VAE, full resolution first; none for a checkpoint without a VAE."""
    context_width: int
    """Features per token, which the text encoder gives and the UNet takes."""
    text_layers: int
    """Layers of the text encoder: ``clip_skip`` may be 1 to this; 0 for a checkpoint without a text encoder."""

    def size_bytes(self, dtype: torch.dtype) -> int:
        """Bytes of the parameters once loaded as ``dtype``."""
        return self.parameters * dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The networks of a file, without weights."""

    unet: Blueprint
    vae: Blueprint | None
    text_encoder: Blueprint | None

    @property
    def blueprints(self) -> tuple[Blueprint, ...]:
        """Those that there are."""
        return tuple(blueprint for blueprint in (self.unet, self.vae, self.text_encoder) if blueprint is not None)

    @property
    def facts(self) -> CheckpointFacts:
        """What is worth knowing of them."""
        return CheckpointFacts(
            parameters=sum(p.numel() for blueprint in self.blueprints for p in blueprint.module.parameters()),
            unet_widths=self.unet.widths,
            vae_widths=() if self.vae is None else self.vae.widths,
            context_width=self.unet.context,
            text_layers=0 if self.text_encoder is None else self.text_encoder.layers,
        )


def read_contents(shapes: Shapes, dtypes: Mapping[str, str]) -> Contents:
    """Return the networks that tensors of these shapes and dtypes make: a UNet, and a VAE and a text encoder if there
    are any.

    Every parameter has its tensor, in the right shape and a readable dtype, and no tensor is left over. Raises
    ``LayoutError``.
    """
    _refuse_others(shapes)
    empty = next((name for name, shape in shapes.items() if 0 in shape and name.startswith((UNET, VAE, TEXT))), None)
    if empty is not None:
        raise LayoutError(f"its tensor {shown(empty)} is empty: its shape is {shapes[empty]}")
    contents = Contents(
        unet=read_unet(shapes),
        vae=read_vae(shapes) if has(shapes, VAE) else None,
        text_encoder=read_text_encoder(shapes) if has(shapes, TEXT) else None,
    )
    taken = contents.unet.context
    given = taken if contents.text_encoder is None else contents.text_encoder.context
    if taken != given:
        raise LayoutError(f"its UNet takes a context {taken} wide, but its text encoder gives {given}")
    check_blueprints(contents.blueprints, shapes, dtypes)
    return contents


def _refuse_others(shapes: Shapes) -> None:
    content = content_by_shapes(shapes)
    if content.words and content.words != CHECKPOINT:
        whole = "a whole checkpoint" if "alone" in content.words else "a Stable Diffusion 1.x checkpoint"
        raise LayoutError(f"it is {content.words} (found {shown(content.mark)}), not {whole}")
    if not has(shapes, UNET):
        raise LayoutError(f"it holds no Stable Diffusion 1.x tensors; it has {len(shapes)} others: {_list(shapes)}")


def check_blueprints(blueprints: Sequence[Blueprint], shapes: Shapes, dtypes: Mapping[str, str]) -> None:
    """Raise ``LayoutError`` unless every parameter of ``blueprints`` has its tensor, in the right shape and a readable
    dtype, and no tensor is left over where they own all."""
    wanted = {
        blueprint.names[name]: tuple(p.shape)
        for blueprint in blueprints
        for name, p in blueprint.module.named_parameters()
    }
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise LayoutError(f"{len(missing)} of its {len(wanted)} tensors are missing: {_list(missing)}")
    for name, shape in wanted.items():
        found = shapes[name]
        if _without_kernel(found) != _without_kernel(shape):
            raise LayoutError(f"its tensor {name} has shape {found}, where {shape} was expected")
        if dtypes[name] not in STORED_DTYPES:
            raise LayoutError(
                f"its tensor {name} is stored as {dtypes[name]}; only {', '.join(STORED_DTYPES)} are read"
            )
    owned = tuple(prefix for blueprint in blueprints for prefix in blueprint.owns)
    strange = [name for name in shapes if name.startswith(owned) and name not in wanted]
    if strange:
        raise LayoutError(f"{len(strange)} of its tensors have no place in Stable Diffusion 1.x: {_list(strange)}")


def _without_kernel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A 1 × 1 convolution is a linear layer, and files disagree on which they hold."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(shown, names[:4])) + (", …" if len(names) > 4 else "")
