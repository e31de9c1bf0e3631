"""Figures of the queues."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from shared.store.database import Database


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """Counts of one queue. `consumers` counts the live workers that take from it."""

    name: str
    ready: int
    running: int
    scheduled: int
    retrying: int
    failed: int
    consumers: int
    paused: bool
    oldest_queued_seconds: float | None


class Queues:
    """The table `queues`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def name(self, names: Sequence[str]) -> None:
        """Make queues known before a first task names them."""
        async with self._database.read() as connection:
            await connection.execute(_NAME, {"names": sorted(names)})

    async def figures(self) -> list[QueueFigures]:
        """Every queue that was ever named, by name."""
        async with self._database.read() as connection:
            return [QueueFigures(*row) for row in await connection.execute(_FIGURES)]

    async def with_queued(self, *, older_than_s: float) -> list[str]:
        """The queues that hold tasks queued for so long."""
        async with self._database.read() as connection:
            rows = await connection.execute(_WITH_QUEUED, {"older_than_s": older_than_s})
            return [row.name for row in rows]


_NAME: Final = text("""
    INSERT INTO queues (name) SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING""")

# The counts come from the partial indexes, so finished tasks cost nothing.
_FIGURES: Final = text("""
    SELECT q.name,
           (SELECT count(*) FROM tasks t WHERE t.status = 'queued' AND t.queue = q.name),
           coalesce(r.running, 0), coalesce(d.scheduled, 0), coalesce(d.retrying, 0),
           (SELECT count(*) FROM tasks t WHERE t.status = 'failed' AND t.queue = q.name),
           (SELECT count(*) FROM workers w
            WHERE w.heartbeat_at > now() - make_interval(secs => w.stale_after_s) AND NOT w.stopping
              AND w.queues::jsonb ? q.name),
           q.paused,
           (SELECT extract(epoch FROM now() - t.queued_at)::float8 FROM tasks t
            WHERE t.status = 'queued' AND t.queue = q.name ORDER BY t.id LIMIT 1)
    FROM queues q
    LEFT JOIN (SELECT queue, count(*) AS running FROM tasks WHERE status = 'running' GROUP BY queue) r
        ON r.queue = q.name
    LEFT JOIN (SELECT queue, count(*) FILTER (WHERE status = 'scheduled') AS scheduled,
                      count(*) FILTER (WHERE status = 'retrying') AS retrying
               FROM tasks WHERE status IN ('scheduled', 'retrying') GROUP BY queue) d
        ON d.queue = q.name
    ORDER BY q.name""")

# Each queue's oldest by id stands for its oldest by queued_at: near enough to ask the broker, and one index probe
# however long the queue is.
_WITH_QUEUED: Final = text("""
    SELECT q.name FROM queues q
    CROSS JOIN LATERAL (SELECT t.queued_at FROM tasks t WHERE t.status = 'queued' AND t.queue = q.name
                        ORDER BY t.id LIMIT 1) oldest
    WHERE oldest.queued_at < now() - make_interval(secs => :older_than_s)
    ORDER BY q.name""")
