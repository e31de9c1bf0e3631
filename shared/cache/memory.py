"""The cache of a Taskmill that runs in one process."""

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from shared.cache.base import KEPT_MINUTES, Cached, CacheFacts, Count, Duration, Entry, Minute

# What Python needs for a document beyond the document.
_OVERHEAD_BYTES: Final = 400


class _Held(NamedTuple):
    """What is kept for a task, and the reading of the clock from which on it is gone."""

    cached: Cached
    gone_at: float

    @property
    def size_bytes(self) -> int:
        return len(self.cached.document) + _OVERHEAD_BYTES


@dataclass(slots=True)
class _Counted:
    """The counters of one minute."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: defaultdict[tuple[str, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


class MemoryCache:
    """Keeps documents and counters in memory; drops what was put longest ago when it is full.

    Args:
        max_bytes: The memory that documents may take.
        clock: Seconds that never run backwards.
        now: Seconds since 1970: which minute it is.
    """

    def __init__(
        self,
        max_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._now = now
        self._held: OrderedDict[UUID, _Held] = OrderedDict()
        self._size_bytes = 0
        self._minutes: dict[int, _Counted] = {}

    def __repr__(self) -> str:
        return f"<MemoryCache documents={len(self._held)} bytes={self._size_bytes}>"

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def put(
        self, entries: Sequence[Entry], counts: Sequence[Count] = (), durations: Sequence[Duration] = ()
    ) -> None:
        """Keep documents, each unless a newer one is there; add to the counters."""
        for entry in entries:
            held = await self.get(entry.task_id)
            if held is None or entry.version >= held.version:
                self._keep(entry)
        self._make_room()
        if counts or durations:
            self._add(counts, durations)

    async def get(self, task_id: UUID) -> Cached | None:
        """The document of a task, if it is there."""
        held = self._held.get(task_id)
        if held is None:
            return None
        if held.gone_at <= self._clock():
            self._drop(task_id)
            return None
        return held.cached

    async def counts(self, minutes: int) -> Mapping[tuple[str, str], int]:
        """Sums by (queue, what) over the last so many full minutes (at most 1440) and the one that runs."""
        sums: Counter[tuple[str, str]] = Counter()
        for minute in await self.minutes(minutes):
            sums.update(minute.counts)
        return sums

    async def minutes(self, minutes: int) -> Sequence[Minute]:
        """The last so many full minutes (at most 1440) and the one that runs, oldest first, without empty ones."""
        first = self._minute() - minutes
        return [
            Minute(minute * 60, counted.counts, counted.durations)
            for minute, counted in sorted(self._minutes.items())
            if minute >= first
        ]

    async def ping(self) -> None:
        """Nothing to wait for."""

    async def inspect(self) -> CacheFacts:
        """How full it is."""
        return CacheFacts(product="in-process", used_bytes=self._size_bytes, max_bytes=self._max_bytes)

    def _keep(self, entry: Entry) -> None:
        self._drop(entry.task_id)
        held = _Held(Cached(entry.version, entry.document), self._clock() + entry.ttl_s)
        self._held[entry.task_id] = held
        self._size_bytes += held.size_bytes

    def _drop(self, task_id: UUID) -> None:
        if held := self._held.pop(task_id, None):
            self._size_bytes -= held.size_bytes

    def _make_room(self) -> None:
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._held)))

    def _add(self, counts: Sequence[Count], durations: Sequence[Duration]) -> None:
        now = self._minute()
        counted = self._minutes.setdefault(now, _Counted())
        for count in counts:
            counted.counts[count.queue, count.what] += count.number
        for duration in durations:
            counted.durations[duration.queue, duration.what][duration.bucket] += duration.number
        for minute in [minute for minute in self._minutes if minute < now - KEPT_MINUTES]:
            del self._minutes[minute]

    def _minute(self) -> int:
        return int(self._now() // 60)
