"""Runs the stages in their order, each from where it stopped, then writes the checkpoint. Knows no stage's details."""

import time
from pathlib import Path

import torch
from torch import nn

from models.starter.caption_bank import write_captions
from models.starter.export import export
from models.starter.networks import build_text_encoder, build_unet, build_vae
from models.starter.pictures import save_grid
from models.starter.plan import Plan
from models.starter.precision import allow_fast_arithmetic
from models.starter.stage import Clock, run
from models.starter.train_text import TextStage
from models.starter.train_unet import SHOWN, UnetStage, decoded, sample
from models.starter.train_vae import VaeStage


def train(plan: Plan, folder: Path, out: Path, device: torch.device, minutes: float) -> bool:
    """Train for at most ``minutes``, and return whether all is done.

    Only then is ``out`` written: a checkpoint that exists is never replaced by a half-trained one, which lies in
    ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(deadline=time.monotonic() + 60 * minutes)
    allow_fast_arithmetic(device)
    done = _train(plan, folder, device, clock)
    if (folder / "unet.pt").exists():
        pack(plan, folder, out if done else folder / "so-far.safetensors", device)
    return done


def _train(plan: Plan, folder: Path, device: torch.device, clock: Clock) -> bool:
    vae = VaeStage(
        plan.sizes,
        device,
        steps=plan.vae_steps,
        batch=plan.vae_batch,
        crop=plan.vae_crop,
        scenes=plan.vae_scenes,
        sides=plan.vae_sides,
        peak=plan.vae_peak,
    )
    if not run(vae, folder, clock):
        return False
    del vae
    captions = write_captions(plan.scenes, plan.captions, device)
    text = TextStage(plan.sizes, device, captions, steps=plan.text_steps, batch=plan.text_batch)
    if not run(text, folder, clock):
        return False
    unet = UnetStage(plan.sizes, device, folder, plan.phases, text.encoder, captions, plan.unet_peak)
    return run(unet, folder, clock)


def pack(plan: Plan, folder: Path, out: Path, device: torch.device) -> None:
    """Write the checkpoint of the averages so far, and grids of what they paint."""
    networks = nn.ModuleDict({"unet": build_unet(plan.sizes), "text": build_text_encoder(plan.sizes)})
    networks.load_state_dict(_saved(folder / "unet.pt")["averages"])
    vae = build_vae(plan.sizes)
    vae.load_state_dict(_saved(folder / "vae.pt")["vae"])
    size = export(networks["unet"], vae, networks["text"], out)
    print(f"{out}: {size:,} bytes", flush=True)
    for side in sorted({lesson.size for lesson in plan.phases[-1].lessons}):
        latents = sample(networks.to(device), SHOWN, side, device)
        save_grid(decoded(vae.to(device), latents), 4, folder / "grids" / f"final-{side}.png")


def _saved(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    state: dict[str, dict[str, torch.Tensor]] = torch.load(path, map_location="cpu", weights_only=True)
    return state
