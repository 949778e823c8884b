"""Delivers webhooks: signed, at least once, from an outbox. Starts and ends no job.

Only one message of a job is sent at a time, but their order is not promised: a message that was refused is sent again
later, perhaps after the one about the job's end. Each body says how the job stood at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time

import httpx

from engine import __version__
from server.job import Job
from server.settings import Settings, webhook_key
from server.store import Message, Store, StoreFailed
from server.webhooks import targets
from server.webhooks.messages import Composer, signed

_log = logging.getLogger(__name__)

_TOGETHER = 16
_PER_HOST = 4
_PER_CLIENT = 8
_TIMEOUT_SECONDS = 15.0
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 3600.0
_BETWEEN_PROGRESS = 1.0
_GONE = 410


class Webhooks:
    """Delivers the messages in the outbox."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        composer: Composer,
        *,
        resolve: targets.Resolve = targets.resolve,
    ) -> None:
        self._store = store
        self._composer = composer
        self._resolve = resolve
        self._private = settings.webhook_private_addresses
        self._attempts = settings.webhook_attempts
        self._key = None if settings.webhook_secret is None else webhook_key(settings.webhook_secret)
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._changed = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._under_way: dict[Message, asyncio.Task[None]] = {}
        self._posting: set[asyncio.Task[None]] = set()
        self._progress: dict[str, float] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._deliver_for_ever())

    async def close(self) -> None:
        """Stop; messages that were not delivered stay in the outbox."""
        self._closed = True
        tasks = [*self._under_way.values(), *self._posting, *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def happened(self, job: Job) -> None:
        """Look into the outbox, because the job's state has changed."""
        if job.webhook is not None:
            self._changed.set()
            if job.done:
                self._progress.pop(job.id, None)

    def progressed(self, job: Job) -> None:
        """Post a message about a running job's progress, at most once a second."""
        if job.webhook is None or "progress" not in job.webhook.events:
            return
        now = time.monotonic()
        if now - self._progress.get(job.id, -_BETWEEN_PROGRESS) >= _BETWEEN_PROGRESS:
            self._progress[job.id] = now
            task = asyncio.create_task(self._post(job))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def _post(self, job: Job) -> None:
        with contextlib.suppress(StoreFailed):
            await self._store.post(self._composer(job, "progress"))
            self._changed.set()

    async def _deliver_for_ever(self) -> None:
        while not self._closed:  # a cancel that comes with a change is swallowed by ``wait_for`` before Python 3.12
            self._changed.clear()
            pause: float | None = 1.0
            try:
                pause = await self._start_due()
            except StoreFailed as error:
                _log.error("the outbox could not be read: %s", error)
            except Exception:  # a defect of ours must not end all webhooks
                _log.exception("the outbox could not be read")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def _start_due(self) -> float | None:
        """Start to deliver what is due; return the seconds until more is due, None if that takes a new message."""
        now = time.time()
        while (free := _TOGETHER - len(self._under_way)) > 0:
            messages = await self._store.due(
                now=now, limit=free, per_host=_PER_HOST, per_client=_PER_CLIENT, under_way=self._under_way
            )
            for message in messages:
                self._under_way[message] = asyncio.create_task(self._deliver(message))
            if not messages:
                break
        if self._under_way:
            return _BETWEEN_PROGRESS
        due = await self._store.next_due()
        return None if due is None else max(0.0, due - now)

    async def _deliver(self, message: Message) -> None:
        named = {"job": message.job, "webhook": message.id}
        try:
            answer = await self._attempt(message)
            if answer is None:
                await self._store.delivered(message.id)
            elif answer == "" or message.attempts + 1 >= self._attempts:
                _log.error(
                    "a webhook was given up: %s",
                    answer or "its address is not allowed, or the receiver is gone",
                    extra=named,
                )
                await self._store.delivered(message.id)
            else:
                _log.warning("a webhook was not accepted, and is sent again: %s", answer, extra=named)
                await self._store.postpone(message.id, time.time() + _pause(message.attempts))
        except StoreFailed as error:
            _log.error("the outbox could not be written: %s", error, extra=named)
            await asyncio.sleep(_BETWEEN_PROGRESS)
        except Exception:
            _log.exception("a webhook could not be delivered", extra=named)
            with contextlib.suppress(StoreFailed):
                await self._store.postpone(message.id, time.time() + _pause(message.attempts))
        finally:
            del self._under_way[message]
            self._changed.set()

    async def _attempt(self, message: Message) -> str | None:
        """Return None if the message was accepted, else the reason, or "" if it must not be sent again."""
        try:
            status = await asyncio.wait_for(self._send(message), _TIMEOUT_SECONDS)
        except targets.Refused as error:
            _log.error("a webhook was refused: %s", error, extra={"job": message.job})
            return ""
        except asyncio.TimeoutError:
            return f"no answer within {_TIMEOUT_SECONDS:g} s"
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        if 200 <= status < 300:
            return None
        return "" if status == _GONE else f"status {status}"

    async def _opened(self) -> httpx.AsyncClient:
        """Return the one client of all deliveries; a second one would never be closed."""
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(_client)
            return self._client

    async def _send(self, message: Message) -> int:
        """Send a message and return the status of the answer, whose body is not read.

        It goes to the address that was checked, wherever the name leads by now, and follows no redirect.
        """
        target = await targets.target_of(message.url, private=self._private, resolve=self._resolve)
        client = await self._opened()
        url = httpx.URL(message.url).copy_with(host=target.address, port=target.port)
        body = message.body.encode()
        headers = {
            "Host": target.url.netloc,
            "Content-Type": "application/json",
            "User-Agent": f"stable-diffusion-engine/{__version__}",
            **signed(message.id, int(time.time()), body, self._key),
        }
        request = client.build_request(
            "POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host}
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        await response.aclose()
        return response.status_code


def _pause(attempts: int) -> float:
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempts)
    return longest * random.uniform(0.5, 1.0)


def _client() -> httpx.AsyncClient:
    """Return a client, which takes a while to read the certificates. A proxy would choose the address: it uses none."""
    return httpx.AsyncClient(
        trust_env=False,
        timeout=_TIMEOUT_SECONDS,
        limits=httpx.Limits(max_connections=_TOGETHER, max_keepalive_connections=0),
    )
