"""A trajectory's final x → latents and pictures, in slices, so that other requests' steps go on in between."""

from __future__ import annotations

from PIL import Image
from torch import Tensor, inference_mode, isfinite

from engine.device.memory import out_of_memory, release_cached
from engine.device.transfer import Fetch
from engine.errors import GenerationFailed
from engine.pictures.decoder import Decoder, latents_of


class Finish:
    """Decodes one request's pictures, one a slice. Not thread-safe: the device's thread owns it."""

    def __init__(self, decoder: Decoder, x: Tensor) -> None:
        self._decoder = decoder
        self._latents = latents_of(x)
        self._fetched = Fetch(self._latents)
        self._finite = Fetch(isfinite(self._latents).all())
        self._pictures: list[tuple[Fetch, Fetch]] = []

    @property
    def decoded(self) -> bool:
        """Whether all slices are under way; ``result`` waits for what is still on its way from the device."""
        return len(self._pictures) == self._latents.shape[0]

    def ready(self) -> bool:
        """Whether ``result`` would return without waiting."""
        return self.decoded and all(fetch.ready() for pair in self._pictures for fetch in pair)

    def slice(self) -> None:
        """Decode the next picture. A decode that finds no memory is tried once more without torch's cache."""
        one = self._latents[len(self._pictures)][None]
        try:
            pixels, finite = self._decoder.decode(one)
        except Exception as error:
            if not out_of_memory(error):
                raise
            retry = True
        else:
            retry = False
        if retry:
            self._decoder.release()
            release_cached(one.device)
            pixels, finite = self._decoder.decode(one)
        self._pictures.append((Fetch(pixels), Fetch(finite)))

    def result(self) -> tuple[Tensor, list[Image.Image]]:
        """The latents, float32 (B, 4, h, w) on the CPU, and the pictures.

        Raises ``GenerationFailed`` where latents or pixels are not finite; pixels that are so in half precision are
        decoded again in float32 first.
        """
        if not self._finite.value():
            raise GenerationFailed(
                "the latents are not finite: the checkpoint or the parameters drive them out of range"
            )
        with inference_mode(False):
            latents = self._fetched.value().clone()  # one that callers may change
        return latents, [self._picture(index) for index in range(len(self._pictures))]

    def _picture(self, index: int) -> Image.Image:
        pixels, finite = self._pictures[index]
        if not finite.value() and self._decoder.half:
            again, finite_again = self._decoder.decode_in_float32(self._latents[index][None])
            pixels, finite = Fetch(again), Fetch(finite_again)
        if not finite.value():
            raise GenerationFailed(f"the decoded picture {index} is not finite")
        return Image.fromarray(pixels.value().numpy())
