"""When a request that came to nothing is sent again, and after how long. It decides; the clients wait and send."""

from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar

import httpx

from client.calls import Call
from client.errors import (
    InvalidError,
    RateLimitedError,
    ServerError,
    TaskmillError,
    UnavailableError,
    UnreachableError,
    error_of,
)

T = TypeVar("T")

#: The server has surely done nothing when these come.
_NEVER_ARRIVED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: A server that asks for a longer pause is left alone: whoever asked decides.
_LONGEST_ASKED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long before the next step."""

    seconds: float


#: What a client does for a conversation: it sends calls (and hands their answers back in), and it waits.
Steps = Generator[Call[Any] | Pause, httpx.Response, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """Exponential backoff with a cap and jitter, unless the server names a time.

    Attributes:
        repeats: How often a request is sent again at most; 0 for never.
        first_s: Pause before the first repeat, in seconds; each further one is twice as long.
        longest_s: No pause of ours is longer.
    """

    repeats: int = 6
    first_s: float = 0.25
    longest_s: float = 10.0
    random: Random = field(default_factory=Random, repr=False, compare=False)

    def pause_s(self, repeat: int, asked_s: float | None = None) -> float | None:
        """Seconds to wait before repeat number `repeat` (the first is 1); None to give up.

        Half of the pause is random, so that clients who failed together do not come back together.

        Args:
            repeat: Number of the repeat.
            asked_s: What the server asked for, if it did: no less is waited.
        """
        if repeat > self.repeats or (asked_s or 0.0) > _LONGEST_ASKED_S:
            return None
        ours_s = min(self.first_s * 2.0 ** min(repeat - 1, 30), self.longest_s) * self.random.uniform(0.5, 1.0)
        return ours_s if asked_s is None else asked_s + min(ours_s, 1.0)


class Patience:
    """How much of a Retrying is used up."""

    def __init__(self, retrying: Retrying) -> None:
        self._retrying = retrying
        self._failures = 0

    def renew(self) -> None:
        """It worked: the next failure is a first one."""
        self._failures = 0

    def pause_s(self, error: TaskmillError, *, is_repeatable: bool = True) -> float:
        """Seconds to wait before the next try.

        Args:
            error: What became of the last.
            is_repeatable: Whether a next one does no harm if the last one was done after all.

        Raises:
            TaskmillError: The error, if it will not pass, or has not passed often enough.
        """
        # A limit refuses before anything is done; what can't go on, or can't be heard, may have done it.
        was_not_done = isinstance(error, RateLimitedError | UnreachableError)
        if not (was_not_done or (isinstance(error, UnavailableError) and is_repeatable)):
            raise error
        self._failures += 1
        pause_s = self._retrying.pause_s(self._failures, error.retry_after_s)
        if pause_s is None:
            raise error
        return pause_s


def persist(call: Call[T], retrying: Retrying) -> Steps[T]:
    """Send a call until it is answered for good, or is not worth another try.

    Raises:
        TaskmillError: What the last answer, or its absence, means.
    """
    patience = Patience(retrying)
    while True:
        try:
            response = yield call
        except httpx.RequestError as fault:
            error = lost(fault, call)
        else:
            if response.is_success:
                return call.read(response)
            error = error_of(response)
        yield Pause(patience.pause_s(error, is_repeatable=call.is_repeatable))


def lost(fault: httpx.RequestError, call: Call[Any]) -> TaskmillError:
    """What it means that no answer came."""
    reason = str(fault) or type(fault).__name__
    if isinstance(fault, _NEVER_ARRIVED):
        url = fault.request.url
        return UnreachableError(f"nothing answers at {url.scheme}://{url.netloc.decode()}: {reason}")
    if isinstance(fault, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return InvalidError(f"this can't be sent: {reason}", code="not_sent")
    if not isinstance(fault, httpx.TransportError):
        return ServerError(f"{call.method} {call.path} was not answered as Taskmill would: {reason}")
    tail = "" if call.is_repeatable else "; it may have been done all the same"
    return UnavailableError(f"{call.method} {call.path} was not answered: {reason}{tail}", code="no_answer")
