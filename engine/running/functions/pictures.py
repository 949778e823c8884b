"""Carries out the nodes for pictures: decoding, in slices, so that other workflows' steps go on in between."""

from __future__ import annotations

from collections.abc import Generator

from PIL import Image
from torch import Tensor, isfinite

from engine.device.memory import out_of_memory, release_cached
from engine.device.transfer import Fetch
from engine.errors import GenerationFailed
from engine.pictures.decoder import Decoder
from engine.running.functions.registry import Bench, LatentBatch, Pause, Until, Wish, carries_out
from engine.workflow.pictures import Decode, Output, SavePictures, SendPictures, ShowPictures


@carries_out(Decode)
def decode(node: Decode, bench: Bench) -> Generator[Wish, None, list[Image.Image]]:
    """The pictures, one after another. Raises ``GenerationFailed`` where latents or pixels are not finite; pixels that
    are not in half precision are decoded again in float32 first."""
    batch: LatentBatch = bench[node.latents]
    decoder, latents = bench.autoencoder(node.vae).decoder, batch.samples
    sound = Fetch(isfinite(latents).all())
    fetched: list[tuple[Fetch, Fetch]] = []
    for one in latents.split(1):
        if fetched:
            yield Pause()
        with bench.observer.stage("decode"):
            pixels, finite = _decoded(decoder, one)
        fetched.append((Fetch(pixels), Fetch(finite)))
    yield Until([sound, *(each for pair in fetched for each in pair)])
    if not sound.value():
        raise GenerationFailed("the latents are not finite: the checkpoint or the parameters drive them out of range")
    return [_picture(decoder, latents, index, *pair) for index, pair in enumerate(fetched)]


def output(node: Output, bench: Bench) -> list[Image.Image]:
    """The pictures as they are: what becomes of them is the caller's business."""
    pictures: list[Image.Image] = bench[node.pictures]
    return pictures


for _kind in (SavePictures, ShowPictures, SendPictures):
    carries_out(_kind)(output)


def _decoded(decoder: Decoder, latents: Tensor) -> tuple[Tensor, Tensor]:
    """One decode. Where it finds no memory it is tried once more, without what is held only to be fast."""
    try:
        return decoder.decode(latents)
    except Exception as error:
        if not out_of_memory(error):
            raise
    decoder.release()  # outside the except block, whose traceback would keep the tensors
    release_cached(latents.device)
    return decoder.decode(latents)


def _picture(decoder: Decoder, latents: Tensor, index: int, pixels: Fetch, finite: Fetch) -> Image.Image:
    if not finite.value() and decoder.half:
        again, finite_again = decoder.decode_in_float32(latents[index][None])
        pixels, finite = Fetch(again), Fetch(finite_again)
    if not finite.value():
        raise GenerationFailed(f"the decoded picture {index} is not finite")
    return Image.fromarray(pixels.value().numpy())
