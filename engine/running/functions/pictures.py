"""Carries out the nodes for pictures that come in, and for what becomes of pictures."""

from __future__ import annotations

import torch
from PIL import Image

from engine.device.transfer import Fetch
from engine.pictures.decoder import eight_bits
from engine.running.functions.registry import Bench, Course, Pause, PictureBatch, Until, carries_out
from engine.workflow.pictures import LoadPicture, Output, SavePictures, SendPictures, ShowPictures


@carries_out(LoadPicture)
def load(node: LoadPicture, bench: Bench) -> PictureBatch:
    return PictureBatch(torch.from_numpy(bench.inputs[node.name].pixels).to(bench.device) / 255)


def output(node: Output, bench: Bench) -> Course:
    """The pictures in 8 bits, clamped and truncated; what becomes of them is the caller's business."""
    batch: PictureBatch = bench[node.pictures]
    fetches = list(batch.eight_bits)
    for one in () if fetches else batch.pixels:
        fetches.append(Fetch(eight_bits(one.clamp(0, 1))))
        yield Pause()
    if not all(fetch.ready() for fetch in fetches):
        yield Until(fetches)
    return [Image.fromarray(fetch.value().numpy()) for fetch in fetches]


for _kind in (SavePictures, ShowPictures, SendPictures):
    carries_out(_kind)(output)
