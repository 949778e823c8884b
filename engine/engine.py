"""Turns requests into pictures: puts the engine's parts together, and owns the thread that talks to the device."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.config import EngineConfig
from engine.device.devices import settle, torch_device, torch_dtype
from engine.device.memory import free_bytes
from engine.errors import BadRequest, BrokenCheckpoint
from engine.handle import GenerationResult, Handle, Listener
from engine.models import catalog
from engine.models.folders import Folders
from engine.pictures.inputs import InputPicture
from engine.pictures.inputs import Source as PictureSource
from engine.request import GenerationRequest
from engine.running.checking import broken_in_callers_words, check, in_callers_words
from engine.running.execution import Execution
from engine.running.failures import as_ours
from engine.running.inputs import inputs_of, known_of
from engine.running.loading import Loader, source_of
from engine.running.loop import Loop
from engine.running.observer import Observer, Unobserved
from engine.running.pool import Pool
from engine.running.sources import Source
from engine.tensors.kinds import FileKind
from engine.text.a1111.chunks import names_in
from engine.text.prompt import embedding_names
from engine.text.vocabulary import encoder
from engine.workflow.from_request import workflow_of
from engine.workflow.models import Checkpoint
from engine.workflow.needs import Needs
from engine.workflow.prompting import schedule_of
from engine.workflow.text import Embedding, EncodeA1111Text, EncodeText, bare_name
from engine.workflow.weights import Weights, located
from engine.workflow.workflow import Place, Workflow

_SHARE_OF_FREE_MEMORY = 0.75  # the rest is for activations, conditioning and pictures


class Engine:
    """Runs requests on one device. Thread-safe; ``with Engine(…) as engine:`` closes it.

    Where ``config.checkpoint`` names a checkpoint, it is loaded before the constructor returns; otherwise the first
    request that needs one waits for it. ``observer`` is entered around each stage of the engine's work.

    Raises ``BadRequest`` for a device that is not there, ``UnknownCheckpoint`` and ``BrokenCheckpoint``.
    """

    def __init__(self, config: EngineConfig | None = None, *, observer: Observer | None = None) -> None:
        self.config = config or EngineConfig()
        self.device = torch_device(self.config)
        self.dtype = torch_dtype(self.config, self.device)
        encoder()
        settle(self.device)
        budget = self.config.memory_budget or int(free_bytes(self.device) * _SHARE_OF_FREE_MEMORY)
        named = self.config.checkpoint
        first = catalog.resolve(named, self.config.models_folders) if named is not None else None
        rows = self.config.call_sizes(gpu=self.device.type == "cuda")[-1]
        self._observer = observer or Unobserved()
        self._loop = Loop(device=self.device, capacity=self.config.max_in_flight, rows=rows, observer=self._observer)
        # none of these has a reference to self: see _close
        self._loader = Loader(self.config, self.device, self.dtype, self._loop.warm_up)
        self._pool: Pool[Any] = Pool(self._loader.make, self._loader.size_of, budget=budget)
        self._close = weakref.finalize(self, _close, self._loop, self._pool)
        if first is not None:
            try:
                self._preload(first)
            except Exception as error:
                self.close()
                raise as_ours(error) from None

    def generate(
        self,
        wanted: GenerationRequest | Workflow | None = None,
        *,
        inputs: PictureSource | Sequence[PictureSource] = (),
        keep: Sequence[Place] = (),
    ) -> GenerationResult:
        """Return the result of ``wanted``; blocks until it is there. Raises what ``submit`` and ``Handle.result``
        raise."""
        handle = self.submit(wanted if wanted is not None else GenerationRequest(), inputs=inputs, keep=keep)
        try:
            return handle.result()
        except BaseException:
            handle.cancel()
            raise

    def submit(
        self,
        wanted: GenerationRequest | Workflow,
        *,
        previews: bool = False,
        listen: Listener | None = None,
        owner: Hashable = None,
        inputs: PictureSource | Sequence[PictureSource] = (),
        keep: Sequence[Place] = (),
        files: Mapping[str, Path] | None = None,
    ) -> Handle:
        """Accept a request or a workflow and return at once; workflows in flight share the device's work.

        A request's seed of None is drawn now. With ``previews``, every step's ``Progress`` shows a small picture.
        ``owner`` is whom it belongs to: owners take turns at the device, however many workflows each has in flight.
        ``listen`` is called for each progress, and for the end, on the thread that brings the news.
        ``inputs`` hold the pictures that a workflow loads: folders, files, or pictures by name (Pillow's, paths, or the
        bytes of files); they are decoded before this returns. ``keep`` names nodes, as (id, output), whose values the
        result has beside the pictures. ``files`` are those of checkpoints that a workflow names otherwise than the
        models folders do.

        Raises ``BadRequest`` for what can be checked without the checkpoints (pictures, sizes, prompts' syntax,
        schedules), ``UnknownCheckpoint``, and ``EngineClosed``.
        """
        request, workflow, pictures, needs = self._checked(wanted, inputs)
        for place in keep:
            workflow.at(place)
        sources_of = self._sources(request, workflow, needs, files or {})
        sources = list(dict.fromkeys(sources_of.values()))
        lease = self._pool.acquire(*sources)
        handle = Handle(request, self._cancel, listen)
        execution = Execution(
            handle=handle,
            workflow=workflow,
            inputs=pictures,
            needs=needs,
            lease=lease,
            places={weights: sources.index(source) for weights, source in sources_of.items()},
            device=self.device,
            observer=self._observer,
            previews=previews,
            path_of=partial(self._path_of, files or {}),
            owner=owner,
            keep=tuple(keep),
        )
        self._loop.submit(execution)
        return handle

    def checkpoint_file(self, name: str | None) -> Path:
        """Return the file of the checkpoint ``name``; None is the engine's own. Raises ``UnknownCheckpoint``."""
        named = name if name is not None else self.config.checkpoint
        return catalog.file_of(named, self.config.models_folders)

    def _sources(
        self, request: GenerationRequest | None, workflow: Workflow, needs: Needs, known: Mapping[str, Path]
    ) -> dict[Weights, Source]:
        """What each of the weights that ``workflow`` uses is made from. Raises ``BadRequest`` for an unknown file."""

        try:
            used = [*needs.used, *self._embeddings(workflow)]
            return {weights: source_of(located(weights, partial(self._path_of, known))) for weights in used}
        except BadRequest as error:
            raise in_callers_words(error, workflow, request) from None

    def _path_of(self, known: Mapping[str, Path], name: str | None, kind: FileKind) -> str:
        """The path of a file; ``known``: those of some checkpoints. Raises ``BadRequest`` for one that is not there."""
        if kind == "checkpoints":
            file = known.get(name or "") or self.checkpoint_file(name)
        else:
            file = Folders(self.config.models_folders).find(kind, name or "")
        return str(file.absolute())

    def _embeddings(self, workflow: Workflow) -> Iterator[Embedding]:
        """Those that its prompts name, of which there is a file; prompts leave the others out."""
        folders = Folders(self.config.models_folders)
        prompts = [node for node in workflow.nodes if isinstance(node, EncodeA1111Text)]
        if prompts:
            files = {bare_name(name): name for name in folders.names("embeddings")}
            for prompt in prompts:
                texts = [entry.text for entry in schedule_of(prompt)]
                yield from (Embedding(name=files[name]) for name in names_in(texts, files, prompt.reading))
        for node in workflow.nodes:
            for named in embedding_names(node.text, "text") if isinstance(node, EncodeText) else ():
                spellings = (name for name, _ in named.spellings() if name)
                found = next((name for name in spellings if folders.get("embeddings", name) is not None), None)
                if found is not None:
                    yield Embedding(name=found)

    def _checked(
        self, wanted: GenerationRequest | Workflow, inputs: PictureSource | Sequence[PictureSource]
    ) -> tuple[GenerationRequest | None, Workflow, dict[str, InputPicture], Needs]:
        """The request with its seed and its model's name, where there is one; the workflow, its pictures and needs.

        Raises ``BadRequest`` in the caller's words, and ``UnknownCheckpoint``.
        """
        if isinstance(wanted, Workflow):
            request, workflow = None, wanted
        else:
            name = catalog.name_of(self.checkpoint_file(wanted.model), self.config.models_folders)
            request = dataclasses.replace(wanted.with_seed(), model=name)
            workflow = workflow_of(request)
        try:
            pictures = inputs_of(workflow, inputs)
            sizes = {name: picture.size for name, picture in pictures.items()}
            needs = check(workflow, known_of(workflow, sizes, Folders(self.config.models_folders)))
        except BadRequest as error:
            raise in_callers_words(error, workflow, request) from None
        except BrokenCheckpoint as error:
            raise broken_in_callers_words(error, workflow, request, partial(self._path_of, {})) from None
        return request, workflow, pictures, needs

    def load(self, model: str | Path) -> None:
        """Have a checkpoint resident; blocks until it is. It may have to go again as any other.

        Raises ``UnknownCheckpoint``, ``BrokenCheckpoint``, ``OutOfMemory`` and ``EngineClosed``.
        """
        try:
            self._preload(catalog.resolve(model, self.config.models_folders))
        except Exception as error:
            raise as_ours(error) from None

    def unload(self, model: str | Path) -> bool:
        """Let a checkpoint go, at once or when the last one that uses it is done; False where it was not resident.

        Raises ``UnknownCheckpoint``.
        """
        return self._pool.let_go(catalog.resolve(model, self.config.models_folders))

    def resident(self) -> list[Path]:
        """Return the checkpoints that are loaded now."""
        return _checkpoints(self._pool.resident())

    def loading(self) -> list[Path]:
        """Return the checkpoints that are being loaded, or wait for that."""
        return _checkpoints(self._pool.making())

    @property
    def running(self) -> bool:
        """Whether it carries out what is submitted: False once it is closed, or its thread has died."""
        return self._loop.running

    @property
    def counts(self) -> dict[str, int]:
        """What was done since the start: ``ticks`` of the loop, and ``evaluations``, of one picture each; and how many
        pictures are ``in_flight`` now.

        ``shapes`` counts how often a network met something that it had to be prepared for: by a first call of some
        shapes, by a recording, by a trial. It stands still once everything that is asked for has been met.
        """
        return self._loop.counts | {"shapes": self._loader.tools.tally.count}

    def close(self) -> None:
        """Stop after the UNet call that is running. Requests that are not done fail with ``EngineClosed``.

        Closing twice does nothing. An engine that is forgotten, or still open when the program ends, closes itself.
        """
        self._close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _cancel(self, handle: Handle) -> None:
        """A method of the engine's, so that a handle keeps its engine alive."""
        self._loop.cancel(handle)

    def _preload(self, path: Path) -> None:
        lease = self._pool.acquire(source_of(Checkpoint(name=str(path.absolute()))))
        try:
            lease.resident.result()
        finally:
            lease.release()


def _close(loop: Loop, pool: Pool[Any]) -> None:
    loop.close()
    pool.close()


def _checkpoints(sources: Sequence[Source]) -> list[Path]:
    """The files of the checkpoints among them."""
    return [Path(str(source.what.name)) for source in sources if isinstance(source.what, Checkpoint)]
