"""What carries nodes out: a function for each kind of node, found by ``function_of``."""

from engine.running.functions import conditioning, latents, patches, pictures, repainting, sampling, sigmas, text
from engine.running.functions.registry import Bench, LatentBatch, Pause, Until, Wish, function_of

__all__ = [
    "Bench",
    "LatentBatch",
    "Pause",
    "Until",
    "Wish",
    "conditioning",
    "function_of",
    "latents",
    "patches",
    "pictures",
    "repainting",
    "sampling",
    "sigmas",
    "text",
]
