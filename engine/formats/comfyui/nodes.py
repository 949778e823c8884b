"""The ComfyUI node classes that this project understands: their inputs, the editor's widget order, their outputs.

Knows nothing of requests and of how the nodes are wired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTROL = "control_after_generate"
"""The editor's own widget behind a seed: what becomes of it after a run. The server never sees it."""


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """``links``: input → the output type it takes. ``widgets``: the plain inputs, in the editor's order."""

    links: Mapping[str, str] = field(default_factory=dict)
    widgets: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every input of the API form."""
        return (*self.links, *(name for name in self.widgets if name != CONTROL))


NODE_CLASSES: Mapping[str, NodeClass] = {
    "CheckpointLoaderSimple": NodeClass(widgets=("ckpt_name",), outputs=("MODEL", "CLIP", "VAE")),
    "CLIPSetLastLayer": NodeClass(links={"clip": "CLIP"}, widgets=("stop_at_clip_layer",), outputs=("CLIP",)),
    "CLIPTextEncode": NodeClass(links={"clip": "CLIP"}, widgets=("text",), outputs=("CONDITIONING",)),
    "EmptyLatentImage": NodeClass(widgets=("width", "height", "batch_size"), outputs=("LATENT",)),
    "KSampler": NodeClass(
        links={"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"},
        widgets=("seed", CONTROL, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
        outputs=("LATENT",),
    ),
    "VAEDecode": NodeClass(links={"samples": "LATENT", "vae": "VAE"}, outputs=("IMAGE",)),
    "SaveImage": NodeClass(links={"images": "IMAGE"}, widgets=("filename_prefix",)),
    "PreviewImage": NodeClass(links={"images": "IMAGE"}),
}

OUTPUT_CLASSES = ("SaveImage", "PreviewImage")
"""What ComfyUI starts from: a node that none of these depends on is never run."""


def shown(text: str) -> str:
    """``text`` from a file, fit to stand in a message: short, and without control characters."""
    return text if len(text) <= 60 and text.isprintable() else ascii(text[:60])[1:-1]


def place(node_id: str, node_class: str, name: str = "") -> str:
    """Where something was found: ``workflow node 3 (KSampler) steps``."""
    return f"workflow node {shown(node_id)} ({shown(node_class)}) {shown(name)}".rstrip()


def node_id(value: object) -> str | None:
    """A node's or link's id as text (files write 3 as well as "3"), or None for what cannot be one."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    return None


def slot_index(value: object) -> int | None:
    """A slot's index, or None for what cannot be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None
