"""What carries nodes out: a function for each kind of node, found by ``function_of``."""

from engine.running.functions import (
    conditioning,
    controls,
    editing,
    latent_masks,
    latents,
    masks,
    patches,
    pictures,
    repainting,
    sampling,
    sigmas,
    text,
    upscaling,
    vae,
)
from engine.running.functions.registry import Bench, LatentBatch, Pause, PictureBatch, Until, Wish, function_of

__all__ = [
    "Bench",
    "LatentBatch",
    "Pause",
    "PictureBatch",
    "Until",
    "Wish",
    "conditioning",
    "controls",
    "editing",
    "function_of",
    "latent_masks",
    "latents",
    "masks",
    "patches",
    "pictures",
    "repainting",
    "sampling",
    "sigmas",
    "text",
    "upscaling",
    "vae",
]
