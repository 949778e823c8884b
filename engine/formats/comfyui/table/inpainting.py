"""Rows for the classes that say what is painted anew, and how."""

from __future__ import annotations

from engine.formats.comfyui.table.rows import Other, output, row
from engine.formats.comfyui.table.templates import Always, Choice, Made, made
from engine.parameters import Flag
from engine.workflow import editing, encoding
from engine.workflow import inpainting as nodes

_MASK = made(nodes.FittedMask, mask="mask", pictures="pixels")
_GREYED = made(encoding.EncodeForInpaint, pictures="pixels", vae="vae", mask="mask", grow_mask_by=Always(0))
_WHOLE = made(encoding.Encode, pictures="pixels", vae="vae")
_START = Choice("noise_mask", {True: made(encoding.WithNoiseMask, latents=_WHOLE, mask=_MASK), False: _WHOLE})


def _shown(prompt: str) -> Made:
    return made(nodes.WithMaskedPicture, conditioning=prompt, latents=_GREYED, mask=_MASK)


ROWS = (
    row(
        "InpaintModelConditioning",
        "InpaintModelConditioning",
        "conditioning/inpaint",
        "Shows an inpainting model the picture with a hole, and starts from the picture.",
        inputs=(
            Other("positive", like="negative"),
            Other("negative", like="positive"),
            *("vae", "pixels", "mask"),
            Other(
                "noise_mask",
                kind=Flag(),
                default=True,
                help="whether only what the mask covers is painted anew, whatever the model",
            ),
        ),
        outputs=(
            output("CONDITIONING", _shown("positive"), "positive"),
            output("CONDITIONING", _shown("negative"), "negative"),
            output("LATENT", _START, "latent"),
        ),
    ),
    row(
        "FitMaskToImage",
        "Fit Mask To Image",
        "mask",
        "Scales a mask to the size of pictures, and crops it as they are when they are encoded.",
        inputs=("mask", "image"),
        outputs=(output("MASK", made(nodes.FittedMask, mask="mask", pictures="image")),),
        ours=True,
    ),
    row(
        "FillHole",
        "Fill Hole",
        "image",
        "Fills what a mask covers with the blurred colours around it.",
        inputs=("image", "mask"),
        outputs=(output("IMAGE", made(nodes.FillHole, pictures="image", mask="mask")),),
        ours=True,
    ),
    row(
        "ImagePasteUnder",
        "Paste Under Image",
        "image",
        "Shows pictures where the mask makes a hole in another.",
        inputs=(Other("original"), "image", "mask", "x", "y"),
        outputs=(
            output(
                "IMAGE",
                made(editing.PastedUnder, original="original", pictures="image", mask="mask", x="x", y="y"),
            ),
        ),
        ours=True,
    ),
    row(
        "ShowGrey",
        "Show Grey",
        "advanced/model",
        "Shows an inpainting model that is shown no picture a grey one, as the VAE encodes it.",
        inputs=("model", "vae"),
        outputs=(output("MODEL", made(nodes.ShownGrey, model="model", vae="vae")),),
        ours=True,
    ),
    row(
        "ShowMaskedPicture",
        "Show Masked Picture",
        "conditioning/inpaint",
        "Shows an inpainting model latents of a picture, and a mask of the same size.",
        inputs=("conditioning", Other("samples"), "mask", "rounded"),
        outputs=(
            output(
                "CONDITIONING",
                made(
                    nodes.WithMaskedPicture,
                    conditioning="conditioning",
                    latents="samples",
                    mask="mask",
                    rounded="rounded",
                ),
            ),
        ),
        ours=True,
    ),
    row(
        "DifferentialDiffusion",
        "Differential Diffusion",
        "_for_testing",
        "Paints each cell of the noise mask anew from the step on at which its value says so.",
        inputs=("model", Other("strength", optional=True, hints={"step": 0.01})),
        outputs=(output("MODEL", made(nodes.DifferentialDiffusion, model="model", strength="strength")),),
    ),
)
