"""The cache of a Taskmill that runs in one process."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from shared.cache.base import Cached, Count, Entry

_COUNTED_MINUTES: Final = 120
# What Python needs for a document beyond the document.
_OVERHEAD_BYTES: Final = 400


class _Held(NamedTuple):
    """What is kept for a task, and the reading of the clock from which on it is gone."""

    cached: Cached
    gone_at: float

    @property
    def size_bytes(self) -> int:
        return len(self.cached.document) + _OVERHEAD_BYTES


class MemoryCache:
    """Keeps documents and counters in memory; drops what was put longest ago when it is full.

    Args:
        max_bytes: The memory that documents may take.
        clock: Seconds that never run backwards.
    """

    def __init__(self, max_bytes: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._held: OrderedDict[UUID, _Held] = OrderedDict()
        self._size_bytes = 0
        self._minutes: dict[int, Counter[tuple[str, str]]] = {}

    def __repr__(self) -> str:
        return f"<MemoryCache documents={len(self._held)} bytes={self._size_bytes}>"

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def put(self, entries: Sequence[Entry], counts: Sequence[Count] = ()) -> None:
        """Keep documents, each unless a newer one is there; add to the counters."""
        for entry in entries:
            held = await self.get(entry.task_id)
            if held is None or entry.version >= held.version:
                self._keep(entry)
        self._make_room()
        if counts:
            self._add(counts)

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
        """Sums by (queue, what) over the last so many full minutes (at most 119) and the one that runs."""
        first = self._minute() - minutes
        sums: Counter[tuple[str, str]] = Counter()
        for minute, counted in self._minutes.items():
            if minute >= first:
                sums.update(counted)
        return sums

    async def ping(self) -> None:
        """Nothing to wait for."""

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

    def _add(self, counts: Sequence[Count]) -> None:
        now = self._minute()
        counted = self._minutes.setdefault(now, Counter())
        for count in counts:
            counted[count.queue, count.what] += count.number
        for minute in [minute for minute in self._minutes if minute <= now - _COUNTED_MINUTES]:
            del self._minutes[minute]

    def _minute(self) -> int:
        return int(self._clock() // 60)
