"""Carries out the nodes that decode and encode: in slices, so that other workflows' steps go on in between."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Literal, TypeVar

import torch
from torch import Tensor

from engine.device.memory import out_of_memory, release_cached
from engine.device.transfer import Fetch
from engine.errors import GenerationFailed
from engine.pictures import decoder as decoding
from engine.pictures import encoder as encoding
from engine.pictures import masks
from engine.pictures.decoder import PIXELS_PER_CELL, Decoder, eight_bits
from engine.pictures.encoder import Encoder, in_cells
from engine.pictures.tiling import Tiles, three_passes
from engine.running.functions.registry import (
    Bench,
    LatentBatch,
    Pause,
    PictureBatch,
    Until,
    Wish,
    carries_out,
    in_slices,
)
from engine.workflow import encoding as nodes
from engine.workflow.pictures import Decode, DecodeTiled

_Passes = tuple[Tiles, ...]
_Work = Generator[None, None, tuple[Tensor, Tensor]]
_Stage = Literal["encode", "decode"]
T = TypeVar("T")


@carries_out(Decode)
def decode(node: Decode, bench: Bench) -> Generator[Wish, None, PictureBatch]:
    """The pictures, one after another. Raises ``GenerationFailed`` where latents or pixels are not finite; pixels that
    are not in half precision are decoded again in float32 first."""
    passes = decoding.TILES if node in bench.tiled else None
    return _decoded(bench[node.latents].samples, bench.autoencoder(node.vae).decoder, passes, bench)


@carries_out(DecodeTiled)
def decode_tiled(node: DecodeTiled, bench: Bench) -> Generator[Wish, None, PictureBatch]:
    """As ``decode``, in tiles."""
    overlap = min(node.overlap, node.tile_size // 4)
    passes = three_passes(node.tile_size // PIXELS_PER_CELL, overlap // PIXELS_PER_CELL)
    return _decoded(bench[node.latents].samples, bench.autoencoder(node.vae).decoder, passes, bench)


@carries_out(nodes.Encode)
def encode(node: nodes.Encode, bench: Bench) -> Generator[Wish, None, LatentBatch]:
    """The latents, one after another. Those that are not finite in half precision are encoded again in float32."""
    passes = encoding.TILES if node in bench.tiled else None
    pixels = _for_encoding(bench[node.pictures])
    return LatentBatch((yield from encoded(pixels, bench.autoencoder(node.vae).encoder, passes, bench)))


@carries_out(nodes.EncodeTiled)
def encode_tiled(node: nodes.EncodeTiled, bench: Bench) -> Generator[Wish, None, LatentBatch]:
    """As ``encode``, in tiles."""
    passes = three_passes(node.tile_size, node.overlap)
    pixels = _for_encoding(bench[node.pictures])
    return LatentBatch((yield from encoded(pixels, bench.autoencoder(node.vae).encoder, passes, bench)))


@carries_out(nodes.EncodeForInpaint)
def encode_for_inpaint(node: nodes.EncodeForInpaint, bench: Bench) -> Generator[Wish, None, LatentBatch]:
    """As ``encode``, of pictures that are grey where the mask is at least a half."""
    passes = encoding.TILES if node in bench.tiled else None
    batch: PictureBatch = bench[node.pictures]
    mask = masks.scaled_to(bench[node.mask], *batch.pixels.shape[1:3])
    mask = in_cells(mask[:, None]).round()  # (b, 1, 8h, 8w)
    pixels = (_for_encoding(batch) - 0.5) * (1 - mask) + 0.5
    samples = yield from encoded(pixels, bench.autoencoder(node.vae).encoder, passes, bench)
    return LatentBatch(samples, noise_mask=masks.grown_for_inpainting(mask[:, 0], node.grow_mask_by))


def _for_encoding(batch: PictureBatch) -> Tensor:
    """The pixels as an encoder takes them: (B, 3, 8h, 8w)."""
    return in_cells(batch.pixels[..., :3].movedim(-1, 1))


def _decoded(
    latents: Tensor, decoder: Decoder, passes: _Passes | None, bench: Bench
) -> Generator[Wish, None, PictureBatch]:
    return _with_room(lambda: _each_decoded(latents, decoder, passes, bench), decoder, bench)


def _each_decoded(
    latents: Tensor, decoder: Decoder, passes: _Passes | None, bench: Bench
) -> Generator[Wish, None, PictureBatch]:
    sound = Fetch(torch.isfinite(latents).all())
    pixels = torch.empty(0)
    shown, flags = [], []
    for index, one in enumerate(latents.split(1)):
        if index:
            yield Pause()
        if passes is not None:
            image, finite = yield from _sliced(decoder.decode_tiled(one, passes), "decode", bench)
        else:
            image, finite = yield from _sliced(_at_work(one, decoder), "decode", bench)
        if not index:
            pixels = torch.empty((latents.shape[0], *image.shape), device=image.device)
        pixels[index] = image
        shown.append(Fetch(eight_bits(image)))
        flags.append(Fetch(finite))
    yield Until([sound, *shown, *flags])
    if not sound.value():
        raise GenerationFailed("the latents are not finite: the checkpoint or the parameters drive them out of range")
    for index, flag in enumerate(flags):
        if not flag.value():
            pixels[index] = yield from _decoded_again(latents[index][None], decoder, passes, bench)
            shown[index] = Fetch(eight_bits(pixels[index]))
    return PictureBatch(pixels, shown)


def _decoded_again(
    latents: Tensor, decoder: Decoder, passes: _Passes | None, bench: Bench
) -> Generator[Wish, None, Tensor]:
    if decoder.half:
        if passes is None:
            work = decoder.decode_sliced(latents, in_float32=True)
        else:
            work = decoder.decode_tiled(latents, passes, in_float32=True)
        image, finite = yield from _sliced(work, "decode", bench)
        if finite:
            return image
    raise GenerationFailed("a decoded picture is not finite")


def encoded(pixels: Tensor, encoder: Encoder, passes: _Passes | None, bench: Bench) -> Generator[Wish, None, Tensor]:
    """The latents of ``pixels`` (B, 3, 8h, 8w), one after another, through ``encoder``; ``passes``: in tiles."""
    return _with_room(lambda: _each_encoded(pixels, encoder, passes, bench), encoder, bench)


def _each_encoded(
    pixels: Tensor, encoder: Encoder, passes: _Passes | None, bench: Bench
) -> Generator[Wish, None, Tensor]:
    latents, flags = torch.empty(0), []
    for index, one in enumerate(pixels.split(1)):
        if index:
            yield Pause()
        if passes is not None:
            made, finite = yield from _sliced(encoder.encode_tiled(one, passes), "encode", bench)
        else:
            made, finite = yield from _sliced(_at_work(one, encoder), "encode", bench)
        if not index:
            latents = torch.empty((pixels.shape[0], *made.shape[1:]), device=made.device)
        latents[index] = made[0]
        flags.append(Fetch(finite))
    if not encoder.half:
        return latents  # finite, but for weights that are not
    yield Until(flags)
    for index, flag in enumerate(flags):
        if not flag.value():
            one = pixels[index][None]
            if passes is None:
                work = encoder.encode_sliced(one, in_float32=True)
            else:
                work = encoder.encode_tiled(one, passes, in_float32=True)
            made, _ = yield from _sliced(work, "encode", bench)
            latents[index] = made[0]
    return latents


def _sliced(work: _Work, stage: _Stage, bench: Bench) -> Generator[Wish, None, tuple[Tensor, Tensor]]:
    return in_slices(work, lambda: bench.observer.stage(stage))


def _with_room(
    work: Callable[[], Generator[Wish, None, T]], worker: Decoder | Encoder, bench: Bench
) -> Generator[Wish, None, T]:
    """What ``work`` makes. Where it finds no memory it is done once more, without what ``worker``'s model holds only to
    be fast."""
    try:
        return (yield from work())
    except Exception as error:
        if not out_of_memory(error):
            raise
    worker.release()  # outside the except block, whose traceback would keep the tensors
    release_cached(bench.device)
    return (yield from work())


def _at_work(one: Tensor, worker: Decoder | Encoder) -> _Work:
    """What ``worker`` makes of ``one``, in slices where it takes long."""
    if worker.takes_long(one):
        return (yield from worker.decode_sliced(one) if isinstance(worker, Decoder) else worker.encode_sliced(one))
    return worker.decode(one) if isinstance(worker, Decoder) else worker.encode(one)
