"""Rows for the classes that load, decode, encode and upscale pictures, and for output nodes."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import made
from engine.parameters import WholeNumber
from engine.workflow import encoding, masks, pictures, upscaling

_PICTURE = Other("image", files="input", hints={"image_upload": True})
_FRAMES = (
    Other("temporal_size", kind=WholeNumber(8, 4096), default=64, help="ignored: for videos", lenient=True),
    Other("temporal_overlap", kind=WholeNumber(4, 4096), default=8, help="ignored: for videos", lenient=True),
)
_TILES = (Other("tile_size", lenient=True), Other("overlap", lenient=True), *_FRAMES)
"""Old graphs lack some of these or all."""

ROWS = (
    row(
        "LoadImage",
        "Load Image",
        "image",
        "Loads a picture that was handed in, and the mask of its transparency.",
        inputs=(_PICTURE,),
        outputs=(
            output("IMAGE", made(pictures.LoadPicture, name="image")),
            output("MASK", made(masks.LoadTransparency, name="image")),
        ),
    ),
    row(
        "LoadImageMask",
        "Load Image (as Mask)",
        "mask",
        "Loads a channel of a picture that was handed in.",
        inputs=(_PICTURE, "channel"),
        outputs=(output("MASK", made(masks.LoadMask, name="image", channel="channel")),),
    ),
    row(
        "VAEDecode",
        "VAE Decode",
        "latent",
        "Turns latents into pixels.",
        inputs=("samples", "vae"),
        outputs=(output("IMAGE", made(pictures.Decode, latents="samples", vae="vae")),),
    ),
    row(
        "VAEDecodeTiled",
        "VAE Decode (Tiled)",
        "_for_testing",
        "Turns latents into pixels tile by tile, which takes less memory.",
        inputs=("samples", "vae", *_TILES),
        outputs=(
            output(
                "IMAGE",
                made(pictures.DecodeTiled, latents="samples", vae="vae", tile_size="tile_size", overlap="overlap"),
            ),
        ),
    ),
    row(
        "VAEEncode",
        "VAE Encode",
        "latent",
        "Turns pixels into latents.",
        inputs=("pixels", "vae"),
        outputs=(output("LATENT", made(encoding.Encode, pictures="pixels", vae="vae")),),
    ),
    row(
        "VAEEncodeTiled",
        "VAE Encode (Tiled)",
        "_for_testing",
        "Turns pixels into latents tile by tile, which takes less memory.",
        inputs=("pixels", "vae", *_TILES),
        outputs=(
            output(
                "LATENT",
                made(encoding.EncodeTiled, pictures="pixels", vae="vae", tile_size="tile_size", overlap="overlap"),
            ),
        ),
    ),
    row(
        "VAEEncodeForInpaint",
        "VAE Encode (for Inpainting)",
        "latent/inpaint",
        "Turns pixels into latents that are painted anew where the mask says so.",
        inputs=("pixels", "vae", "mask", Other("grow_mask_by", lenient=True)),
        outputs=(
            output(
                "LATENT",
                made(
                    encoding.EncodeForInpaint,
                    pictures="pixels",
                    vae="vae",
                    mask="mask",
                    grow_mask_by="grow_mask_by",
                ),
            ),
        ),
    ),
    row(
        "UpscaleModelLoader",
        "Load Upscale Model",
        "loaders",
        "Loads a network that enlarges pictures.",
        inputs=(Other("model_name", files="upscale_models"),),
        outputs=(output("UPSCALE_MODEL", made(upscaling.UpscalerFile, name="model_name")),),
    ),
    row(
        "ImageUpscaleWithModel",
        "Upscale Image (using Model)",
        "image/upscaling",
        "Enlarges pictures with a network.",
        inputs=("upscale_model", "image"),
        outputs=(output("IMAGE", made(upscaling.Upscale, upscaler="upscale_model", pictures="image")),),
    ),
    row(
        "SaveImage",
        "Save Image",
        "image",
        "Keeps pictures. File names are drawn, so that they cannot be guessed.",
        inputs=("images", "filename_prefix"),
        end=made(pictures.SavePictures, pictures="images", prefix="filename_prefix"),
    ),
    row(
        "PreviewImage",
        "Preview Image",
        "image",
        "Shows pictures, and keeps them for a while.",
        inputs=("images",),
        end=made(pictures.ShowPictures, pictures="images"),
    ),
    row(
        "SaveImageWebsocket",
        "SaveImageWebsocket",
        "api/image",
        "Sends pictures to the client that the workflow belongs to, and does not keep them.",
        inputs=("images",),
        end=made(pictures.SendPictures, pictures="images"),
    ),
)
