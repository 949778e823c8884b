"""Runs the second stage, in which the text encoder learns to read: it finds what a caption says about the scene.

A UNet that learns from a text encoder that can read needs a fraction of the samples; the encoder is trained further
with the UNet. Knows no pictures.
"""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.starter.caption_bank import CaptionBank
from models.starter.captions import ANSWERS, answers_of, caption
from models.starter.networks import END, Sizes, build_text_encoder
from models.starter.pictures import HELD_OUT
from models.starter.tokens import known_tokens, with_strange_words
from models.starter.train_vae import rate
from models.starter.world import draw_scene


class TextStage:
    """Trains every token after the end of the text to know all that was said, in the last layer and the last but
    one."""

    name = "text"

    def __init__(self, sizes: Sizes, device: torch.device, captions: CaptionBank, *, steps: int, batch: int) -> None:
        self.steps, self.batch, self.device, self.captions = steps, batch, device, captions
        torch.manual_seed(1)
        self.encoder = build_text_encoder(sizes).to(device)
        table = self.encoder.get_input_embeddings().weight
        self.known = known_tokens().to(device)[:, None]
        with torch.no_grad():
            table.mul_(self.known)
        table.register_hook(lambda gradient: gradient * self.known)
        self.heads = nn.Linear(sizes.text, sum(len(values) + 1 for values in ANSWERS.values())).to(device)
        parameters = [*self.encoder.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-2, fused=True)

    def step(self, number: int) -> dict[str, Tensor]:
        rng, draw = random.Random(number), torch.Generator(self.device).manual_seed(number)
        scenes = torch.randint(len(self.captions), (self.batch,), generator=draw, device=self.device)
        tokens, answers = self.captions.draw(scenes, draw)
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-3 * rate(number, self.steps)
        loss = torch.stack([self._loss(features, answers) for features in self._after_the_end(tokens, rng)]).sum()
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimizer.step()
        return {"loss": loss.detach()}

    def _after_the_end(self, tokens: Tensor, rng: random.Random) -> list[Tensor]:
        """Return features (B, width) at the end of the text and at a later token, of the last and the last but one
        layer."""
        output = self.encoder(tokens, output_hidden_states=True)
        last, before = output.last_hidden_state, self.encoder.final_layer_norm(output.hidden_states[-2])
        rows, end = torch.arange(len(tokens), device=self.device), (tokens == END).int().argmax(1)
        later = torch.maximum(end, torch.full_like(end, rng.randrange(tokens.shape[1])))
        return [last[rows, end], last[rows, later], before[rows, later]]

    def _loss(self, features: Tensor, answers: Tensor) -> Tensor:
        logits = self.heads(features).split([len(values) + 1 for values in ANSWERS.values()], dim=1)
        return torch.stack([functional.cross_entropy(x, answers[:, i]) for i, x in enumerate(logits)]).sum() / 3

    @torch.no_grad()
    def right(self, count: int = 500) -> float:
        """Return the share of held-out captions of which everything is understood."""
        rng = random.Random(HELD_OUT)
        captions = [caption(draw_scene(HELD_OUT + i), rng) for i in range(count)]
        tokens = torch.tensor([with_strange_words(c.text, rng) for c in captions], device=self.device)
        features = self._after_the_end(tokens, rng)[0]
        logits = self.heads(features).split([len(values) + 1 for values in ANSWERS.values()], dim=1)
        read = torch.stack([x.argmax(1) for x in logits], dim=1).cpu()
        return (read == torch.tensor([answers_of(c) for c in captions])).all(1).float().mean().item()

    def state(self) -> dict[str, Any]:
        parts = {"encoder": self.encoder, "heads": self.heads, "optimizer": self.optimizer}
        return {name: part.state_dict() for name, part in parts.items()}

    def resume(self, state: dict[str, Any]) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])

    def show(self, folder: Path, number: int) -> None:
        print(f"text  {number}  {self.right():.1%} of held-out captions read without a fault", flush=True)

    def finish(self) -> None:
        pass
