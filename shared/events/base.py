"""What Taskmill asks of an event stream."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

#: The kind of an event that tells of nothing: an empty stream has no place to come back to, and gets one.
MARK: Final = "mark"


class Event(NamedTuple):
    """Something that happened to a task.

    Attributes:
        kind: `status`, `progress` or `log`; or `MARK`.
        data: What a client is shown; a JSON object, whose moments may still be datetimes in UTC.
        id: The place in the stream, for `Last-Event-ID`; empty until the stream has given one.
    """

    kind: str
    task_id: UUID
    type: str
    queue: str
    data: dict[str, Any]
    id: str = ""


class Batch:
    """Events that came together. What they say is read when they are looked at: mostly nobody listens.

    Attributes:
        end: A place as ids name them: all of these are before it, and all later events after it.
    """

    def __init__(self, end: str, read: Callable[[], Sequence[Event]]) -> None:
        self.end = end
        self._read = read

    def __iter__(self) -> Iterator[Event]:
        return iter(self._read())


def mark() -> Event:
    """An event of the kind `MARK`."""
    return Event(MARK, UUID(int=0), "", "", {})


class Events(Protocol):
    """Raises CacheUnavailableError from all but `follow` and `cancel_signals` while it can't be reached."""

    async def open(self) -> None:
        """Get ready. A stream that is away now is used when it comes back."""

    async def close(self) -> None:
        """Disconnect; iterators end."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Append events, in one round trip. Old ones fall off the end."""

    def follow(self, after: str | None = None) -> AsyncIterator[Batch]:
        """Events as they come, in batches, from the first read on or from just after the id `after`.

        An `after` that has fallen off the end means the oldest events that are there; one that the stream has not
        reached (it has lost its data) means those that come. Never ends by itself: waits with backoff while the
        stream is away, then goes on where it was.

        Raises:
            ValueError: `after` is no id; raised by the call, before anything is read.
        """

    async def end(self) -> str:
        """A place as ids name them: later events are after it, all that are there now are not.

        Where there is no event yet, one of the kind `MARK` is put there.
        """

    def replay(self, start: str) -> AsyncIterator[Sequence[Event]]:
        """The events that are there now, in batches, from the beginning of the batch on that the id `start` is in.

        The first event is of that very batch unless it has fallen off the end, or the stream has lost its data:
        this is how to know that nothing since `start` is missing.

        Raises:
            ValueError: `start` is no id; raised by the call, before anything is read.
        """

    async def signal_cancel(self, task_ids: Sequence[UUID]) -> None:
        """Tell the workers at once that the end of running tasks was asked for. May be lost: heartbeats repeat it."""

    def cancel_signals(self) -> AsyncIterator[UUID]:
        """Ids of running tasks whose end was asked for, as signals come. Waits with backoff while away."""
