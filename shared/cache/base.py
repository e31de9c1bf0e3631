"""What Taskmill asks of a cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from uuid import UUID


class Cached(NamedTuple):
    """A task's document as `GET /tasks/{task_id}` answers it, and the version of the row it was made from."""

    version: int
    document: bytes


class Entry(NamedTuple):
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


class Duration(NamedTuple):
    """So many more tasks of `queue` whose `what` (`waiting`, `running`) took a time of `bucket` this minute.

    Buckets are those of `shared.domain.durations`.
    """

    queue: str
    what: str
    bucket: int
    number: int


@dataclass(frozen=True, slots=True)
class Minute:
    """What was counted in one minute.

    Attributes:
        began_at: Seconds since 1970; a multiple of 60.
        counts: Numbers by (queue, what).
        durations: Numbers by bucket, by (queue, what).
    """

    began_at: int
    counts: Mapping[tuple[str, str], int]
    durations: Mapping[tuple[str, str], Mapping[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFacts:
    """What a cache is and how it does.

    Attributes:
        product: `Redis` or what calls itself so, or `in-process`.
        version: As it says itself; empty for what is part of this process.
        role: `master`, or `slave` where nothing can be written; empty where there is no choice.
        used_bytes: Memory in use.
        max_bytes: Its limit; 0 for none.
        policy: What is thrown away when the limit is reached; `noeviction` for nothing.
        clock: Its time, in seconds since 1970; None where it has none of its own.
    """

    product: str
    version: str = ""
    role: str = ""
    used_bytes: int = 0
    max_bytes: int = 0
    policy: str = ""
    clock: float | None = None


#: Full minutes that are kept, besides the one that runs.
KEPT_MINUTES: Final = 1440


class Cache(Protocol):
    """Raises CacheUnavailableError, within a second or so, from every method while it can't be reached."""

    async def open(self) -> None:
        """Get ready. A cache that is away now is used when it comes back."""

    async def close(self) -> None:
        """Disconnect."""

    async def put(
        self, entries: Sequence[Entry], counts: Sequence[Count] = (), durations: Sequence[Duration] = ()
    ) -> None:
        """Keep documents, each unless a newer one is there; add to the counters. One round trip.

        The same version may come again: it is the same document, and its time to live starts anew.
        """

    async def get(self, task_id: UUID) -> Cached | None:
        """The document of a task, if it is there."""

    async def counts(self, minutes: int) -> Mapping[tuple[str, str], int]:
        """Sums by (queue, what) over the last so many full minutes (at most 1440) and the one that runs."""

    async def minutes(self, minutes: int) -> Sequence[Minute]:
        """The last so many full minutes (at most 1440) and the one that runs, oldest first, without empty ones."""

    async def ping(self) -> None:
        """Return when the cache has answered."""

    async def inspect(self) -> CacheFacts:
        """Look at the cache."""
