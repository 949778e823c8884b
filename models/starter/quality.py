"""Measures whether the starter checkpoint paints what its prompts say: ``python -m models.starter.quality``.

A probe, a small classifier trained on rendered scenes, answers questions about its pictures. The prompts are captions
of scenes whose seeds are never trained on, and a picture is judged only on what its prompt says. Beside the checkpoint
at cfg 1, 4 and 8 stand the scenes' own renders (the ceiling, which shows the probe's mistakes), the renders through
the checkpoint's VAE, and an untrained checkpoint (the floor). The VAE's PSNR on held-out scenes is measured too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import itertools
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine import Engine, EngineConfig, GenerationRequest
from engine.checkpoint import load_checkpoint
from engine.device.devices import device_name
from models.starter.captions import Caption, caption
from models.starter.export import export
from models.starter.networks import Sizes, build_text_encoder, build_unet, build_vae, decode, encode
from models.starter.pictures import HELD_OUT, save_grid
from models.starter.scenes import render
from models.starter.world import COLOURS, LANDS, SKIES, SUBJECTS, Scene, draw_scene

KINDS = (*SUBJECTS[1:], *LANDS)  # what a picture is of: its subject, or the land where there is none
QUESTIONS = {"subject": KINDS, "sky": SKIES, "colour": COLOURS, "count": ("1", "2", "3")}
PROBE_SIDE = 64
CFG_SCALES = (1.0, 4.0, 8.0)
TOGETHER = 32  # pictures that are rendered, or requests that run, at the same time
SHOWN = 40  # pictures in a grid


def truth(scene: Scene) -> dict[str, str]:
    """Give the right answers to the questions that make sense for a scene."""
    if scene.subject == "none":
        return {"subject": scene.land, "sky": scene.sky}
    return {"subject": scene.subject, "sky": scene.sky, "colour": scene.colour, "count": str(scene.count)}


def demanded(prompt: Caption) -> dict[str, str]:
    """Give the answers that a prompt demands; its land counts only if it names no subject."""
    kind = prompt.said.get("subject", prompt.said.get("land"))
    answers = {name: prompt.said[name] for name in ("sky", "colour", "count") if name in prompt.said}
    return answers | ({"subject": kind} if kind else {})


class Probe(nn.Module):
    """Classifies pictures (B, 3, H, W) in [0, 1]: gives logits (B, answers) for each question."""

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


def rendered(scenes: Sequence[Scene], size: int, device: torch.device) -> Tensor:
    """Render the scenes themselves, (B, 3, size, size) in [0, 1]."""
    return torch.cat([render(scenes[i : i + TOGETHER], size, device) for i in range(0, len(scenes), TOGETHER)])


def train_probe(scenes: int, device: torch.device, epochs: int = 12) -> Probe:
    """Train a probe on renders. Half of them are blurred, because what comes out of a VAE is."""
    torch.manual_seed(0)
    probe = Probe().to(device)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-2)
    pool = [draw_scene(HELD_OUT * 2 + i) for i in range(scenes)]
    pictures = rendered(pool, 2 * PROBE_SIDE, device)
    answers = {name: torch.tensor([_index(scene, name) for scene in pool], device=device) for name in QUESTIONS}
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs * (scenes // 64))
    for _ in range(epochs):
        order = torch.randperm(scenes).to(device)
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
    """Blur half of the pictures to a third of their resolution, and make all a little lighter or darker."""
    side, lots = pictures.shape[-1], torch.rand(2, len(pictures), 1, 1, 1).to(pictures.device)
    soft = functional.interpolate(functional.interpolate(pictures, side // 3, mode="area"), side, mode="bilinear")
    return (torch.where(lots[0] < 0.5, soft, pictures) * (0.9 + 0.2 * lots[1])).clamp(0, 1)


@torch.no_grad()
def recognised(probe: Probe, pictures: Tensor, wanted: list[dict[str, str]]) -> dict[str, float]:
    """Give the share of right answers to each question."""
    logits = probe(pictures)
    shares = {}
    for name, values in QUESTIONS.items():
        said = logits[name].argmax(1).tolist()
        pairs = [(values[said[i]], w[name]) for i, w in enumerate(wanted) if name in w]
        shares[name] = sum(a == b for a, b in pairs) / max(len(pairs), 1)
    return shares


def engine_of(checkpoint: Path, device: torch.device) -> Engine:
    """Open an engine for ``checkpoint`` in float32 that advances ``TOGETHER`` pictures at a time."""
    return Engine(
        EngineConfig(
            checkpoint=checkpoint,
            device=str(device),
            dtype="float32",
            batching="fast",
            unet_rows=2 * TOGETHER,
            max_in_flight=TOGETHER,
        )
    )


def paint(engine: Engine, prompts: list[str], size: int, cfg_scale: float) -> tuple[Tensor, float]:
    """Give the engine's pictures (B, 3, size, size) in [0, 1], and the seconds per picture, many at a time."""
    begin = time.perf_counter()
    handles = [
        engine.submit(
            GenerationRequest(prompt=prompt, width=size, height=size, cfg_scale=cfg_scale, seed=10_000 + number)
        )
        for number, prompt in enumerate(prompts)
    ]
    pictures = [np.asarray(handle.result().images[0].convert("RGB")) for handle in handles]
    seconds = (time.perf_counter() - begin) / len(prompts)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255, seconds


@torch.no_grad()
def through_vae(checkpoint: Path, pictures: Tensor) -> tuple[Tensor, float]:
    """Encode and decode pictures with the checkpoint's VAE; also give the PSNR over all of them in dB."""
    vae = load_checkpoint(checkpoint, device=pictures.device, dtype=torch.float32).vae
    again = torch.cat([decode(vae, encode(vae, part)).clamp(0, 1) for part in pictures.split(4)])
    return again, -10 * float((again - pictures).square().mean().log10())


def untrained(folder: Path) -> Path:
    """Write a checkpoint of the starter's sizes with random weights into ``folder``."""
    torch.manual_seed(0)
    sizes, path = Sizes(), folder / "untrained.safetensors"
    export(build_unet(sizes), build_vae(sizes), build_text_encoder(sizes), path)
    return path


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Measure everything at one size of picture."""
    device, size = torch.device(options.device), options.size
    scenes = [draw_scene(HELD_OUT + i) for i in range(options.count)]
    captions = [caption(scene, random.Random(scene.seed)) for scene in scenes]
    wanted, prompts = [demanded(each) for each in captions], [each.text for each in captions]
    probe = train_probe(options.probe_scenes, device)
    renders = rendered(scenes, size, device)
    again, psnr = through_vae(options.checkpoint, renders)
    rows: dict[str, object] = {
        "renders": recognised(probe, renders, [truth(scene) for scene in scenes]),
        "renders through the VAE": recognised(probe, again, [truth(scene) for scene in scenes]),
    }
    with engine_of(options.checkpoint, device) as engine:
        for cfg_scale in CFG_SCALES:
            pictures, seconds = paint(engine, prompts, size, cfg_scale)
            rows[f"starter, cfg {cfg_scale:g}"] = recognised(probe, pictures.to(device), wanted) | {"seconds": seconds}
            if options.grids:
                save_grid(pictures[:SHOWN], 8, options.grids / f"starter-{size}-cfg-{cfg_scale:g}.png")
    with tempfile.TemporaryDirectory() as folder, engine_of(untrained(Path(folder)), device) as engine:
        pictures, _ = paint(engine, prompts, size, 8.0)
        rows["untrained, cfg 8"] = recognised(probe, pictures.to(device), wanted)
    asked_for = {name: sum(name in w for w in wanted) for name in QUESTIONS}
    return {"size": size, "pictures": options.count, "asked": asked_for, "vae_psnr_db": psnr, "recognised": rows}


def circumstances(options: argparse.Namespace) -> dict[str, object]:
    """Give what the figures depend on: checkpoint, commit, device, precision and versions."""
    return {
        "checkpoint_sha256": hashlib.sha256(options.checkpoint.read_bytes()).hexdigest(),
        "commit": options.commit,
        "device": device_name(torch.device(options.device)),
        "dtype": "float32",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")},
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m models.starter.quality", description=__doc__.split(":")[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("models/starter.safetensors"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, nargs="+", default=[256], help="width and height; one run for each")
    parser.add_argument("--count", type=int, default=100, help="held-out prompts, each with every cfg scale")
    parser.add_argument("--probe-scenes", type=int, default=4096, help="scenes to train the probe on")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--grids", type=Path, help="also write grids of the pictures into this folder")
    parser.add_argument("--commit", help="commit of the code, for the record")
    options = parser.parse_args()
    results = [measure(argparse.Namespace(**vars(options) | {"size": size})) for size in options.size]
    text = json.dumps(circumstances(options) | {"results": results}, indent=2)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
