"""What Taskmill asks of a cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID


class Cached(NamedTuple):
    """A task's document as `GET /tasks/{task_id}` answers it, and the version of the row it was made from."""

    version: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to keep for `ttl_s` seconds, unless the cache holds a newer version."""

    task_id: UUID
    version: int
    document: bytes
    ttl_s: float


class Count(NamedTuple):
    """So many more of `what` (`submitted`, `succeeded`, `failed`, `retried`) in `queue` this minute."""

    queue: str
    what: str
    number: int


class Cache(Protocol):
    """Raises CacheUnavailableError, within a second or so, from every method while it can't be reached."""

    async def open(self) -> None:
        """Get ready. A cache that is away now is used when it comes back."""

    async def close(self) -> None:
        """Disconnect."""

    async def put(self, entries: Sequence[Entry], counts: Sequence[Count] = ()) -> None:
        """Keep documents, each unless a newer one is there; add to the counters. One round trip.

        The same version may come again: it is the same document, and its time to live starts anew.
        """

    async def get(self, task_id: UUID) -> Cached | None:
        """The document of a task, if it is there."""

    async def counts(self, minutes: int) -> Mapping[tuple[str, str], int]:
        """Sums by (queue, what) over the last so many full minutes (at most 119) and the one that runs."""

    async def ping(self) -> None:
        """Return when the cache has answered."""
