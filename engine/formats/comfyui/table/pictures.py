"""Rows for the classes that make pictures of latents, and for output nodes."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import output, row
from engine.formats.comfyui.table.templates import made
from engine.workflow.pictures import Decode, SavePictures, SendPictures, ShowPictures

ROWS = (
    row(
        "VAEDecode",
        "VAE Decode",
        "latent",
        "Turns latents into pixels.",
        inputs=("samples", "vae"),
        outputs=(output("IMAGE", made(Decode, latents="samples", vae="vae")),),
    ),
    row(
        "SaveImage",
        "Save Image",
        "image",
        "Keeps pictures. File names are drawn, so that they cannot be guessed.",
        inputs=("images", "filename_prefix"),
        end=made(SavePictures, pictures="images", prefix="filename_prefix"),
    ),
    row(
        "PreviewImage",
        "Preview Image",
        "image",
        "Shows pictures, and keeps them for a while.",
        inputs=("images",),
        end=made(ShowPictures, pictures="images"),
    ),
    row(
        "SaveImageWebsocket",
        "SaveImageWebsocket",
        "api/image",
        "Sends pictures to the client that the workflow belongs to, and does not keep them.",
        inputs=("images",),
        end=made(SendPictures, pictures="images"),
    ),
)
