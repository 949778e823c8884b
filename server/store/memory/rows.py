"""The rows of the store in memory, and how a search picks among them."""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.job import Job
from server.store.protocol import Found, Search
from server.store.rules import STATES

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job as it is kept."""

    job: Job
    fingerprint: str
    extra: str
    """The job's ``extra`` as JSON: a copy that later changes of the caller's objects do not reach."""


def copy_of(row: Row) -> Job:
    """Return a row's job, which the caller may change."""
    return dataclasses.replace(row.job, extra=json.loads(row.extra))


def fits(job: Job, search: Search) -> bool:
    """Whether a search is for ``job``."""
    return (
        (search.states is None or job.state in search.states)
        and (search.dialects is None or job.dialect in search.dialects)
        and (search.ids is None or job.id in search.ids)
        and (search.client is None or job.client == search.client)
        and (search.label is None or job.label == search.label)
        and (search.created_from is None or job.created >= search.created_from)
        and (search.created_before is None or job.created < search.created_before)
        and (job.started is not None or not search.started)
        and (not search.words or _has_words(job, search))
    )


def page_of(rows: list[Row], search: Search) -> Found:
    """Return a search's page of ``rows``, which are those that fit, in the order of acceptance."""
    if search.by_duration:
        rows.sort(key=lambda row: _duration(row.job))
    if search.newest_first:
        rows.reverse()
    counts = {state: 0 for state in STATES if search.states is None or state in search.states}
    for row in rows:
        counts[row.job.state] += 1
    page = rows[search.offset :] if search.limit is None else rows[search.offset : search.offset + search.limit]
    jobs: list[Job] = []
    read = 0
    for row in page if search.most_bytes != 0 else ():
        extra = {name: value for name, value in json.loads(row.extra).items() if name not in search.leave_out}
        read += len(json.dumps(extra, separators=(",", ":"), ensure_ascii=False))
        if jobs and search.most_bytes is not None and read > search.most_bytes:
            break
        jobs.append(dataclasses.replace(row.job, extra=extra))
    return Found(jobs=jobs, ids=[row.job.id for row in page], counts=counts)


def _has_words(job: Job, search: Search) -> bool:
    texts = [text.translate(_LOWER) for task in job.tasks for text in _texts(task.to_json())]
    return all(any(word.translate(_LOWER) in text for text in texts) for word in search.words)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _duration(job: Job) -> float:
    return 0.0 if job.finished is None or job.started is None else job.finished - job.started
