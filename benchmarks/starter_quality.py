"""Does the starter checkpoint paint what it is told? A probe, trained on rendered scenes, looks at its pictures.

    python -m benchmarks.starter_quality [--checkpoint models/starter.safetensors] [--size 256] [--count 60]

Prompts are captions of scenes whose seeds are never trained on; a picture is asked only for what its prompt says.
Beside the checkpoint at cfg 1, 4 and 8: the scenes' own renders (the ceiling: the probe's own mistakes), the same
through the checkpoint's VAE, and an untrained checkpoint (the floor). Also the VAE's PSNR on held-out scenes.
"""

import argparse
import itertools
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine import Engine, EngineConfig, GenerationRequest
from engine.checkpoint import load_checkpoint
from models.starter.captions import Caption, caption
from models.starter.export import export
from models.starter.networks import Sizes, build_text_encoder, build_unet, build_vae, decode, encode
from models.starter.pictures import HELD_OUT
from models.starter.scenes import render
from models.starter.world import COLOURS, LANDS, SKIES, SUBJECTS, Scene, draw_scene

KINDS = (*SUBJECTS[1:], *LANDS)  # what a picture is of: its subject, or the land where there is none
QUESTIONS = {"subject": KINDS, "sky": SKIES, "colour": COLOURS, "count": ("1", "2", "3")}
PROBE_SIDE = 64
CFG_SCALES = (1.0, 4.0, 8.0)


def truth(scene: Scene) -> dict[str, str]:
    """The right answers to the questions that make sense for a scene."""
    if scene.subject == "none":
        return {"subject": scene.land, "sky": scene.sky}
    return {"subject": scene.subject, "sky": scene.sky, "colour": scene.colour, "count": str(scene.count)}


def asked(told: Caption) -> dict[str, str]:
    """The right answers that a prompt demands; a land counts only where no subject was named."""
    kind = told.said.get("subject", told.said.get("land"))
    answers = {name: told.said[name] for name in ("sky", "colour", "count") if name in told.said}
    return answers | ({"subject": kind} if kind else {})


class Probe(nn.Module):
    """Pictures (B, 3, H, W) → the logits of each question."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(widths[-1] * (PROBE_SIDE // 16) ** 2, 128), nn.ReLU()
        )
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(values)) for name, values in QUESTIONS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        small = functional.interpolate(pictures, (PROBE_SIDE, PROBE_SIDE), mode="area")
        features = self.features(small * 2 - 1)
        return {name: head(features) for name, head in self.heads.items()}


def train_probe(scenes: int, epochs: int = 12) -> Probe:
    """On renders, half of them blurred, since what comes out of a VAE is."""
    torch.manual_seed(0)
    probe = Probe()
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-2)
    pool = [draw_scene(HELD_OUT * 2 + i) for i in range(scenes)]
    pictures = torch.cat([render(pool[i : i + 32], 2 * PROBE_SIDE) for i in range(0, scenes, 32)])
    answers = {name: torch.tensor([_index(scene, name) for scene in pool]) for name in QUESTIONS}
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs * (scenes // 64))
    for _ in range(epochs):
        order = torch.randperm(scenes)
        for rows in order[: scenes // 64 * 64].split(64):
            seen = _weathered(pictures[rows])
            parts = [
                functional.cross_entropy(logits, answers[name][rows], ignore_index=-1)
                for name, logits in probe(seen).items()
            ]
            optimizer.zero_grad()
            torch.stack(parts).sum().backward()
            optimizer.step()
            plan.step()
    return probe.eval()


def _index(scene: Scene, question: str) -> int:
    answer = truth(scene).get(question)
    return QUESTIONS[question].index(answer) if answer else -1


def _weathered(pictures: Tensor) -> Tensor:
    """Half of the pictures at a third of their sharpness; all a little lighter or darker."""
    side = pictures.shape[-1]
    soft = functional.interpolate(functional.interpolate(pictures, side // 3, mode="area"), side, mode="bilinear")
    pictures = torch.where(torch.rand(len(pictures), 1, 1, 1) < 0.5, soft, pictures)
    return (pictures * (0.9 + 0.2 * torch.rand(len(pictures), 1, 1, 1))).clamp(0, 1)


@torch.no_grad()
def recognised(probe: Probe, pictures: Tensor, wanted: list[dict[str, str]]) -> dict[str, float]:
    """The share of right answers to each question."""
    logits = probe(pictures)
    shares = {}
    for name, values in QUESTIONS.items():
        pairs = [(values[int(logits[name][i].argmax())], w[name]) for i, w in enumerate(wanted) if name in w]
        shares[name] = sum(a == b for a, b in pairs) / max(len(pairs), 1)
    return shares


def paint(engine: Engine, prompts: list[str], size: int, cfg_scale: float) -> tuple[Tensor, float]:
    """The engine's pictures (B, 3, size, size) in [0, 1], and the seconds that each took."""
    pictures = []
    begin = time.perf_counter()
    for number, prompt in enumerate(prompts):
        request = GenerationRequest(prompt=prompt, width=size, height=size, cfg_scale=cfg_scale, seed=10_000 + number)
        pixels = np.asarray(engine.generate(request).images[0].convert("RGB"))
        pictures.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255)
    return torch.stack(pictures), (time.perf_counter() - begin) / len(prompts)


@torch.no_grad()
def through_vae(checkpoint: Path, pictures: Tensor) -> tuple[Tensor, float]:
    """Pictures there and back, and the PSNR over all of them in dB."""
    vae = load_checkpoint(checkpoint, device=torch.device("cpu"), dtype=torch.float32).vae
    again = torch.cat([decode(vae, encode(vae, part)).clamp(0, 1) for part in pictures.split(4)])
    return again, -10 * float((again - pictures).square().mean().log10())


def untrained(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes, path = Sizes(), folder / "untrained.safetensors"
    export(build_unet(sizes), build_vae(sizes), build_text_encoder(sizes), path)
    return path


def measure(options: argparse.Namespace) -> dict[str, object]:
    scenes = [draw_scene(HELD_OUT + i) for i in range(options.count)]
    told = [caption(scene, random.Random(scene.seed)) for scene in scenes]
    wanted, prompts = [asked(t) for t in told], [t.text for t in told]
    probe = train_probe(options.probe_scenes)
    renders = torch.cat([render([scene], options.size) for scene in scenes])
    again, psnr = through_vae(options.checkpoint, renders)
    rows: dict[str, object] = {
        "renders": recognised(probe, renders, [truth(scene) for scene in scenes]),
        "renders through the VAE": recognised(probe, again, [truth(scene) for scene in scenes]),
    }
    with Engine(EngineConfig(checkpoint=options.checkpoint)) as engine:
        for cfg_scale in CFG_SCALES:
            pictures, seconds = paint(engine, prompts, options.size, cfg_scale)
            rows[f"starter, cfg {cfg_scale:g}"] = recognised(probe, pictures, wanted) | {"seconds": seconds}
    with tempfile.TemporaryDirectory() as folder, Engine(EngineConfig(checkpoint=untrained(Path(folder)))) as engine:
        pictures, _ = paint(engine, prompts, options.size, 8.0)
        rows["untrained, cfg 8"] = recognised(probe, pictures, wanted)
    return {"size": options.size, "pictures": options.count, "vae_psnr_db": psnr, "recognised": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("models/starter.safetensors"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=60, help="held-out prompts, each painted at every cfg scale")
    parser.add_argument("--probe-scenes", type=int, default=4096, help="scenes that the probe is trained on")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    result = measure(options)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
