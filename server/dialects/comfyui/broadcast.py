"""Sends what happens to jobs as messages to their clients. Lives on the event loop.

ComfyUI runs one prompt at a time, and its clients rely on that: some end *every* prompt that they wait for at the first
``execution_success``, and a preview does not name its prompt. Here prompts run side by side, so a client's prompts are
reported one after the other, in the order in which they started; the queue and the history are never behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence

from starlette.websockets import WebSocket

from server.dialects.comfyui.history import Message, client_id_of, course_of, pictures_of
from server.dialects.comfyui.sockets import Socket, Sockets, worded
from server.dialects.comfyui.stream import Stream
from server.job import Job, Picture
from server.pictures.formats import preview_bytes
from server.pictures.storage import NotRead
from server.problems import Problem
from server.queue.events import Event
from server.store import Search
from server.web.services import Services

_log = logging.getLogger(__name__)

LONGEST_CLIENT_ID = 200
_GRACE = 0.05
"""Seconds between the answer to a posted prompt and the first message about it. A client does not know its prompt's id
before the answer, and some clients lose what they receive before that."""
_STATUS_PAUSE = 0.05
"""The seconds in which changes of the queue are reported together."""
_AGAIN = 1.0
"""Seconds until a failed operation is tried again."""
_MOST_RUNNING = 10_000


class Broadcast:
    """Reports to clients on their own prompts, and to all clients on the queue. It listens to jobs once the first
    caller needs it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sockets = Sockets()
        self._streams: dict[str, dict[str, Stream]] = {}
        """Client → its running prompts by id, in the order in which they started; the first is being reported."""
        self._held: set[str] = set()
        """The ids of prompts whose callers have not been answered yet."""
        self._queue_changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Listen to all jobs from now on, until the server stops."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())

    @contextlib.contextmanager
    def answering(self, id: str, client_id: str | None) -> Iterator[None]:
        """Hold back the messages about the prompt ``id`` while it is being accepted, so that its client has the answer
        first."""
        if client_id is None:
            yield
            return
        self.listen()
        self._held.add(id)
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(_GRACE, self._release, id, client_id)

    def is_connected(self, client_id: str | None) -> bool:
        return bool(self._sockets.connected(client_id))

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends."""
        client_id = websocket.query_params.get("clientId") or uuid.uuid4().hex
        if len(client_id) > LONGEST_CLIENT_ID:
            await websocket.close(1008, f"clientId: at most {LONGEST_CLIENT_ID} characters")
            return
        self.listen()
        await websocket.accept()
        socket = Socket(websocket, client_id)
        self._sockets.join(socket)
        try:
            socket.put_first(worded("status", {**await self._status(), "sid": client_id}))
            for text in self._sockets.missed(client_id):
                socket.put(text)
            for stream in list(self._streams.get(client_id, {}).values())[:1]:
                for message in stream.standing():
                    socket.put(worded(*message))
            await socket.carry()
        finally:
            self._sockets.leave(socket)

    async def _follow(self) -> None:
        """Report what happens to jobs; read the running ones again if this reader was dropped for being too slow."""
        reporting = asyncio.create_task(self._report_status())
        try:
            while not self._services.closing:
                events = self._services.jobs.all_events()
                try:
                    await self._catch_up()
                except Problem as problem:
                    _log.warning("the running prompts could not be read: %s", problem)
                    await asyncio.sleep(_AGAIN)
                    continue
                async for event in events:
                    if event.job.dialect == "comfyui":
                        await self._report(event)
        finally:
            reporting.cancel()

    async def _catch_up(self) -> None:
        jobs = self._services.jobs
        search = Search(states={"running"}, dialects={"comfyui"}, limit=_MOST_RUNNING, newest_first=False)
        running = (await jobs.find(search)).jobs
        for job in running:
            self._start(job)
            latest = jobs.latest(job.id)
            if latest is not None and latest.kind == "progress":
                self._advance(latest)
        known = [id for streams in self._streams.values() for id in streams]
        for id in set(known) - {job.id for job in running}:
            ended = await jobs.get(id)
            if ended is not None and ended.done:
                self._finish(ended)
        self._queue_changed.set()

    async def _report(self, event: Event) -> None:
        try:
            if event.kind == "started":
                self._start(event.job)
            elif event.kind == "progress":
                self._advance(event)
            elif event.kind == "preview":
                await self._show(event)
            elif event.kind == "output":
                await self._read_what_is_sent(event.job, {event.node: event.pictures} if event.node else {})
                self._advance(event)
            elif event.kind == "queued":
                self._put_back(event.job)
                self._queue_changed.set()
            else:
                course = course_of(event.job)
                await self._read_what_is_sent(event.job, {id: pictures_of(event.job, id) for id in course.outputs})
                self._finish(event.job)
                self._queue_changed.set()
        except Exception:
            _log.exception("a message could not be sent", extra={"job": event.job.id})

    def _start(self, job: Job) -> None:
        client_id = client_id_of(job)
        if client_id is None:
            return
        streams = self._streams.setdefault(client_id, {})
        if job.id not in streams or streams[job.id].job.attempt != job.attempt:
            streams.pop(job.id, None)
            streams[job.id] = Stream(job)
            self._turn(client_id)

    def _put_back(self, job: Job) -> None:
        """Drop the stream of a job that waits again, and will start anew; a job that was just accepted has none."""
        client_id = client_id_of(job)
        if client_id is not None and self._stream(job) is not None:
            del self._streams[client_id][job.id]
            self._turn(client_id)

    def _advance(self, event: Event) -> None:
        stream, client_id = self._stream(event.job), client_id_of(event.job)
        if stream is None or client_id is None:
            return
        if stream.started:
            self._send(client_id, stream.advance(event), keep=event.kind == "output")
        else:
            stream.note(event)

    async def _show(self, event: Event) -> None:
        stream = self._stream(event.job)
        sockets = self._sockets.connected(client_id_of(event.job))
        if not sockets or stream is None or not stream.started or event.preview is None:
            return
        if not event.job.extra["previews"]:
            return
        picture = await preview_bytes(event.preview, "jpeg")
        for socket in sockets:
            socket.put(stream.preview(picture, with_metadata=socket.with_metadata), may_be_missed=True)

    async def _read_what_is_sent(self, job: Job, made: Mapping[str, Sequence[Picture]]) -> None:
        """Read those of the pictures, by output node, that ``SaveImageWebsocket`` nodes send to the job's client, if
        that is connected. Pictures that cannot be read are not sent."""
        stream, course = self._stream(job), course_of(job)
        if stream is None or not self._sockets.connected(client_id_of(job)):
            return
        for node in made.keys() - stream.executed - stream.sent.keys():
            if course.class_of(node) == "SaveImageWebsocket":
                read = [await self._read(picture, job) for picture in made[node]]
                stream.sent[node] = [png for png in read if png is not None]

    async def _read(self, picture: Picture, job: Job) -> bytes | None:
        try:
            return await self._services.outputs.read(picture.name)
        except (KeyError, NotRead) as error:
            _log.warning("a picture could not be sent: %s", error, extra={"job": job.id})
            return None

    def _finish(self, job: Job) -> None:
        client_id, stream = client_id_of(job), self._stream(job)
        if client_id is None:
            return
        if stream is not None:
            stream.job = job
            self._turn(client_id)
        elif job.state != "succeeded":  # it never started: ComfyUI sends nothing, and its client waits forever
            self._send(client_id, list(Stream(job).finish())[:1], keep=True)

    def _release(self, id: str, client_id: str) -> None:
        self._held.discard(id)
        if client_id in self._streams:
            self._turn(client_id)

    def _turn(self, client_id: str) -> None:
        """Report the client's finished prompts, then the start of the first prompt that is not finished."""
        streams = self._streams[client_id]
        while streams:
            id, stream = next(iter(streams.items()))
            if id in self._held:
                return
            if not stream.started:
                self._send(client_id, stream.begin(), keep=stream.job.done)
            if not stream.job.done:
                return
            self._send(client_id, stream.finish(), keep=True)
            del streams[id]
        del self._streams[client_id]

    def _stream(self, job: Job) -> Stream | None:
        return self._streams.get(client_id_of(job) or "", {}).get(job.id)

    def _send(self, client_id: str, messages: Iterable[Message | bytes], *, keep: bool = False) -> None:
        for message in messages:  # also without a client, because reading a stream advances it
            if isinstance(message, bytes):
                for socket in self._sockets.connected(client_id):
                    socket.put(message)
            else:
                self._sockets.send(client_id, *message, keep=keep)

    async def _report_status(self) -> None:
        while True:
            await self._queue_changed.wait()
            self._queue_changed.clear()
            try:
                self._sockets.send_all("status", await self._status())
            except Problem as problem:
                _log.warning("the length of the queue could not be read: %s", problem)
            await asyncio.sleep(_STATUS_PAUSE)

    async def _status(self) -> dict[str, object]:
        return {"status": {"exec_info": {"queue_remaining": await queue_remaining(self._services)}}}


async def queue_remaining(services: Services) -> int:
    """Return how many prompts wait or run."""
    found = await services.jobs.find(Search(states={"queued", "running"}, dialects={"comfyui"}, limit=0))
    return found.total
