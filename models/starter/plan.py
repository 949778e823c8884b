"""Says how long to train on what: one plan for a GPU, one for a CPU, one for a test. Knows no stage's details."""

from dataclasses import dataclass

import torch

from models.starter.networks import Sizes
from models.starter.train_unet import Lesson, Phase


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps and batches of the three stages, and what they cost."""

    sizes: Sizes
    vae_sides: tuple[int, ...] = (128, 256, 256)  # of the pictures that the autoencoder sees crops of
    vae_scenes: int
    vae_crop: int = 64
    vae_peak: float = 2e-4  # learning rate
    vae_steps: int
    vae_batch: int
    captions: int  # for each scene
    text_steps: int
    text_batch: int
    unet_peak: float = 8e-4
    phases: tuple[Phase, ...]
    cost: str

    @property
    def scenes(self) -> int:
        """The number of scenes that have captions."""
        return max(lesson.scenes for phase in self.phases for lesson in phase.lessons)


CPU = Plan(
    sizes=Sizes(),
    vae_scenes=300,
    vae_steps=1150,
    vae_batch=6,
    captions=16,
    text_steps=1200,
    text_batch=64,
    phases=(
        Phase(steps=3250, lessons=(Lesson(size=128, batch=8, scenes=4000),)),
        Phase(steps=1850, lessons=(Lesson(size=256, batch=4, scenes=2000),)),
    ),
    cost="an hour or two on two cores, as an earlier plan of this size did; not measured as it stands",
)
_SMALL = Lesson(size=128, batch=1024, scenes=65536)
_MIDDLE = Lesson(size=256, batch=256, scenes=98304)
_LARGE = Lesson(size=512, batch=80, scenes=24576)
CUDA = Plan(
    sizes=Sizes(unet_blocks=2),
    vae_sides=(128, 256, 256, 512),
    vae_scenes=2000,
    vae_crop=128,
    vae_peak=4e-4,
    vae_steps=1400,
    vae_batch=48,
    captions=6,
    text_steps=1200,
    text_batch=512,
    unet_peak=1e-3,
    phases=(
        Phase(steps=300, lessons=(_SMALL,)),
        Phase(steps=1100, lessons=(_MIDDLE,)),
        Phase(steps=900, lessons=(_MIDDLE, _LARGE)),
    ),
    cost="8.4 minutes on an H100 with 80 GB, of which it uses 14",
)
TINY = Plan(
    sizes=Sizes(vae=(96, 32, 32, 96), unet=(32, 32, 32, 32), unet_blocks=1, text_layers=1),
    vae_sides=(64,),
    vae_scenes=4,
    vae_steps=3,
    vae_batch=2,
    captions=2,
    text_steps=4,
    text_batch=4,
    phases=(
        Phase(steps=3, lessons=(Lesson(size=64, batch=2, scenes=8),)),
        Phase(steps=2, lessons=(Lesson(size=64, batch=2, scenes=8), Lesson(size=128, batch=2, scenes=4))),
    ),
    cost="seconds; what it makes is of no use",
)


def plan_for(device: torch.device, tiny: bool) -> Plan:
    return TINY if tiny else CUDA if device.type == "cuda" else CPU
