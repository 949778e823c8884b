"""One workflow on its way through the engine: which node is next, what it waits for, how long each stage took.

Knows no other workflow and no thread; the loop drives it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from PIL import Image
from torch import Tensor, inference_mode

from engine.batching.members import Conditioning, Member
from engine.batching.trajectory import Trajectory
from engine.device.transfer import Fetch
from engine.errors import BadRequest, BrokenCheckpoint
from engine.handle import GenerationResult, Handle, Progress, Timings
from engine.pictures.decoder import Decoder, latents_of
from engine.pictures.inputs import InputPicture
from engine.running.checking import broken_in_callers_words
from engine.running.functions import Bench, LatentBatch, Pause, PictureBatch, Until, Wish, function_of
from engine.running.observer import Observer
from engine.running.pool import Lease
from engine.workflow.from_request import field_of
from engine.workflow.needs import Needs
from engine.workflow.node import Node, in_order
from engine.workflow.pictures import Decode, DecodeTiled, Output
from engine.workflow.weights import FindFile, Weights
from engine.workflow.workflow import Place, Workflow

_log = logging.getLogger(__name__)

_LONG = 0.05
"""Seconds that nodes may take one after the other before others get their turn."""

_STAGES = ("load", "encode", "wait", "sample", "decode")


@dataclass(eq=False)
class Execution:
    """A workflow, from its acceptance to its result."""

    handle: Handle
    workflow: Workflow
    inputs: Mapping[str, InputPicture]
    """The pictures that it loads, by name."""
    needs: Needs
    lease: Lease[Any]
    """The use of its weights."""
    places: Mapping[Weights, int]
    """Which of the lease's things are the weights of the workflow."""
    device: torch.device
    observer: Observer
    path_of: FindFile
    """Gives the path of a file that the workflow names."""
    previews: bool = False
    owner: Hashable = None
    keep: Sequence[Place] = ()
    """Whose values the result has."""
    trajectory: Trajectory | None = None
    """The sampling that is waiting or under way."""
    tiled: Set[Node] = frozenset()
    """The nodes that work in tiles, an upscaler in smaller ones, for want of memory."""
    _course: Generator[Wish, Any, GenerationResult] | None = None
    _spent: Counter[str] = field(default_factory=Counter)  # seconds, by stage
    _submitted: float = field(default_factory=time.perf_counter)
    _preview: Fetch | None = None
    _at: Node | None = None
    _shown: str | None = None
    _made: dict[str, list[Image.Image]] = field(default_factory=dict)
    """The pictures of output nodes that have not been reported yet."""
    _cached: set[Node] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.lease.waits:
            self._cached |= {node for node, weights in self.needs.weights.items() if weights in self.places}
        self._resumed = self._submitted
        self._latest = self._submitted  # one reading of the clock, so that the stages add up to the total
        self._steps_before = 0  # of the samplings that are done
        self._steps_to_come = [steps for steps in self.needs.steps.values() if steps > 0]

    @property
    def resident(self) -> dict[Node, Any]:
        """The resident things, by the nodes that stand for them.

        Raises what loading one of them raised; ``BrokenCheckpoint`` says what names the file.
        """
        try:
            things, weights = self.lease.resident.result(timeout=0), self.needs.weights
        except BrokenCheckpoint as error:
            raise broken_in_callers_words(error, self.workflow, self.handle.request, self.path_of) from None
        resident: dict[Node, Any] = {each: things[place] for each, place in self.places.items()}
        return resident | {node: resident[each] for node, each in weights.items() if each in resident}

    @property
    def last_sampling(self) -> bool:
        """Whether no further sampling comes after the one at hand."""
        return len(self._steps_to_come) <= 1

    @property
    def node(self) -> str | None:
        """The id of the node that is being carried out."""
        return None if self._at is None else self.workflow.ids.get(self._at)

    @property
    def cached(self) -> tuple[str, ...]:
        """The ids of the nodes that had nothing to do: their weights were resident, or their prompts remembered."""
        places = self.workflow.places
        busy = {id for (id, _), node in places.items() if node not in self._cached}
        return tuple(dict.fromkeys(id for id, _ in places if id not in busy))

    def moved(self) -> Progress | None:
        """Return where it is, if that is another node than when this was last asked or it has made pictures since; None
        if not, and at the end."""
        node, made = self.node, self.made()
        if node is None or (node == self._shown and made is None):
            return None
        self._shown = node
        steps_to_come = sum(self._steps_to_come)
        done = self._steps_before / (self._steps_before + steps_to_come + 1)
        stage: Literal["waiting", "decoding"] = "waiting" if steps_to_come else "decoding"
        return Progress(stage=stage, done=done, node=node, cached=self.cached, made=made)

    def made(self) -> GenerationResult | None:
        """Return what there is of the result since this was last asked, where other outputs follow; None for
        nothing."""
        made, self._made = self._made, {}
        return self._result(made) if made else None

    def resume(self, answer: Tensor | None = None) -> Wish | GenerationResult:
        """Go on to the next wish, or to the end. ``answer``: the final x, after a trajectory. Raises what a node's
        function raises."""
        if self._course is None:
            self._course = self._carried_out()
        if self.trajectory is not None:
            self._steps_before += self._steps_to_come.pop(0) if self._steps_to_come else 0
        self.trajectory, self._resumed = None, time.perf_counter()
        try:
            wish = self._course.send(answer)
        except StopIteration as stop:
            result: GenerationResult = stop.value
            return result
        except BadRequest as error:
            raise self.located(error) from None
        if isinstance(wish, Trajectory):
            self.trajectory = wish
        return wish

    def located(self, error: BadRequest) -> BadRequest:
        """Return ``error`` in the caller's words: the field of a request, or the place in a graph."""
        placed = BadRequest(error.field, error.value, error.allowed, node=error.node or self._at)
        if self.handle.request is not None:
            return BadRequest(field_of(self.handle.request, placed), placed.value, placed.allowed)
        return self.workflow.located(placed)

    def mark(self, stage: str) -> None:
        """Charge the time since the last mark to ``stage``."""
        now = time.perf_counter()
        self._spent[stage] += now - self._latest  # type: ignore[assignment]
        self._latest = now

    def close(self) -> None:
        """Let go of everything that it holds."""
        if self._course is not None:
            self._course.close()
        self._course = self.trajectory = self._preview = None
        self.lease.release()

    def done(self, trajectory: Trajectory) -> float:
        """Return the share of all sampling steps that are done while ``trajectory`` is under way."""
        total = self._steps_before + sum(self._steps_to_come) + 1  # the pictures' decoding is the last step
        return 0.0 if trajectory.steps is None else (self._steps_before + trajectory.step) / max(total, 1)

    def preview(self) -> Image.Image | None:
        """Return the latest preview that is on the CPU. One that fails costs this workflow its previews, and nothing
        else."""
        trajectory = self.trajectory
        if not self.previews or trajectory is None or trajectory.denoised is None:
            return None
        try:
            before = self._preview
            self._preview = Fetch(self._decoder().preview(latents_of(trajectory.denoised[:1])))
            shown = self._preview if self._preview.ready() else before
            return Image.fromarray(shown.value().numpy()) if shown is not None and shown.ready() else None
        except Exception:
            _log.exception("no previews for this request")
            self.previews = False
            return None

    def _decoder(self) -> Decoder:
        """Of the VAE that decodes the pictures, for previews."""
        nodes = reversed(self.workflow.nodes)
        decode = next(node for node in nodes if isinstance(node, Decode | DecodeTiled))
        decoder: Decoder = self.resident[decode.vae].decoder
        return decoder

    def _carried_out(self) -> Generator[Wish, Any, GenerationResult]:
        workflow = self.workflow
        kept = {place: workflow.at(place) for place in self.keep}
        latents = _last_latents(workflow)
        bench = Bench(self.device, self.resident, {}, self.observer, self.owner, self.inputs, self.tiled, self._cached)
        nodes = in_order(*workflow.outputs.values(), *kept.values()) if kept else workflow.nodes
        at_work = max((place for place, node in enumerate(nodes) if not isinstance(node, Output)), default=-1)
        uses = Counter(source for node in nodes for source in node.sources())
        uses.update([*workflow.outputs.values(), *kept.values(), *latents])
        for place, node in enumerate(nodes):
            self._at = node
            made = function_of(node)(node, bench)
            bench.values[node] = (yield from made) if isinstance(made, Generator) else made
            _forget(node.sources(), uses, bench.values)
            if isinstance(node, Output) and place < at_work:
                self._made |= {id: list(bench[node]) for id, output in workflow.outputs.items() if output == node}
            if time.perf_counter() - self._resumed > _LONG:
                yield Pause()
        self._at = None
        fetches = {node: [Fetch(each) for each in _tensors(bench[node])] for node in (*latents, *kept.values())}
        yield Until([fetch for each in fetches.values() for fetch in each])
        with inference_mode(False):  # callers may change what they are given
            values = {node: [fetch.value().clone() for fetch in each] for node, each in fetches.items()}
        pictures = {id: list(bench[output]) for id, output in workflow.outputs.items()}
        self.mark("decode")
        shown = {place: _shown(values[node], bench[node]) for place, node in kept.items()}
        return self._result(pictures, next((values[node][0] for node in latents), None), shown)

    def _result(
        self, outputs: dict[str, list[Image.Image]], latents: Tensor | None = None, kept: dict[Place, Any] | None = None
    ) -> GenerationResult:
        return GenerationResult(
            outputs=outputs,
            latents=torch.empty(0, 4, 0, 0) if latents is None else latents,
            kept=kept or {},
            request=self.handle.request,
            workflow=self.workflow,
            timings=self._timings(),
            record=self._record(),
        )

    def _timings(self) -> Timings:
        return Timings(**{stage: float(self._spent[stage]) for stage in _STAGES}, total=self._latest - self._submitted)

    def _record(self) -> dict[str, Any]:
        """Of its checkpoint; of several, that of the first one, and the files of all; and of what changes them."""
        things = dict.fromkeys(self.resident.values())
        records = [thing.record for thing in things if hasattr(thing, "record")]
        whole: dict[str, Any] = {}
        for record in records:
            whole = record | whole
        for part in ("adapters", "merged", "embeddings"):
            entries = [entry for record in records for entry in record.get(part, ())]
            whole |= {part: [e for i, e in enumerate(entries) if e not in entries[:i]]} if entries else {}
        files = list(dict.fromkeys(record["checkpoint"] for record in records if "checkpoint" in record))
        several = {"checkpoints": files} if len(files) > 1 else {}
        inputs = {"inputs": {name: picture.sha256 for name, picture in self.inputs.items()}} if self.inputs else {}
        tiled = {"tiled": sorted(self.workflow.ids.get(node, "?") for node in self.tiled)} if self.tiled else {}
        return {**whole, **several, **inputs, **tiled}


def _forget(sources: Iterable[Node], uses: Counter[Node], values: dict[Node, Any]) -> None:
    """Let go of values that no further node uses."""
    for source in sources:
        uses[source] -= 1
        if not uses[source]:
            del values[source]


def _last_latents(workflow: Workflow) -> list[Node]:
    """The latents that the first output's pictures are decoded from, if any are."""
    first = in_order(next(iter(workflow.outputs.values())))
    decoded = (node.latents for node in reversed([*workflow.nodes, *first]) if isinstance(node, Decode | DecodeTiled))
    return list(itertools.islice(decoded, 1))


def _tensors(value: object) -> list[Tensor]:
    """The tensors that a value is shown as: those of each member of a conditioning; latents and their noise mask."""
    match value:
        case Tensor():
            return [value]
        case PictureBatch(pixels=pixels):
            return [pixels]
        case LatentBatch(samples=samples, noise_mask=mask):
            return [samples] if mask is None else [samples, mask]
        case (Member(), *_):
            return [member.tokens for member in cast(Conditioning, value)]
        case _:
            return []


def _shown(tensors: list[Tensor], value: object) -> Any:
    """A kept value: its tensor, or its several tensors, or what it is if it has none."""
    return value if not tensors else tensors[0] if len(tensors) == 1 else tensors
