"""How long to train on what: one plan for a GPU, one for a CPU, one for a test. Knows no stage's inner life."""

from dataclasses import dataclass

import torch

from models.starter.networks import Sizes
from models.starter.train_unet import Phase


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps and batches of the three stages, and what they cost."""

    sizes: Sizes
    vae_sides: tuple[int, ...] = (128, 256, 256)
    vae_steps: int
    vae_batch: int
    text_steps: int
    text_batch: int
    phases: tuple[Phase, ...]
    cost: str


CPU = Plan(
    sizes=Sizes(),
    vae_steps=1150,
    vae_batch=6,
    text_steps=1200,
    text_batch=64,
    phases=(
        Phase(size=128, steps=3250, batch=8, scenes=4000),
        Phase(size=256, steps=1850, batch=4, scenes=2000),
    ),
    cost="about an hour on two cores with nothing else to do",
)
CUDA = Plan(
    sizes=Sizes(unet_blocks=2),
    vae_steps=3000,
    vae_batch=64,
    text_steps=2000,
    text_batch=256,
    phases=(
        Phase(size=128, steps=4000, batch=128, scenes=0),
        Phase(size=256, steps=8000, batch=128, scenes=0),
        Phase(size=512, steps=1500, batch=32, scenes=0),
    ),
    cost="1.6 million scenes, meant for a few ten-minute runs on an H100; not yet measured",
)
TINY = Plan(
    sizes=Sizes(vae=(96, 32, 32, 96), unet=(32, 32, 32, 32), unet_blocks=1, text_layers=1),
    vae_sides=(64,),
    vae_steps=3,
    vae_batch=2,
    text_steps=4,
    text_batch=4,
    phases=(Phase(size=64, steps=3, batch=2, scenes=8), Phase(size=128, steps=2, batch=2, scenes=0)),
    cost="seconds; what it makes is of no use",
)


def plan_for(device: torch.device, tiny: bool) -> Plan:
    return TINY if tiny else CUDA if device.type == "cuda" else CPU
