"""A tensor on its way from the device to the CPU, without making the device's thread wait for it."""

from __future__ import annotations

import torch
from torch import Tensor


class Fetch:
    """Starts copying ``tensor`` to the CPU. On a CPU the copy is there at once."""

    def __init__(self, tensor: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._value = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._value.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(tensor.device))
        else:
            self._value = tensor.cpu()

    def ready(self) -> bool:
        """Whether ``value`` would return without waiting."""
        return self._event is None or self._event.query()

    def value(self) -> Tensor:
        """The tensor on the CPU; waits for it."""
        if self._event is not None:
            self._event.synchronize()
        return self._value
