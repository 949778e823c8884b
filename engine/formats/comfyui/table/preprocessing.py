"""Rows for the classes that make of pictures what networks are steered by.

``Canny`` is ComfyUI's own; the others have the names and inputs that ``comfyui_controlnet_aux`` gave them.
"""

from __future__ import annotations

from typing import Any

from engine.formats.comfyui.table.rows import Other, Row, output, row
from engine.formats.comfyui.table.templates import Always, made
from engine.workflow import preprocessing as nodes
from engine.workflow.node import Node

_HINTS = {"resolution": {"step": 64}}
_THRESHOLDS = ("low_threshold", "high_threshold")
_LINES = "ControlNet Preprocessors/Line Extractors"
_RECOLOR = "ControlNet Preprocessors/Recolor"
_OTHERS = "ControlNet Preprocessors/others"


def _preprocessor(
    class_type: str, display_name: str, category: str, description: str, node: type[Node], **fields: Any
) -> Row:
    """A row for a preprocessor, all of whose inputs but the picture may be missing. ``fields``: of the node, each with
    the name of its input, or a template."""
    inputs = [name for name in fields.values() if isinstance(name, str)]
    return row(
        class_type,
        display_name,
        category,
        description,
        inputs=("image", *(Other(name, optional=True, hints=_HINTS.get(name, {})) for name in inputs)),
        outputs=(output("IMAGE", made(node, pictures="image", **fields)),),
    )


def _lightness(class_type: str, display_name: str, measure: str) -> Row:
    return _preprocessor(
        class_type,
        display_name,
        _RECOLOR,
        f"Makes pictures grey by their {measure}.",
        nodes.Lightness,
        measure=Always(measure),
        gamma="gamma_correction",
        resolution="resolution",
    )


ROWS = (
    row(
        "Canny",
        "Canny",
        "image/preprocessors",
        "Finds the edges of pictures.",
        inputs=("image", *(Other(name, hints={"step": 0.01}) for name in _THRESHOLDS)),
        outputs=(output("IMAGE", made(nodes.Edges, pictures="image", **{name: name for name in _THRESHOLDS})),),
    ),
    _preprocessor(
        "CannyEdgePreprocessor",
        "Canny Edge",
        _LINES,
        "Finds the edges of pictures, as OpenCV does.",
        nodes.SharpEdges,
        **{name: name for name in (*_THRESHOLDS, "resolution")},
    ),
    _preprocessor(
        "ScribblePreprocessor",
        "Scribble Lines",
        _LINES,
        "Makes pictures white where they are light, and black where they have lines.",
        nodes.Scribble,
        resolution="resolution",
    ),
    _preprocessor(
        "Scribble_XDoG_Preprocessor",
        "Scribble XDoG Lines",
        _LINES,
        "Draws white lines where pictures are darker than around.",
        nodes.ScribbleOfDifferences,
        threshold="threshold",
        resolution="resolution",
    ),
    _preprocessor(
        "BinaryPreprocessor",
        "Binary Lines",
        _LINES,
        "Makes pictures white above a threshold, else black.",
        nodes.Binary,
        threshold="bin_threshold",
        resolution="resolution",
    ),
    _preprocessor(
        "LineartStandardPreprocessor",
        "Standard Lineart",
        _LINES,
        "Draws the lines of pictures in white.",
        nodes.LineArt,
        sigma="guassian_sigma",
        threshold="intensity_threshold",
        resolution="resolution",
    ),
    _preprocessor(
        "ColorPreprocessor",
        "Color Pallete",
        "ControlNet Preprocessors/T2IAdapter-only",
        "Reduces pictures to blocks of one colour.",
        nodes.ColourBlocks,
        resolution="resolution",
    ),
    _lightness("ImageLuminanceDetector", "Image Luminance", "luminance"),
    _lightness("ImageIntensityDetector", "Image Intensity", "intensity"),
    _preprocessor("TilePreprocessor", "Tile", _OTHERS, "Removes fine detail.", nodes.Tile, halvings="pyrUp_iters"),
    row(
        "InpaintPreprocessor",
        "Inpaint Preprocessor",
        _OTHERS,
        "Marks what is to be painted for ControlNets that inpaint.",
        inputs=("image", "mask", Other("black_pixel_for_xinsir_cn", optional=True)),
        outputs=(
            output(
                "IMAGE",
                made(nodes.Hollowed, pictures="image", mask="mask", black="black_pixel_for_xinsir_cn"),
            ),
        ),
    ),
)
