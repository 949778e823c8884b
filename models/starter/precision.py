"""Chooses the precision of training: bfloat16 where it is cheap, float32 where steps are small. Knows no stage."""

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextlib.contextmanager
def autocast(device: torch.device) -> Iterator[None]:
    """Compute in bfloat16; on a CPU with plain attention, since the fused one's backward pass takes a quarter of a step
    there."""
    plain = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()
    with torch.autocast(device.type, torch.bfloat16), plain:
        yield


def allow_fast_arithmetic(device: torch.device) -> None:
    """Let a GPU compute float32 products at TF32's precision, and each convolution by the kernel that proves
    fastest."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


class Working:
    """Holds ``networks``, which do the work of a step, and the float32 ``masters`` that an optimizer moves.

    With ``half`` the networks are a copy in bfloat16: under autocast a GPU would cast every weight, and compute every
    norm in float32, in every step. Without it, they are the masters themselves.
    """

    def __init__(self, masters: nn.ModuleDict, *, half: bool) -> None:
        self.masters, self.half = masters, half
        self.networks = copy.deepcopy(masters).bfloat16() if half else masters
        self.dtype = torch.bfloat16 if half else torch.float32
        self._moved: list[Tensor] = list(masters.parameters())
        self._used: list[Tensor] = list(self.networks.parameters())

    def backward(self, loss: Tensor) -> None:
        """Compute the loss's gradients, in float32, at the masters."""
        for parameter in self._used:
            parameter.grad = None
        torch.autograd.backward(loss)
        if self.half:
            pairs = [(m, u.grad) for m, u in zip(self._moved, self._used, strict=True) if u.grad is not None]
            gradients = [torch.empty_like(m) if m.grad is None else m.grad for m, _ in pairs]
            torch._foreach_copy_(gradients, [gradient for _, gradient in pairs])
            for (master, _), gradient in zip(pairs, gradients, strict=True):
                master.grad = gradient

    @torch.no_grad()
    def follow(self) -> None:
        """Copy the masters into the networks, after the masters have moved."""
        if self.half:
            torch._foreach_copy_(self._used, self._moved)
