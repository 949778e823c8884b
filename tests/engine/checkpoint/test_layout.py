"""The networks are those that the file's names and shapes describe: compared with a forward pass on the names."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from engine.checkpoint import load_checkpoint
from engine.checkpoint.contents import read_contents
from engine.checkpoint.shapes import LayoutError
from tests.checkpoints import TEXT, UNET, VAE, tiny_checkpoint_shapes, tiny_checkpoint_tensors, write_tiny_checkpoint

Tensors = dict[str, torch.Tensor]
CPU = torch.device("cpu")
SHAPES = tiny_checkpoint_shapes()


class ByName:
    """Stable Diffusion's forward pass on the file's own tensors, each looked up by its name. Notes which were used."""

    def __init__(self, tensors: Tensors, prefix: str) -> None:
        self.tensors = {name.removeprefix(prefix): t.float() for name, t in tensors.items() if name.startswith(prefix)}
        self.used: set[str] = set()

    def __contains__(self, prefix: str) -> bool:
        return any(name.startswith(prefix + ".") for name in self.tensors)

    def get(self, name: str) -> Any:
        if name in self.tensors:
            self.used.add(name)
        return self.tensors.get(name)

    def conv(self, name: str, x: torch.Tensor, **how: int) -> torch.Tensor:
        weight = self.get(name + ".weight")
        return functional.conv2d(
            x, weight, self.get(name + ".bias"), padding=how.pop("padding", weight.shape[-1] // 2), **how
        )

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.get(name + ".weight"), self.get(name + ".bias"))

    def group_norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        return functional.group_norm(x, 32, self.get(name + ".weight"), self.get(name + ".bias"), eps)

    def layer_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.get(name + ".weight"), self.get(name + ".bias"))

    def attention(self, name: str, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        def heads(part: str, y: torch.Tensor) -> torch.Tensor:
            return self.linear(f"{name}.to_{part}", y).unflatten(-1, (8, -1)).transpose(1, 2)

        q, k, v = heads("q", x), heads("k", context), heads("v", context)
        y = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        return self.linear(f"{name}.to_out.0", y.transpose(1, 2).flatten(2))

    def transformer(self, name: str, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        height = x.shape[2]
        y = self.conv(name + ".proj_in", self.group_norm(name + ".norm", x, 1e-6)).flatten(2).mT
        depth = 0
        while (block := f"{name}.transformer_blocks.{depth}") in self:
            normed = self.layer_norm(block + ".norm1", y)
            y = y + self.attention(block + ".attn1", normed, normed)
            y = y + self.attention(block + ".attn2", self.layer_norm(block + ".norm2", y), context)
            value, gate = self.linear(block + ".ff.net.0.proj", self.layer_norm(block + ".norm3", y)).chunk(2, -1)
            y = y + self.linear(block + ".ff.net.2", value * functional.gelu(gate))
            depth += 1
        return x + self.conv(name + ".proj_out", y.mT.unflatten(2, (height, -1)))

    def unet_block(self, name: str, x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        for place in (f"{name}.{i}" for i in range(3)):
            if place + ".op" in self:
                x = self.conv(place + ".op", x, stride=2)
            elif place + ".in_layers" in self:
                y = self.conv(place + ".in_layers.2", functional.silu(self.group_norm(place + ".in_layers.0", x, 1e-5)))
                y = y + self.linear(place + ".emb_layers.1", functional.silu(time))[:, :, None, None]
                y = self.conv(
                    place + ".out_layers.3", functional.silu(self.group_norm(place + ".out_layers.0", y, 1e-5))
                )
                x = y + (self.conv(place + ".skip_connection", x) if place + ".skip_connection" in self else x)
            elif place + ".proj_in" in self:
                x = self.transformer(place, x, context)
            elif place + ".conv" in self:
                x = self.conv(place + ".conv", functional.interpolate(x, scale_factor=2.0))
        return x

    def unet(self, x: torch.Tensor, timestep: float, context: torch.Tensor) -> torch.Tensor:
        half = self.tensors["time_embed.0.weight"].shape[1] // 2
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(half) / half)
        time = self.linear("time_embed.0", torch.cat([angles.cos(), angles.sin()])[None])
        time = self.linear("time_embed.2", functional.silu(time))
        x = self.conv("input_blocks.0.0", x)
        skips, block = [x], 1
        while f"input_blocks.{block}" in self:
            x = self.unet_block(f"input_blocks.{block}", x, time, context)
            skips.append(x)
            block += 1
        x = self.unet_block("middle_block", x, time, context)
        for block in range(len(skips)):
            x = self.unet_block(f"output_blocks.{block}", torch.cat([x, skips.pop()], 1), time, context)
        return self.conv("out.2", functional.silu(self.group_norm("out.0", x, 1e-5)))

    def vae_resnet(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(name + ".conv1", functional.silu(self.group_norm(name + ".norm1", x, 1e-6)))
        y = self.conv(name + ".conv2", functional.silu(self.group_norm(name + ".norm2", y, 1e-6)))
        return y + (self.conv(name + ".nin_shortcut", x) if name + ".nin_shortcut" in self else x)

    def vae_middle(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = self.vae_resnet(name + ".block_1", x)
        y = self.group_norm(name + ".attn_1.norm", x, 1e-6)
        q, k, v = (self.conv(f"{name}.attn_1.{part}", y).flatten(2).mT for part in "qkv")
        y = ((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v).mT.unflatten(2, x.shape[2:])
        return self.vae_resnet(name + ".block_2", x + self.conv(name + ".attn_1.proj_out", y))

    def vae_level(self, name: str, x: torch.Tensor) -> torch.Tensor:
        block = 0
        while f"{name}.block.{block}" in self:
            x = self.vae_resnet(f"{name}.block.{block}", x)
            block += 1
        return x

    def vae_encode(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv("encoder.conv_in", x)
        for level in range(4):
            x = self.vae_level(f"encoder.down.{level}", x)
            if f"encoder.down.{level}.downsample" in self:
                x = self.conv(
                    f"encoder.down.{level}.downsample.conv", functional.pad(x, (0, 1, 0, 1)), stride=2, padding=0
                )
        x = self.vae_middle("encoder.mid", x)
        x = self.conv("encoder.conv_out", functional.silu(self.group_norm("encoder.norm_out", x, 1e-6)))
        return self.conv("quant_conv", x)

    def vae_decode(self, x: torch.Tensor) -> torch.Tensor:
        x = self.vae_middle("decoder.mid", self.conv("decoder.conv_in", self.conv("post_quant_conv", x)))
        for level in (3, 2, 1, 0):
            x = self.vae_level(f"decoder.up.{level}", x)
            if f"decoder.up.{level}.upsample" in self:
                x = self.conv(f"decoder.up.{level}.upsample.conv", functional.interpolate(x, scale_factor=2.0))
        return self.conv("decoder.conv_out", functional.silu(self.group_norm("decoder.norm_out", x, 1e-6)))


def relative_error(x: torch.Tensor, reference: torch.Tensor) -> float:
    assert x.shape == reference.shape
    return float((x - reference).norm() / reference.norm())


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"channels": 64, "mult": (1, 2), "blocks": 2, "vae_blocks": 2, "vae_mult": (1, 2, 2, 2)},
    {"mult": (1, 1, 1, 2, 3), "text_width": 128, "text_layers": 3, "vae_channels": 64},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_unet_is_the_one_the_names_describe(tmp_path: Any, layout: dict[str, Any]) -> None:
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors", **layout)
    checkpoint = load_checkpoint(path, device=CPU, dtype=torch.float32)
    by_name = ByName(tiny_checkpoint_tensors(**layout), UNET)
    generator = torch.Generator().manual_seed(1)
    x, context = (
        torch.randn(1, 4, 16, 32, generator=generator),
        torch.randn(1, 77, checkpoint.facts.context_width, generator=generator),
    )
    eps = checkpoint.unet(x, torch.tensor(321.0), context).sample
    assert relative_error(eps, by_name.unet(x, 321.0, context)) < 1e-4
    assert by_name.used == by_name.tensors.keys()


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_vae_is_the_one_the_names_describe(tmp_path: Any, layout: dict[str, Any]) -> None:
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors", **layout)
    vae = load_checkpoint(path, device=CPU, dtype=torch.float32).vae
    by_name = ByName(tiny_checkpoint_tensors(**layout), VAE)
    latents = torch.randn(1, 4, 8, 4, generator=torch.Generator().manual_seed(1))
    picture = vae.decode(latents).sample
    assert relative_error(picture, by_name.vae_decode(latents)) < 1e-4
    assert relative_error(vae.encode(picture).latent_dist.parameters, by_name.vae_encode(picture)) < 1e-4
    assert by_name.used == by_name.tensors.keys()


def dtypes(shapes: dict[str, Any]) -> dict[str, str]:
    return dict.fromkeys(shapes, "float16")


def test_every_tensor_has_one_parameter_and_every_parameter_one_tensor() -> None:
    contents = read_contents(SHAPES, dtypes(SHAPES))
    names = [name for part in contents.blueprints for name in part.names.values()]
    assert sorted(names) == sorted(SHAPES)
    for part in contents.blueprints:
        assert part.names.keys() == dict(part.module.named_parameters()).keys()


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted(SHAPES)))
def test_a_missing_tensor_is_named(name: str) -> None:
    shapes = {other: shape for other, shape in SHAPES.items() if other != name}
    with pytest.raises(LayoutError) as caught:
        read_contents(shapes, dtypes(shapes))
    assert name.rpartition(".")[0] in str(caught.value) or "is unknown" in str(caught.value)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted(SHAPES)), axis=st.integers(0, 3), size=st.integers(0, 4096))
def test_a_wrong_shape_is_refused(name: str, axis: int, size: int) -> None:
    shape = list(SHAPES[name])
    axis %= len(shape)
    shape[axis] = size if size != shape[axis] else size + 1
    shapes = SHAPES | {name: tuple(shape)}
    table = "embedding.weight" in name and axis == 0 and shape[0] > SHAPES[name][0]
    if table:  # a larger vocabulary is no mistake
        read_contents(shapes, dtypes(shapes))
        return
    with pytest.raises(LayoutError):
        read_contents(shapes, dtypes(shapes))


def test_a_wrong_shape_is_named_with_what_was_found_and_expected() -> None:
    name = UNET + "input_blocks.1.0.in_layers.2.weight"
    shapes = SHAPES | {name: (96, 32, 3, 3)}
    with pytest.raises(LayoutError, match=r"in_layers\.2\.weight has shape \(96, 32, 3, 3\), where \(32, 32, 3, 3\)"):
        read_contents(shapes, dtypes(shapes))


@pytest.mark.parametrize("gone", [UNET + "input_blocks.1.", UNET + "output_blocks.2.", VAE + "decoder.up.1."])
def test_many_missing_tensors_are_counted(gone: str) -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if not name.startswith(gone)}
    with pytest.raises(LayoutError, match="missing"):
        read_contents(shapes, dtypes(shapes))


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ({"channels": 48}, r"level 0 is 48; it must be a multiple of 32"),
        ({"vae_channels": 16}, r"VAE's level 0 is 16; it must be a multiple of 32"),
        ({"text_width": 96}, r"text encoder's width is 96; it must be a multiple of 64"),
        ({"text_width": 1024}, "Stable Diffusion 2"),
        ({"vocab": 1000}, "1000 tokens"),
        ({"vae_mult": (1, 1, 1)}, "3 levels"),
        ({"mult": (2, 2)}, "begins 32 channels wide, its first level has 64"),
    ],
)
def test_a_layout_that_cannot_be_built_is_explained(layout: dict[str, Any], reason: str) -> None:
    shapes = tiny_checkpoint_shapes(**layout)
    with pytest.raises(LayoutError, match=reason):
        read_contents(shapes, dtypes(shapes))


def test_transformers_may_be_deeper() -> None:
    block = ".transformer_blocks.0."
    deeper = {name.replace(block, ".transformer_blocks.1."): shape for name, shape in SHAPES.items() if block in name}
    shapes = SHAPES | deeper
    contents = read_contents(shapes, dtypes(shapes))
    assert sorted(name for part in contents.blueprints for name in part.names.values()) == sorted(shapes)


def test_a_tensor_without_a_place_is_refused() -> None:
    shapes = SHAPES | {UNET + "input_blocks.1.1.transformer_blocks.0.fuser.linear.weight": (32, 32)}
    with pytest.raises(LayoutError, match=r"1 of its tensors have no place.*fuser"):
        read_contents(shapes, dtypes(shapes))


def test_absurd_sizes_are_refused_at_once() -> None:
    empty = SHAPES | {TEXT + "embeddings.position_embedding.weight": (2**40, 0)}
    with pytest.raises(LayoutError, match=r"position_embedding\.weight is empty"):
        read_contents(empty, dtypes(SHAPES))
    absurd = {name: tuple(size << 40 for size in shape) for name, shape in SHAPES.items()}
    absurd[UNET + "input_blocks.0.0.weight"] = SHAPES[UNET + "input_blocks.0.0.weight"]
    with pytest.raises(LayoutError, match=r"cannot be built"):
        read_contents(absurd, dtypes(SHAPES))
    many = {f"{UNET}input_blocks.{i}.0.x": (1,) for i in range(50_000)}
    with pytest.raises(LayoutError, match="more than 100"):
        read_contents(SHAPES | many, dtypes(SHAPES | many))
