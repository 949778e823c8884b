"""Carries calls out, each when it is due, whether or not the earlier ones have ended (an open loop)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import httpx

from benchmarks.load.caller import Caller, CallState, JobCancelled, Refused, WrongAnswer
from benchmarks.load.calls import Call
from benchmarks.load.dialects import ASK, cancel

End = Literal["succeeded", "cancelled", "left", "refused", "failed"]
"""What the caller saw: its pictures · that its job was cancelled · nothing, because it hung up · that the server
refused the call · anything else, or nothing until its patience ended."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A call and what its caller saw. Times are in seconds since the start of the load."""

    call: Call
    started: float
    left: float
    end: End
    accepted: bool | None
    """Whether the server accepted the call; None if the caller does not know."""
    reason: str | None = None
    """What went wrong."""

    @property
    def seconds(self) -> float:
        """Time since the call was due, so that a late start counts as waiting."""
        return self.left - self.call.due

    @property
    def late(self) -> float:
        """How long after it was due the call was started, which is the generator's own fault."""
        return self.started - self.call.due


Clock = Callable[[], float]


async def drive(calls: Sequence[Call], visit: Callable[[Call, Clock], Awaitable[Visit]]) -> list[Visit]:
    """Start each call when it is due, and return all visits once the last has ended."""
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
    """Make the call in its manner; give it up ``patience`` seconds after its start."""
    started, state = now(), CallState()
    end: End = "failed"
    reason = None
    try:
        end = await asyncio.wait_for(_MANNERS[call.manner](caller, call, state), patience)
    except JobCancelled:
        end = "cancelled"
    except Refused as error:
        end = _refusal(call, error, state)
        reason = None if end == "cancelled" else str(error)
    except asyncio.TimeoutError:
        reason = f"{call.dialect}, {call.manner}: given up after {patience:g} s"
    except WrongAnswer as error:
        reason = f"wrong answer: {error}"
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    return Visit(call=call, started=started, left=now(), end=end, accepted=state.accepted, reason=reason)


def _refusal(call: Call, error: Refused, state: CallState) -> End:
    if call.manner == "cancel" and error.status == 409:  # the answer to the call that waited
        state.accepted = True
        return "cancelled"
    if error.status < 500 and state.accepted is None:
        state.accepted = False
        return "refused"
    return "failed"


async def _stay(caller: Caller, call: Call, state: CallState) -> End:
    await ASK[call.dialect](caller, call, state)
    return "succeeded"


async def _cancel(caller: Caller, call: Call, state: CallState) -> End:
    async with _asking(caller, call, state) as asking:
        await asyncio.wait({asking}, timeout=call.after)
        if not asking.done():
            with contextlib.suppress(Refused):  # not accepted yet, or no longer known
                await cancel(caller, call)
        await asking
    return "succeeded"


async def _leave(caller: Caller, call: Call, state: CallState) -> End:
    async with _asking(caller, call, state) as asking:
        await asyncio.wait({asking}, timeout=call.after)
        if not asking.done():
            return "left"
        await asking
    return "succeeded"


async def _return(caller: Caller, call: Call, state: CallState) -> End:
    if await _leave(caller, call, state) == "left":
        await ASK[call.dialect](caller, call, state)
    return "succeeded"


_MANNERS: dict[str, Callable[[Caller, Call, CallState], Awaitable[End]]] = {
    "stay": _stay,
    "cancel": _cancel,
    "leave": _leave,
    "return": _return,
}


@contextlib.asynccontextmanager
async def _asking(caller: Caller, call: Call, state: CallState) -> AsyncIterator[asyncio.Future[None]]:
    """Start the call; at the end of the block close its connection if it is still open."""
    asking = asyncio.ensure_future(ASK[call.dialect](caller, call, state))
    try:
        yield asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
