"""A function of tensors, launched as one: a CUDA graph for each set of shapes. Knows no network.

On a GPU, a network that is run operation by operation waits for the host; a graph replays the same kernels at once.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from engine.memory import out_of_memory, release_cached

_log = logging.getLogger(__name__)

_MOST_GRAPHS = 24
_MOST_SEEN = 256

Function: TypeAlias = Callable[..., tuple[Tensor, ...]]
_Shapes: TypeAlias = tuple[torch.Size, ...]
T = TypeVar("T")


class Recorder(Protocol):
    """Makes what a call does on the device repeatable."""

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        """``call``'s work as something to call again, which writes to the tensors that come with it."""

    def reset(self) -> None:
        """Nothing that was recorded is in use any more."""


class CudaRecorder:
    """Records CUDA graphs, whose memory is one pool: they are only ever replayed one after the other."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[Callable[[], object], tuple[Tensor, ...]]:
        graph = torch.cuda.CUDAGraph()
        # other threads may use the device meanwhile: a checkpoint is being loaded, say
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = call()
        return graph.replay, outputs

    def reset(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()


@dataclass(frozen=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    replay: Callable[[], object]
    outputs: tuple[Tensor, ...]

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.replay()
        return self.outputs


class Graphs:
    """``function``, whose second call with inputs of some shapes records a graph and whose later ones replay it.

    A graph is kept only if it gives the bits that ``function`` gives. Where none can be recorded, or memory does not
    suffice, ``function`` is called as it is. Not thread-safe: the device's thread owns it.
    """

    def __init__(self, function: Function, recorder: Recorder | None) -> None:
        self._function = function
        self._recorder = recorder
        self._graphs: OrderedDict[_Shapes, _Graph] = OrderedDict()
        self._seen: OrderedDict[_Shapes, bool] = OrderedDict()  # whether a graph may be tried

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What ``function`` returns. It may be overwritten by the next call: the device is to be done with it by then.

        Inputs of one place have the same dtype, device and strides each time.
        """
        if self._recorder is None:
            return self._function(*inputs)
        shapes = tuple(given.shape for given in inputs)
        graph = self._graphs.get(shapes)
        if graph is not None:
            self._graphs.move_to_end(shapes)
            return graph.run(inputs)
        if self._seen.get(shapes, False):
            return self._record(shapes, inputs, self._recorder)
        outputs = self._function(*inputs)
        self._seen.setdefault(shapes, True)
        _forget(self._seen, _MOST_SEEN)
        return outputs

    @property
    def form(self) -> str:
        """How calls run once their shapes are known: ``graph`` or ``eager``."""
        return "eager" if self._recorder is None else "graph"

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    def clear(self) -> None:
        """Give the graphs' memory back; they are recorded anew when they are needed."""
        self._graphs.clear()
        if self._recorder is not None:
            self._recorder.reset()

    def _record(self, shapes: _Shapes, inputs: tuple[Tensor, ...], recorder: Recorder) -> tuple[Tensor, ...]:
        """What ``function`` returns, and its graph for later calls."""
        expected = self._function(*inputs)
        self._seen[shapes] = False
        begin = time.perf_counter()
        try:
            own = tuple(given.clone() for given in inputs)
            graph = _Graph(own, *recorder.record(lambda: self._function(*own)))
            alike = all(map(_same_bits, expected, graph.run(inputs)))
        except Exception as error:
            if out_of_memory(error):
                self.clear()
                release_cached(inputs[0].device)
            else:
                _log.warning("no CUDA graph for %s: %s", [tuple(shape) for shape in shapes], error)
            return expected
        if alike:
            _log.info("a CUDA graph for %s, in %.2f s", [tuple(shape) for shape in shapes], time.perf_counter() - begin)
            self._seen[shapes] = True
            self._graphs[shapes] = graph
            _forget(self._graphs, _MOST_GRAPHS)
        else:
            _log.warning("the CUDA graph for %s gives other bits; not used", [tuple(shape) for shape in shapes])
        return expected


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def _forget(items: OrderedDict[_Shapes, T], most: int) -> None:
    while len(items) > most:
        items.popitem(last=False)
