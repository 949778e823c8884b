#!/usr/bin/env python3
"""Write every synthetic file the cases of this pack name: models, LoRAs, embeddings, pictures.

    python make_files.py FOLDER [--only PATTERN ...] [--sums]

The folder gets the layout of a ComfyUI models folder plus ``input/``: ``checkpoints/``, ``loras/``,
``embeddings/``, ``vae/``, ``controlnet/``, ``upscale_models/``, ``input/``.  About 1.9 GB in all, most of it
the three checkpoints (they repeat one VAE); ``--only 'loras/*'`` makes a part.  ``--sums`` prints the SHA-256
of what is there, ``make_files.sums.txt`` holds what it should print (the ``.pt`` and ``.bin`` files are
left out: torch's zip container is not the same everywhere, their tensors are).

Needs ``make_checkpoint.py`` of the first parity pack beside this file or in ``../parity/``.  As there, a
tensor's values depend on its file and name alone; pictures are integer formulas written by a PNG writer of
our own, so that the bytes do not depend on a library's version.
"""

import argparse
import fnmatch
import hashlib
import importlib.util
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
CHANNELS = 64


def _make_checkpoint():
    for folder in (HERE, HERE.parent / "parity", HERE.parent.parent / "shared" / "parity"):
        if (folder / "make_checkpoint.py").exists():
            spec = importlib.util.spec_from_file_location("make_checkpoint", folder / "make_checkpoint.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise SystemExit("make_checkpoint.py is neither beside this file nor in ../parity/")


base = _make_checkpoint()
UNET, VAE, CLIP = base.UNET, base.VAE, base.CLIP


def noise(salt: str, shape: tuple) -> torch.Tensor:
    """Standard normal float32 values that depend on ``salt`` alone."""
    seed = int.from_bytes(hashlib.sha256(salt.encode()).digest()[:7], "big")
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weight(file: str, name: str, shape: tuple, gain: float = 1.0) -> torch.Tensor:
    """A weight or bias of a network, scaled as in ``make_checkpoint``."""
    values = noise(f"{file}:{name}", shape)
    if "embeddings." in name:
        return values * 0.05
    if len(shape) >= 2:
        return values * (gain / math.sqrt(math.prod(shape[1:])))
    return values * 0.02 + (1.0 if name.endswith("weight") else 0.0)


# --- names ---------------------------------------------------------------------------------------------------

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def diffusers_name(name: str) -> str:
    """The diffusers name of a UNet module, given its name in a single file (without ``model.diffusion_model.``)."""
    fixed = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    if name in fixed:
        return fixed[name]
    part, index, rest = name.split(".", 2)
    if part == "middle_block":
        if index == "1":
            return f"mid_block.attentions.0.{rest}"
        return f"mid_block.resnets.{int(index) // 2}.{RESNET[rest]}"
    sub, _, rest = rest.partition(".")
    n = int(index)
    if part == "input_blocks":
        block, i = divmod(n - 1, 3)
        where = f"down_blocks.{block}"
        if rest == "op":
            return f"{where}.downsamplers.0.conv"
    else:
        block, i = divmod(n, 3)
        where = f"up_blocks.{block}"
        if rest == "conv":
            return f"{where}.upsamplers.0.conv"
    return f"{where}.attentions.{i}.{rest}" if sub == "1" else f"{where}.resnets.{i}.{RESNET[rest]}"


def vae_diffusers_name(name: str) -> str:
    """The diffusers name of a VAE module, given its single-file name (without ``first_stage_model.``)."""
    name = name.replace(".norm_out", ".conv_norm_out").replace(".nin_shortcut", ".conv_shortcut")
    for i in range(2):
        name = name.replace(f".mid.block_{i + 1}", f".mid_block.resnets.{i}")
    name = name.replace(".mid.attn_1.norm", ".mid_block.attentions.0.group_norm")
    for old, new in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        name = name.replace(f".mid.attn_1.{old}", f".mid_block.attentions.0.{new}")
    for level in range(4):
        name = name.replace(f"encoder.down.{level}.block.", f"encoder.down_blocks.{level}.resnets.")
        name = name.replace(f"encoder.down.{level}.downsample.", f"encoder.down_blocks.{level}.downsamplers.0.")
        name = name.replace(f"decoder.up.{level}.block.", f"decoder.up_blocks.{3 - level}.resnets.")
        name = name.replace(f"decoder.up.{level}.upsample.", f"decoder.up_blocks.{3 - level}.upsamplers.0.")
    return name


def modules(kinds: str) -> Iterator[tuple[str, tuple]]:
    """UNet modules with their weight's shape. ``kinds``: any of attention, ff, proj, conv (3x3), time, norm."""
    wanted = kinds.split()
    for name, shape in base.unet_shapes(CHANNELS).items():
        if not name.endswith(".weight"):
            continue
        module = name[len(UNET) : -len(".weight")]
        kind = (
            "attention"
            if ".attn" in module
            else "ff"
            if ".ff." in module
            else "proj"
            if module.endswith(("proj_in", "proj_out"))
            else "norm"
            if len(shape) == 1
            else "conv"
            if len(shape) == 4 and shape[-1] == 3
            else "skip"
            if module.endswith("skip_connection")
            else "time"
        )
        if kind in wanted:
            yield module, shape


def text_modules(
    parts: str = "q_proj k_proj v_proj out_proj fc1 fc2", layers: range = range(12)
) -> Iterator[tuple[str, tuple]]:
    """Text encoder modules with their weight's shape."""
    shapes = base.clip_shapes()
    for layer in layers:
        for part in parts.split():
            module = f"encoder.layers.{layer}.{'mlp' if part.startswith('fc') else 'self_attn'}.{part}"
            yield module, shapes[f"{CLIP}{module}.weight"]


def kohya(module: str) -> str:
    return "lora_unet_" + diffusers_name(module).replace(".", "_")


def kohya_text(module: str) -> str:
    return "lora_te_text_model_" + module.replace(".", "_")


# --- LoRAs ---------------------------------------------------------------------------------------------------


def low_rank(salt: str, shape: tuple, rank: int, gain: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    """``up`` and ``down`` whose product has ``gain`` times the spread of the weight it changes."""
    tail = tuple(shape[2:])
    down = noise(salt + ":down", (rank, *shape[1:])) / math.sqrt(math.prod(shape[1:]))
    up = noise(salt + ":up", (shape[0], rank, *(1 for _ in tail))) * (gain / math.sqrt(rank))
    return up, down


def lora(
    salt: str, rank: int, alpha: float | None, kinds: str, text: bool, gain: float = 0.6
) -> dict[str, torch.Tensor]:
    """A LoRA with kohya's names."""
    tensors = {}
    names = [(kohya(m), s) for m, s in modules(kinds)] + (
        [(kohya_text(m), s) for m, s in text_modules()] if text else []
    )
    for name, shape in names:
        up, down = low_rank(f"{salt}:{name}", shape, rank, gain)
        tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"] = up, down
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return tensors


def lora_locon() -> dict[str, torch.Tensor]:
    """Rank 8 on linear layers, rank 4 on 3x3 convolutions, with other alphas, some convolutions with a middle
    tensor (CP decomposition); layers named by their single-file name instead of diffusers' in a few places."""
    tensors = {}
    for module, shape in modules("attention ff proj conv skip time"):
        conv = len(shape) == 4 and shape[-1] == 3
        rank = 4 if conv else 8
        name = kohya(module)
        if module.startswith("middle_block"):
            name = "lora_unet_" + module.replace(".", "_")
        salt = f"locon:{module}"
        up, down = low_rank(salt, shape, rank, 0.5)
        if conv and module.startswith("output_blocks"):
            tensors[f"{name}.lora_mid.weight"] = noise(salt + ":mid", (rank, rank, 3, 3)) / math.sqrt(rank)
            down = noise(salt + ":down", (rank, shape[1], 1, 1)) / math.sqrt(shape[1] * 9)
        tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"] = up, down
        tensors[f"{name}.alpha"] = torch.tensor(2.0 if conv else 8.0)
    for module, shape in text_modules("q_proj v_proj fc1", range(6, 12)):
        up, down = low_rank(f"locon:{module}", shape, 8, 0.5)
        name = kohya_text(module)
        tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"] = up, down
        tensors[f"{name}.alpha"] = torch.tensor(4.0)
    return tensors


def lora_diffusers() -> dict[str, torch.Tensor]:
    """The values of ``lora_a`` under the names of diffusers' attention processors (no alpha: it is in ``up``)."""
    tensors = {}
    for module, shape in modules("attention"):
        up, down = low_rank(f"lora_a:{kohya(module)}", shape, 4)
        name = "unet." + diffusers_name(module).replace(".to_", ".processor.to_").removesuffix(".0")
        tensors[f"{name}_lora.up.weight"], tensors[f"{name}_lora.down.weight"] = up * 0.5, down
    for module, shape in text_modules("q_proj k_proj v_proj out_proj"):
        up, down = low_rank(f"lora_a:{kohya_text(module)}", shape, 4)
        name = f"text_encoder.text_model.{module}.lora_linear_layer"
        tensors[f"{name}.up.weight"], tensors[f"{name}.down.weight"] = up * 0.5, down
    return tensors


def lora_peft() -> dict[str, torch.Tensor]:
    """The values of ``lora_a`` under PEFT's names (``lora_A`` is down, ``lora_B`` is up)."""
    tensors = {}
    for module, shape in modules("attention ff proj"):
        up, down = low_rank(f"lora_a:{kohya(module)}", shape, 4)
        name = "unet." + diffusers_name(module)
        tensors[f"{name}.lora_B.weight"], tensors[f"{name}.lora_A.weight"] = up * 0.5, down
    for module, shape in text_modules():
        up, down = low_rank(f"lora_a:{kohya_text(module)}", shape, 4)
        name = f"text_encoder.text_model.{module}"
        tensors[f"{name}.lora_B.weight"], tensors[f"{name}.lora_A.weight"] = up * 0.5, down
    return tensors


def loha() -> dict[str, torch.Tensor]:
    """Hadamard products of two low-rank products; 3x3 convolutions with Tucker cores ``t1``, ``t2``."""
    tensors, rank = {}, 4
    for module, shape in modules("attention ff proj conv"):
        name, salt = kohya(module), f"loha:{module}"
        flat = math.prod(shape[1:])
        conv = len(shape) == 4 and shape[-1] == 3
        scale = math.sqrt(0.6 / math.sqrt(flat)) / math.sqrt(rank)
        for i in (1, 2):
            if conv and module.startswith("input_blocks"):
                tensors[f"{name}.hada_t{i}"] = noise(f"{salt}:t{i}", (rank, rank, 3, 3)) / math.sqrt(rank)
                tensors[f"{name}.hada_w{i}_a"] = noise(f"{salt}:w{i}a", (rank, shape[0]))
                tensors[f"{name}.hada_w{i}_b"] = noise(f"{salt}:w{i}b", (rank, shape[1])) * scale
            else:
                tensors[f"{name}.hada_w{i}_a"] = noise(f"{salt}:w{i}a", (shape[0], rank))
                tensors[f"{name}.hada_w{i}_b"] = noise(f"{salt}:w{i}b", (rank, flat)) * scale
        tensors[f"{name}.alpha"] = torch.tensor(3.0)
    for module, shape in text_modules("q_proj v_proj"):
        name, salt = kohya_text(module), f"loha:{module}"
        scale = math.sqrt(0.6 / math.sqrt(shape[1])) / math.sqrt(rank)
        for i in (1, 2):
            tensors[f"{name}.hada_w{i}_a"] = noise(f"{salt}:w{i}a", (shape[0], rank))
            tensors[f"{name}.hada_w{i}_b"] = noise(f"{salt}:w{i}b", (rank, shape[1])) * scale
        tensors[f"{name}.alpha"] = torch.tensor(3.0)
    return tensors


def lokr() -> dict[str, torch.Tensor]:
    """Kronecker products: a small whole ``w1`` with a low-rank ``w2``, both whole (alpha then means nothing), both
    low-rank, in turn. (No Tucker core: the recorded ComfyUI fails on one under current torch and skips the layer.)"""
    tensors, rank, factor = {}, 4, 4
    for index, (module, shape) in enumerate(modules("attention ff proj conv")):
        if module.startswith("input_blocks.0"):
            continue
        name, salt = kohya(module), f"lokr:{module}"
        out, inn = shape[0] // factor, shape[1] // factor
        conv = len(shape) == 4 and shape[-1] == 3
        if out * factor != shape[0] or inn * factor != shape[1]:
            continue
        scale = 0.5 / math.sqrt(math.prod(shape[1:]))
        kind = index % 3
        if kind == 2:
            tensors[f"{name}.lokr_w1_a"] = noise(f"{salt}:1a", (factor, 2)) / math.sqrt(2)
            tensors[f"{name}.lokr_w1_b"] = noise(f"{salt}:1b", (2, factor))
        else:
            tensors[f"{name}.lokr_w1"] = noise(f"{salt}:1", (factor, factor))
        if kind == 1:
            tensors[f"{name}.lokr_w2"] = noise(f"{salt}:2", (out, inn, *shape[2:])) * scale
        elif conv:
            tensors[f"{name}.lokr_w2_a"] = noise(f"{salt}:2a", (out, rank)) / math.sqrt(rank)
            tensors[f"{name}.lokr_w2_b"] = noise(f"{salt}:2b", (rank, inn * 9)) * scale
        elif len(shape) == 4:
            tensors[f"{name}.lokr_w2"] = noise(f"{salt}:2", (out, inn, 1, 1)) * scale
        else:
            tensors[f"{name}.lokr_w2_a"] = noise(f"{salt}:2a", (out, rank)) / math.sqrt(rank)
            tensors[f"{name}.lokr_w2_b"] = noise(f"{salt}:2b", (rank, inn)) * scale
        tensors[f"{name}.alpha"] = torch.tensor(3.0)
    return tensors


def dora(on_output: bool) -> dict[str, torch.Tensor]:
    """A LoRA with ``dora_scale``: one number per input column, or per output row."""
    salt = "dora_out" if on_output else "dora_in"
    tensors = {}
    names = [(kohya(m), UNET + m, s) for m, s in modules("attention ff conv")]
    names += [(kohya_text(m), CLIP + m, s) for m, s in text_modules("q_proj v_proj fc2")]
    for name, full, shape in names:
        up, down = low_rank(f"{salt}:{name}", shape, 4)
        tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"] = up, down
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
        original = base.values(full + ".weight", shape).half().float()
        axis = 0 if on_output else 1
        norm = original.transpose(0, axis).reshape(shape[axis], -1).norm(dim=1)
        norm = norm * (1 + 0.2 * noise(f"{salt}:{name}:scale", norm.shape))
        size = [1] * len(shape)
        size[axis] = -1
        tensors[f"{name}.dora_scale"] = norm.reshape(size)
    return tensors


def full_diff() -> dict[str, torch.Tensor]:
    """Whole differences (``diff``, ``diff_b``) and norms (``w_norm``, ``b_norm``), as LyCORIS's "full" and "norm"
    write them."""
    tensors = {}
    for module, shape in modules("attention norm"):
        name, salt = kohya(module), f"full:{module}"
        if len(shape) == 1:
            tensors[f"{name}.w_norm"] = noise(salt + ":w", shape) * 0.1
            tensors[f"{name}.b_norm"] = noise(salt + ":b", shape) * 0.1
        else:
            tensors[f"{name}.diff"] = noise(salt, shape) * (0.3 / math.sqrt(shape[1]))
            if module.endswith("to_out.0"):
                tensors[f"{name}.diff_b"] = noise(salt + ":b", shape[:1]) * 0.1
    return tensors


# --- other networks ------------------------------------------------------------------------------------------


def checkpoint(file: str, in_channels: int = 4, own: tuple[str, ...] = (UNET, CLIP)) -> dict[str, torch.Tensor]:
    """The parity checkpoint with other values under the prefixes ``own`` and ``in_channels`` at the UNet's door."""
    shapes = base.unet_shapes(CHANNELS) | base.vae_shapes() | base.clip_shapes()
    door = UNET + "input_blocks.0.0.weight"
    shapes[door] = (CHANNELS, in_channels, 3, 3)
    tensors = {
        name: weight(file, name, shape) if name.startswith(own) else base.values(name, shape)
        for name, shape in shapes.items()
    }
    tensors = {name: value.half() for name, value in tensors.items()}
    tensors[CLIP + "embeddings.position_ids"] = torch.arange(77)[None]
    return tensors


def vae(diffusers: bool = False) -> dict[str, torch.Tensor]:
    tensors = {}
    for full, shape in base.vae_shapes().items():
        name = full[len(VAE) :]
        value = weight("vae_b", name, shape, 0.9)
        if diffusers:
            module, _, end = name.rpartition(".")
            if ".attn_1." in name and value.ndim == 4:
                value = value[:, :, 0, 0]
            tensors[f"{vae_diffusers_name(module)}.{end}"] = value.half()
        else:
            tensors[name] = value.half()
    return tensors


HINT = (3, 16, 16, 32, 32, 96, 96, 256)


def controlnet(file: str, diffusers: bool = False, hint_channels: int = 3) -> dict[str, torch.Tensor]:
    """The encoder half of the UNet, a small network for the hint, and "zero" convolutions that are not zero."""
    shapes = {}
    for full, shape in base.unet_shapes(CHANNELS).items():
        name = full[len(UNET) :]
        if name.startswith(("time_embed", "input_blocks", "middle_block")):
            shapes[name] = shape
    widths = (hint_channels, *HINT[1:], CHANNELS)
    for i in range(8):
        shapes[f"input_hint_block.{2 * i}.weight"] = (widths[i + 1], widths[i], 3, 3)
        shapes[f"input_hint_block.{2 * i}.bias"] = (widths[i + 1],)
    outputs = [1] * 4 + [2] * 3 + [4] * 5
    for i, m in enumerate(outputs):
        width = CHANNELS * m
        shapes[f"zero_convs.{i}.0.weight"], shapes[f"zero_convs.{i}.0.bias"] = (width, width, 1, 1), (width,)
    width = CHANNELS * 4
    shapes["middle_block_out.0.weight"], shapes["middle_block_out.0.bias"] = (width, width, 1, 1), (width,)
    tensors = {}
    for name, shape in shapes.items():
        gain = 0.5 if name.startswith(("zero_convs", "middle_block_out")) else 1.6 if "hint" in name else 1.0
        value = weight(file, name, shape, gain).half()
        if not diffusers:
            tensors["control_model." + name] = value
            continue
        module, _, end = name.rpartition(".")
        if module.startswith("input_hint_block"):
            i = int(module.split(".")[1]) // 2
            module = "controlnet_cond_embedding." + (
                "conv_in" if i == 0 else "conv_out" if i == 7 else f"blocks.{i - 1}"
            )
        elif module.startswith("zero_convs"):
            module = f"controlnet_down_blocks.{module.split('.')[1]}"
        elif module.startswith("middle_block_out"):
            module = "controlnet_mid_block"
        else:
            module = diffusers_name(module)
        tensors[f"{module}.{end}"] = value
    return tensors


def t2i_adapter() -> dict[str, torch.Tensor]:
    widths = [CHANNELS, CHANNELS * 2, CHANNELS * 4, CHANNELS * 4]
    shapes = {"conv_in.weight": (widths[0], 192, 3, 3), "conv_in.bias": (widths[0],)}
    for i in range(8):
        width, before = widths[i // 2], widths[max(0, (i - 1) // 2)]
        if width != before:
            shapes[f"body.{i}.in_conv.weight"], shapes[f"body.{i}.in_conv.bias"] = (width, before, 1, 1), (width,)
        shapes[f"body.{i}.block1.weight"], shapes[f"body.{i}.block1.bias"] = (width, width, 3, 3), (width,)
        shapes[f"body.{i}.block2.weight"], shapes[f"body.{i}.block2.bias"] = (width, width, 1, 1), (width,)
    return {name: weight("t2i_a", name, shape) for name, shape in shapes.items()}


def esrgan(scale: int, features: int = 16, blocks: int = 2, growth: int = 32) -> dict[str, torch.Tensor]:
    """An ESRGAN network (RRDB); at scale 2 the picture enters folded to 12 channels at half the size."""
    shapes = {}

    def conv(name, n_out, n_in):
        shapes[name + ".weight"], shapes[name + ".bias"] = (n_out, n_in, 3, 3), (n_out,)

    conv("conv_first", features, 12 if scale == 2 else 3)
    for i in range(blocks):
        for j in (1, 2, 3):
            for k in range(1, 6):
                conv(f"body.{i}.rdb{j}.conv{k}", features if k == 5 else growth, features + growth * (k - 1))
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        conv(name, features, features)
    conv("conv_last", 3, features)
    tensors = {
        n: weight(f"esrgan_x{scale}", n, s, 0.3 if n.startswith("conv_last") else 1.3) for n, s in shapes.items()
    }
    tensors["conv_last.bias"] += 0.4
    return tensors


# --- pictures ------------------------------------------------------------------------------------------------


def png(
    pixels: np.ndarray, palette: np.ndarray | None = None, palette_alpha: bytes = b"", orientation: int = 0
) -> bytes:
    """A PNG file of stored (uncompressed) rows: grey, grey + alpha, RGB, RGBA of 8 or 16 bits, or palette indices."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = pixels.dtype.itemsize * 8
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    stored = b"\x78\x01"
    for start in range(0, len(raw), 65535):
        block = raw[start : start + 65535]
        last = start + 65535 >= len(raw)
        stored += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    stored += struct.pack(">I", zlib.adler32(raw))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    if orientation:
        out += chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HHI", orientation, 0, 0))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        if palette_alpha:
            out += chunk(b"tRNS", palette_alpha)
    return out + chunk(b"IDAT", stored) + chunk(b"IEND", b"")


def grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(width), np.arange(height))


def wave(v: np.ndarray) -> np.ndarray:
    """A triangle wave between 0 and 255."""
    return 255 - np.abs(v % 510 - 255)


def photo(width: int, height: int, shift: int = 0) -> np.ndarray:
    x, y = grid(width, height)
    r, g, b = wave(3 * x + y + shift), wave(2 * y - x + 4 * shift + 1000), wave(x * y // 24 + 60 + 2 * shift)
    disc = (x - width * 2 // 5) ** 2 + (y - height // 2) ** 2 < (min(width, height) // 4) ** 2
    r, g, b = np.where(disc, 255 - g, r), np.where(disc, r // 2, g), np.where(disc, 200, b)
    return np.stack([r, g, b], -1).astype(np.uint8)


def soft_disc(width: int, height: int, cx: int, cy: int, radius: int, soft: int) -> np.ndarray:
    """255 inside, 0 outside, falling over ``soft`` pixels (by squared distance)."""
    x, y = grid(width, height)
    d = (x - cx) ** 2 + (y - cy) ** 2
    inner, outer = (radius - soft) ** 2, (radius + soft) ** 2
    return np.clip((outer - d) * 255 // (outer - inner), 0, 255).astype(np.uint8)


def boxes(width: int, height: int, *corners: tuple[int, int, int, int], value: int = 255) -> np.ndarray:
    out = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in corners:
        out[y0:y1, x0:x1] = value
    return out


def edges(width: int, height: int) -> np.ndarray:
    """White lines on black, as an edge detector draws them."""
    x, y = grid(width, height)
    d = (x - width // 2) ** 2 + (y - height // 2) ** 2
    ring = np.abs(d - (min(width, height) // 3) ** 2) < 3 * min(width, height)
    lines = ((x + 2 * y) % 48 < 2) | (np.abs(x - y * width // height) < 2)
    return np.repeat(np.where(ring | lines, 255, 0)[..., None], 3, -1).astype(np.uint8)


def pictures() -> dict[str, bytes]:
    alpha = 255 - soft_disc(128, 128, 70, 56, 34, 10)
    x, y = grid(96, 96)
    deep = ((wave(5 * x + 3 * y) * 257 + 13 * x) % 65536).astype(np.uint16)
    indices = ((x // 12 + y // 8) % 16).astype(np.uint8)
    palette = np.stack([np.arange(16) * 17, 255 - np.arange(16) * 13, (np.arange(16) * 53) % 256], -1)
    channels = np.stack(
        [
            boxes(128, 128, (16, 24, 88, 100)),
            soft_disc(128, 128, 64, 64, 40, 16),
            boxes(128, 128, (0, 0, 64, 128), value=128),
            255 - soft_disc(128, 128, 40, 80, 30, 4),
        ],
        -1,
    )
    return {
        "photo.png": png(photo(128, 128)),
        "photo_b.png": png(photo(128, 128, 77)),
        "photo_wide.png": png(photo(192, 128, 31)),
        "photo_big.png": png(photo(256, 192, 9)),
        "photo_odd.png": png(photo(150, 101, 5)),
        "photo_tiny.png": png(photo(40, 56, 21)),
        "photo_alpha.png": png(np.dstack([photo(128, 128, 50), alpha])),
        "photo_rotated.png": png(photo(128, 96, 13), orientation=6),
        "grey8.png": png(wave(3 * x + y).astype(np.uint8)),
        "grey16.png": png(deep),
        "grey_alpha.png": png(np.stack([wave(2 * x + y), wave(4 * y)], -1).astype(np.uint8)),
        "rgb16.png": png(np.stack([deep, deep[::-1], deep.T], -1)),
        "palette.png": png(indices, palette),
        "palette_alpha.png": png(indices, palette, bytes(255 - 15 * i for i in range(16))),
        "mask.png": png(boxes(128, 128, (40, 32, 104, 88))),
        "mask_soft.png": png(soft_disc(128, 128, 60, 70, 36, 14)),
        "mask_grey.png": png(
            np.minimum(boxes(128, 128, (24, 24, 112, 112)), wave(2 * grid(128, 128)[0]).astype(np.uint8))
        ),
        "mask_small.png": png(soft_disc(50, 70, 25, 30, 16, 4)),
        "mask_odd.png": png(boxes(150, 101, (30, 20, 100, 77))),
        "mask_channels.png": png(channels),
        "hint.png": png(edges(128, 128)),
        "hint_small.png": png(edges(96, 80)),
        "hint_big.png": png(edges(300, 200)),
        "hint_photo.png": png(photo(128, 128, 111)),
    }


# --- all of them ---------------------------------------------------------------------------------------------


def half(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.half() for name, value in tensors.items()}


def bf16(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.bfloat16() for name, value in tensors.items()}


FILES = {
    "checkpoints/parity64.safetensors": lambda: base.checkpoint(CHANNELS, torch.float16),
    "checkpoints/parity64_b.safetensors": lambda: checkpoint("parity64_b"),
    "checkpoints/parity64_inpaint.safetensors": lambda: checkpoint(
        "parity64_inpaint", 9, (UNET + "input_blocks.0.0.",)
    ),
    "loras/lora_a.safetensors": lambda: half(lora("lora_a", 4, 2.0, "attention ff proj", True)),
    "loras/lora_b.safetensors": lambda: half(lora("lora_b", 8, None, "attention ff", False, 0.3)),
    "loras/locon.safetensors": lora_locon,
    "loras/lora_diffusers.safetensors": lambda: half(lora_diffusers()),
    "loras/lora_peft.safetensors": lambda: half(lora_peft()),
    "loras/loha.safetensors": lambda: bf16(loha()),
    "loras/lokr.safetensors": lambda: half(lokr()),
    "loras/dora_in.safetensors": lambda: half(dora(False)),
    "loras/dora_out.safetensors": lambda: dora(True),
    "loras/full.safetensors": lambda: half(full_diff()),
    "embeddings/three.safetensors": lambda: {"emb_params": noise("three", (3, 768)) * 0.08},
    "embeddings/wide.safetensors": lambda: {"emb_params": noise("wide", (2, 1024)) * 0.08},
    "embeddings/neg-long.safetensors": lambda: {"emb_params": (noise("neg-long", (20, 768)) * 0.06).half()},
    "embeddings/old_style.pt": lambda: {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": noise("old_style", (2, 768)) * 0.08},
        "name": "old_style",
        "step": 1000,
    },
    "embeddings/single.bin": lambda: {"<single>": noise("single", (768,)) * 0.08},
    "vae/vae_b.safetensors": vae,
    "vae/vae_b_diffusers.safetensors": lambda: vae(True),
    "controlnet/control_a.safetensors": lambda: controlnet("control_a"),
    "controlnet/control_b.safetensors": lambda: controlnet("control_b"),
    "controlnet/control_a_diffusers.safetensors": lambda: controlnet("control_a", True),
    "controlnet/control_shuffle.safetensors": lambda: controlnet("control_shuffle"),
    "controlnet/t2i_a.safetensors": t2i_adapter,
    "upscale_models/esrgan_x4.safetensors": lambda: esrgan(4),
    "upscale_models/esrgan_x2.safetensors": lambda: esrgan(2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=["*"], help="patterns of the files to make, as 'loras/*'")
    parser.add_argument("--sums", action="store_true", help="print the SHA-256 of the files that are there")
    arguments = parser.parse_args()
    pics = {f"input/{name}": data for name, data in pictures().items()}
    names = [n for n in [*FILES, *pics] if any(fnmatch.fnmatch(n, p) for p in arguments.only)]
    for name in names:
        path = arguments.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in pics:
                path.write_bytes(pics[name])
            elif name.endswith(".safetensors"):
                save_file({k: v.contiguous() for k, v in FILES[name]().items()}, path)
            else:
                torch.save(FILES[name](), path)
        if arguments.sums and not name.endswith((".pt", ".bin")):
            print(hashlib.file_digest(path.open("rb"), "sha256").hexdigest(), name)


if __name__ == "__main__":
    main()
