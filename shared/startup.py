"""Starting while the neighbours are still on their way."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
import tenacity

from shared.errors import TaskmillError

log = structlog.get_logger(__name__)

#: More objects than those that were freed again, at which the garbage collector looks at the new ones.
_NEW_OBJECTS: Final = 10_000


class NeighbourMissingError(TaskmillError):
    """A service that this one can't start without did not come up in time."""

    code = "neighbour_missing"

    def __init__(self, name: str, url: str, for_s: float, reason: object) -> None:
        super().__init__(f"{name} at {address_of(url)} did not get ready within {for_s:g} s: {reason}")


async def wait_for(
    name: str,
    url: str,
    check: Callable[[], Awaitable[None]],
    *,
    errors: tuple[type[Exception], ...],
    for_s: float,
) -> None:
    """Repeat `check` with growing pauses until it no longer raises one of `errors`. Each failed try is logged.

    Raises:
        NeighbourMissingError: It still did after `for_s` seconds; the message has the address.
    """

    def say(state: tenacity.RetryCallState) -> None:
        reason = state.outcome.exception() if state.outcome else None
        log.warning("waiting", neighbour=name, address=address_of(url), reason=str(reason))

    async def check_once() -> None:
        await check()

    try:
        await tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(errors),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=3),
            stop=tenacity.stop_after_delay(for_s),
            before_sleep=say,
            reraise=True,
        )(check_once)
    except errors as error:
        raise NeighbourMissingError(name, url, for_s, error) from error


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work`, but give it up as soon as `stop` is set. Returns whether it was done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        for future in (working, stopping):
            future.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def require_no_arguments(module: str, what: str) -> None:
    """Do nothing for `python -m module` alone; `--help` explains it, and any other word ends the process with 2."""
    words = sys.argv[1:]
    if not words:
        return
    asked = words in (["-h"], ["--help"])
    usage = (
        f"usage: python -m {module}\n\n{what}\nSettings come from the environment and .env: see docs/operating.md.\n"
    )
    (sys.stdout if asked else sys.stderr).write(usage)
    sys.exit(0 if asked else 2)


def settle_heap() -> None:
    """Take what was loaded so far out of the garbage collector's sight; call it once everything has started.

    Modules and classes are most of the heap and never become garbage. A full collection that walks them stops
    everything for tens of milliseconds. What is under way at one time is more than Python expects: at every 700th
    object it would look for garbage among what is still needed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


def address_of(url: str) -> str:
    """A URL without its secrets, for messages."""
    parts = urlsplit(url)
    host = parts.hostname or parts.query
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
