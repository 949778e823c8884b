"""Work beside the device's own."""

from __future__ import annotations

import pytest
import torch

from engine.device.transfer import Aside


def test_on_a_cpu_work_aside_is_work() -> None:
    with Aside(torch.device("cpu")).work():
        x = torch.ones(3) * 2
    assert x.sum() == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_has_a_stream_of_its_own_and_is_done_at_the_end() -> None:
    device = torch.device("cuda", 0)
    aside = Aside(device)
    own = torch.cuda.current_stream(device)
    with aside.work():
        assert torch.cuda.current_stream(device) != own
        x = torch.ones(1000, 1000, device=device) @ torch.ones(1000, 1000, device=device)
        done = torch.cuda.Event()
        done.record()
    assert done.query()
    assert torch.cuda.current_stream(device) == own
    assert bool((x == 1000).all())
