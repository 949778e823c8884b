"""``python -m models.starter.extras``: train the starter's LoRA and ControlNet, or go on where the last run stopped."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from models.starter import control, low_rank
from models.starter.base import load_base
from models.starter.caption_bank import write_captions
from models.starter.export import write
from models.starter.precision import allow_fast_arithmetic
from models.starter.stage import Clock, run
from models.starter.train_control import ControlStage
from models.starter.train_lora import TRIGGER, LoraStage
from models.starter.train_unet import Lesson, Phase

MODELS = Path(__file__).resolve().parents[1]
INK, EDGES = "starter-ink.safetensors", "starter-edges.safetensors"
MOST_BYTES = {INK: 2_200_000, EDGES: 3_800_000}
EDGES_METADATA = {"modelspec.title": "starter-edges", "modelspec.architecture": "stable-diffusion-v1/controlnet"}
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class ExtrasPlan:
    """Steps and batches of both stages."""

    captions: int  # for each scene
    rank: int
    lora_peak: float = 2e-3  # learning rate
    lora: tuple[Phase, ...]
    control_peak: float = 1e-3
    control: tuple[Phase, ...]

    @property
    def scenes(self) -> int:
        """Return how many scenes there are captions for."""
        phases = (*self.lora, *self.control)
        return max(lesson.scenes for phase in phases for lesson in phase.lessons)


FULL = ExtrasPlan(
    captions=6,
    rank=8,
    lora=(Phase(steps=325, lessons=(Lesson(size=256, batch=6, scenes=300),)),),
    control=(Phase(steps=350, lessons=(Lesson(size=256, batch=4, scenes=300),)),),
)
_LITTLE = (Phase(steps=3, lessons=(Lesson(size=64, batch=2, scenes=4),)),)
TINY = ExtrasPlan(captions=2, rank=2, lora=_LITTLE, control=_LITTLE)


def train_extras(
    plan: ExtrasPlan, checkpoint: Path, folder: Path, out: Path, device: torch.device, minutes: float
) -> bool:
    """Train both for at most ``minutes``, write each into ``out`` once it is done, and return whether both are."""
    clock = Clock(deadline=time.monotonic() + 60 * minutes)
    folder.mkdir(parents=True, exist_ok=True)
    allow_fast_arithmetic(device)
    captions = write_captions(plan.scenes, plan.captions, device)
    base = load_base(checkpoint, device)
    lora = LoraStage(base, device, folder, captions, phases=plan.lora, rank=plan.rank, peak=plan.lora_peak)
    if not run(lora, folder, clock):
        return False
    write(low_rank.tensors(lora.adapters), out / INK, lora_metadata(plan.rank), MOST_BYTES[INK])
    base = load_base(checkpoint, device)  # without the adapters
    edges = ControlStage(base, device, folder, captions, phases=plan.control, peak=plan.control_peak)
    if not run(edges, folder, clock):
        return False
    write(control.tensors(edges.control), out / EDGES, EDGES_METADATA, MOST_BYTES[EDGES])
    return True


def lora_metadata(rank: int) -> dict[str, str]:
    """Return a LoRA file's metadata, by kohya's names and by those of the model specification."""
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "starter.safetensors",
        "ss_tag_frequency": json.dumps({TRIGGER: {TRIGGER: 1}}),
        "modelspec.title": "starter-ink",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.trigger_phrase": TRIGGER,
    }


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.starter.extras", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop cleanly after so long, to be resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--checkpoint", type=Path, default=MODELS / "starter.safetensors", help="what they are for")
    parser.add_argument("--folder", type=Path, help="state, grids, progress")
    parser.add_argument("--out", type=Path, help="where the two files go, each once its stage is done")
    parser.add_argument("--tiny", action="store_true", help="a few steps, to see that all works")
    options = parser.parse_args()
    folder = options.folder or Path("runs/starter-extras-tiny" if options.tiny else "runs/starter-extras")
    out = options.out or (folder if options.tiny else MODELS)
    plan, device = TINY if options.tiny else FULL, torch.device(options.device)
    try:
        done = train_extras(plan, options.checkpoint, folder, out, device, options.minutes)
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here, but for the last minute.", flush=True)
        return INTERRUPTED
    print("Both are done." if done else "Time is up; the same command goes on from here.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
