"""Serves ``/ws``: keeps the connections, and sends each its messages. Knows no jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from engine.formats.json_text import read_json

FEATURES = {"supports_preview_metadata": True}
"""What this server can do beyond the messages that all clients know."""

_MANY_WAITING = 64
"""The number of messages waiting for a slow client from which it misses steps and previews."""
_TOO_MANY_WAITING = 4096
"""The number of waiting messages beyond which the connection is closed."""
_MOST_MISSED = 1000
"""The most clients for which missed messages are kept, and the most messages for each."""
_MOST_MISSED_TOGETHER = 20_000
"""The most missed messages of all clients; beyond it, the client that was sent nothing for the longest time is
dropped."""
_MISSED_SECONDS = 600.0


class Socket:
    """One connection."""

    def __init__(self, websocket: WebSocket, client_id: str) -> None:
        self.client_id = client_id
        self.with_metadata = False
        """Whether it takes previews that name their prompt and node."""
        self._websocket = websocket
        self._waiting: deque[str | bytes] = deque()
        self._changed = asyncio.Event()
        self._lost = False

    def put(self, message: str | bytes, *, may_be_missed: bool = False) -> None:
        if self._lost or (may_be_missed and len(self._waiting) >= _MANY_WAITING):
            return
        self._waiting.append(message)
        if len(self._waiting) > _TOO_MANY_WAITING:
            self._lost = True
            self._waiting.clear()
        self._changed.set()

    def put_first(self, message: str) -> None:
        """Put a message before all others, while nothing has been sent yet."""
        self._waiting.appendleft(message)
        self._changed.set()

    async def carry(self) -> None:
        """Send what is put and read what the client sends, until the connection ends."""
        sending = asyncio.create_task(self._send_all())
        try:
            while (message := await self._websocket.receive())["type"] == "websocket.receive":
                self._hear(message.get("text"))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client has left, which ``carry`` notices
            while not self._lost:
                if not self._waiting:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                message = self._waiting.popleft()
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
            await self._websocket.close(1013, "too slow")

    def _hear(self, text: str | None) -> None:
        """Read an editor's first message, which says what it can do; nothing else is expected from a client."""
        try:
            message = read_json(text or "null")
        except ValueError:
            return
        if isinstance(message, dict) and message.get("type") == "feature_flags":
            flags = message.get("data")
            self.with_metadata = isinstance(flags, dict) and flags.get("supports_preview_metadata") is True
            self.put(worded("feature_flags", FEATURES))


class Missed:
    """Keeps messages to clients that are not connected, for ten minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()
        """Client → its messages, with their times; the client with the latest message comes last."""
        self._together = 0

    def keep(self, client_id: str, text: str) -> None:
        kept = self._clients.setdefault(client_id, deque())
        self._clients.move_to_end(client_id)
        kept.append((self._clock(), text))
        self._together += 1
        if len(kept) > _MOST_MISSED:
            kept.popleft()
            self._together -= 1
        while len(self._clients) > _MOST_MISSED or self._together > _MOST_MISSED_TOGETHER:
            _, forgotten = self._clients.popitem(last=False)
            self._together -= len(forgotten)

    def take(self, client_id: str) -> list[str]:
        """Return and drop the messages to a client."""
        kept = self._clients.pop(client_id, deque())
        self._together -= len(kept)
        now = self._clock()
        return [text for then, text in kept if now - then <= _MISSED_SECONDS]


class Sockets:
    """All connections, by client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._sockets: dict[str, list[Socket]] = {}
        self._missed = Missed(clock)

    def connected(self, client_id: str | None) -> list[Socket]:
        """Return the connections of a client, which has several if it has several pages open."""
        return list(self._sockets.get(client_id, ())) if client_id is not None else []

    def join(self, socket: Socket) -> None:
        self._sockets.setdefault(socket.client_id, []).append(socket)

    def leave(self, socket: Socket) -> None:
        left = self._sockets[socket.client_id]
        left.remove(socket)
        if not left:
            del self._sockets[socket.client_id]

    def send(self, client_id: str, kind: str, data: object, *, keep: bool = False) -> None:
        """Send a message to all connections of a client. ``keep``: if it has none, keep the message until it
        connects."""
        sockets = self._sockets.get(client_id)
        if not sockets and not keep:
            return
        text = worded(kind, data)
        for socket in sockets or ():
            socket.put(text, may_be_missed=_may_be_missed(kind, data))
        if not sockets:
            self._missed.keep(client_id, text)

    def send_all(self, kind: str, data: object) -> None:
        text = worded(kind, data)
        for sockets in self._sockets.values():
            for socket in sockets:
                socket.put(text)

    def missed(self, client_id: str) -> list[str]:
        """Return what a client missed while it was not connected; each message once."""
        return self._missed.take(client_id)


def _may_be_missed(kind: str, data: object) -> bool:
    """Return whether a slow client may miss the message: progress may be, but not that of the last step."""
    last = isinstance(data, dict) and kind == "progress" and data["value"] >= data["max"]
    return kind in ("progress", "progress_state") and not last


def worded(kind: str, data: object) -> str:
    return json.dumps({"type": kind, "data": data})
