"""Removes what is no longer needed: pictures of dead attempts, jobs beyond their retention. Starts and ends no job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any

from server.inputs.inputs import Inputs
from server.job import FINISHED, PICTURE_NAME, Job
from server.pictures.storage import PictureFiles
from server.settings import Settings
from server.store import Search, Store, StoreFailed

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 30.0
_AT_ONCE = 200


class Housekeeping:
    """Keeps the store, the outputs and the inputs tidy while the dispatcher works."""

    def __init__(self, store: Store, outputs: PictureFiles, inputs: Inputs, settings: Settings) -> None:
        self._store = store
        self._outputs = outputs
        self._inputs = inputs
        self._seconds = settings.retention_seconds
        self._jobs = settings.retention_jobs
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Look for what dead attempts left, before another attempt starts, and remove it in the background."""
        left: list[str] = []
        try:
            left = await self._left_behind()
        except Exception as error:
            _log.error("the outputs could not be looked through for what dead attempts left: %s", error)
        try:
            await self._inputs.remove_strays()
        except Exception as error:
            _log.error("the inputs could not be looked through for what calls left: %s", error)
        self._tasks = [asyncio.create_task(self._remove(left)), asyncio.create_task(self._tidy_for_ever())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def forget(self, ids: Collection[str]) -> int:
        """Remove finished jobs with their pictures; return how many there were. Raises ``StoreFailed``."""
        found = await self._store.find(Search(states=FINISHED, ids=list(ids)))
        gone = await self._forget(found.jobs)
        await self._inputs.tidy()
        return gone

    async def drop_picture(self, id: str, name: str) -> Job | None:
        """Remove one picture of a finished job, and the job with its last one; return the job without the picture, or
        None if no such job has it. Raises ``StoreFailed``.

        The row goes first: a file that is left after a crash is found at the next start.
        """
        job = await self._store.drop_picture(id, name)
        if job is not None:
            await self._remove([name])
            if not job.pictures:
                await self.forget([id])
        return job

    async def tidy(self) -> int:
        """Remove all jobs beyond their retention; return how many there were. Raises ``StoreFailed``."""
        removed = 0
        while True:
            before = None if self._seconds is None else time.time() - self._seconds
            jobs = await self._store.expired(before=before, keep=self._jobs, limit=_AT_ONCE)
            gone = await self._forget(jobs)
            removed += gone
            if not gone:
                await self._inputs.tidy()
                return removed

    async def _forget(self, jobs: Collection[Job]) -> int:
        """Remove pictures first, so that a crash in between leaves a job that is found again, not a picture that no job
        knows. A job whose pictures cannot be removed stays, and does not hold up the others."""
        try:
            await self._outputs.remove([picture.name for job in jobs for picture in job.pictures])
            gone = list(jobs)
        except Exception:
            gone = [job for job in jobs if await self._remove([picture.name for picture in job.pictures])]
        return await self._store.delete([job.id for job in gone]) if gone else 0

    async def _left_behind(self) -> list[str]:
        """Return the pictures that belong to a job which does not have them. Other files in the folder are not ours."""
        tokens = {name: match[1] for name in await self._outputs.find("") if (match := PICTURE_NAME.fullmatch(name))}
        kept = await self._store.kept_pictures(set(tokens.values()))
        return [name for name, token in tokens.items() if token in kept and name not in kept[token]]

    async def _remove(self, names: list[str]) -> bool:
        """Remove pictures; return whether that worked."""
        try:
            await self._outputs.remove(names)
        except Exception as error:
            _log.error("pictures could not be removed: %s", error)
            return False
        return True

    async def _tidy_for_ever(self) -> None:
        while True:
            try:
                await self.tidy()
            except StoreFailed as error:
                _log.error("finished jobs could not be removed: %s", error)
            except Exception:
                _log.exception("finished jobs could not be removed")
            await asyncio.sleep(_EVERY_SECONDS)
