"""Carries the calls out, each when it is due, whatever has become of the earlier ones (an open loop)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import httpx

from benchmarks.load_dialects import ASK, Caller, Cancelled, Course, Refused, WrongAnswer, cancel
from benchmarks.load_plan import Call

End = Literal["succeeded", "cancelled", "left", "refused", "failed"]
"""What the caller saw: its pictures · that its job was cancelled · nothing, having hung up · that the server did not
take the call · something else, or nothing for too long."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A call, and what its caller saw. Times in seconds from the beginning of the load."""

    call: Call
    begun: float
    left: float
    end: End
    accepted: bool | None
    """Whether the server took the call; None: not known."""
    reason: str | None = None
    """What was wrong."""

    @property
    def seconds(self) -> float:
        """From when it was due: a call that begins late has been waiting since."""
        return self.left - self.call.due

    @property
    def late(self) -> float:
        """How long after it was due it was begun: the generator's own fault."""
        return self.begun - self.call.due


Clock = Callable[[], float]


async def drive(calls: Sequence[Call], visit: Callable[[Call, Clock], Awaitable[Visit]]) -> list[Visit]:
    """Begin each call when it is due; all visits, once the last is over."""
    loop = asyncio.get_running_loop()
    begin = loop.time()

    def now() -> float:
        return loop.time() - begin

    visits = list[asyncio.Future[Visit]]()
    for call in calls:
        if (wait := call.due - now()) > 0:
            await asyncio.sleep(wait)
        visits.append(asyncio.ensure_future(visit(call, now)))
    return await asyncio.gather(*visits)


async def make(caller: Caller, call: Call, now: Clock, patience: float) -> Visit:
    """Make the call in its manner. Gives it up ``patience`` seconds after it began."""
    begun, course = now(), Course()
    end: End = "failed"
    reason = None
    try:
        end = await asyncio.wait_for(_MANNERS[call.manner](caller, call, course), patience)
    except Cancelled:
        end = "cancelled"
    except Refused as error:
        end = _refusal(call, error, course)
        reason = None if end == "cancelled" else str(error)
    except asyncio.TimeoutError:
        reason = f"{call.dialect}, {call.manner}: given up after {patience:g} s"
    except WrongAnswer as error:
        reason = f"wrong answer: {error}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    return Visit(call=call, begun=begun, left=now(), end=end, accepted=course.accepted, reason=reason)


def _refusal(call: Call, error: Refused, course: Course) -> End:
    if call.manner == "cancel" and error.status == 409:  # the answer to the call that waited
        course.accepted = True
        return "cancelled"
    if error.status < 500 and course.accepted is None:
        course.accepted = False
        return "refused"
    return "failed"


async def _stay(caller: Caller, call: Call, course: Course) -> End:
    await ASK[call.dialect](caller, call, course)
    return "succeeded"


async def _cancel(caller: Caller, call: Call, course: Course) -> End:
    async with _asking(caller, call, course) as asking:
        await asyncio.wait({asking}, timeout=call.after)
        if not asking.done():
            with contextlib.suppress(Refused):  # it is not accepted yet, or is forgotten already
                await cancel(caller, call)
        await asking
    return "succeeded"


async def _leave(caller: Caller, call: Call, course: Course) -> End:
    async with _asking(caller, call, course) as asking:
        await asyncio.wait({asking}, timeout=call.after)
        if not asking.done():
            return "left"
        await asking
    return "succeeded"


async def _return(caller: Caller, call: Call, course: Course) -> End:
    if await _leave(caller, call, course) == "left":
        await ASK[call.dialect](caller, call, course)
    return "succeeded"


_MANNERS: dict[str, Callable[[Caller, Call, Course], Awaitable[End]]] = {
    "stay": _stay,
    "cancel": _cancel,
    "leave": _leave,
    "return": _return,
}


@contextlib.asynccontextmanager
async def _asking(caller: Caller, call: Call, course: Course) -> AsyncIterator[asyncio.Future[None]]:
    """The call under way; at the end of the block the connection is closed if it is still open."""
    asking = asyncio.ensure_future(ASK[call.dialect](caller, call, course))
    try:
        yield asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
