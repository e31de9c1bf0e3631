"""The queues: their figures, and whether their tasks may start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from shared.errors import QueueNotFoundError
from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """Counts of one queue.

    Attributes:
        consumers: The live workers that take from it.
        paused_at: From when on no task of it was started; None for a moment after the pause, and where there is none.
    """

    name: str
    ready: int
    running: int
    scheduled: int
    retrying: int
    failed: int
    consumers: int
    paused: bool
    paused_at: datetime | None
    oldest_queued_seconds: float | None


class Resumed(NamedTuple):
    """A queue whose tasks may start again, and still have to be rung for."""

    queue: str
    at: datetime


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
            return [QueueFigures(*row) for row in await connection.execute(_FIGURES, {"name": None})]

    async def figures_of(self, name: str) -> QueueFigures:
        """Those of one queue.

        Raises:
            QueueNotFoundError: Nobody has named it yet.
        """
        async with self._database.read() as connection:
            row = await connection.one_or_none(_FIGURES, {"name": name})
        if row is None:
            raise QueueNotFoundError(name)
        return QueueFigures(*row)

    async def pause(self, name: str) -> None:
        """Let no task of the queue start from now on. The queue is known after this; one that is paused stays so."""
        async with self._database.read() as connection:
            await connection.execute(_PAUSE, {"name": name})
            # Only once the pause is committed: a claim that didn't see it has begun before the commit, so none has
            # a `started_at` that is later than this. Who dies in between leaves a pause without a beginning, which
            # holds all the same, and gets one when it is asked for again.
            await connection.execute(_DATE_PAUSE, {"name": name})

    async def resume(self, name: str) -> Resumed | None:
        """Let tasks of the queue start again.

        Returns:
            What is left to do, as `shared.resuming` does it; None where the queue wasn't paused.

        Raises:
            QueueNotFoundError: Nobody has named it yet.
        """
        async with self._database.read() as connection:
            row = await connection.one_or_none(_RESUME, {"name": name})
        if row is None:
            raise QueueNotFoundError(name)
        return None if row.resumed_at is None else Resumed(name, row.resumed_at)

    async def resumed(self, *, older_than_s: float) -> list[Resumed]:
        """Queues that were resumed so long ago and whose tasks are still not all rung for: somebody died over it."""
        async with self._database.read() as connection:
            return [Resumed(*row) for row in await connection.execute(_RESUMED, {"older_than_s": older_than_s})]

    async def rung(self, resumed: Resumed) -> None:
        """The tasks of a resumed queue are rung for. Does nothing if it was paused again meanwhile."""
        async with self._database.read() as connection:
            await connection.execute(_RUNG, {"name": resumed.queue, "at": resumed.at})

    async def with_queued(self, *, older_than_s: float) -> list[str]:
        """The queues that are not paused and hold tasks queued for so long."""
        async with self._database.read() as connection:
            rows = await connection.execute(_WITH_QUEUED, {"older_than_s": older_than_s})
            return [row.name for row in rows]


_NAME: Final = text("""
    INSERT INTO queues (name) SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING""")

# The oldest task of the queue `q`. For an equality the planner would rather walk the primary key until it meets one,
# which for a queue without any is the whole table.
_OLDEST_QUEUED: Final = """
    t.status = 'queued' AND t.queue >= q.name AND t.queue <= q.name ORDER BY t.queue, t.id LIMIT 1"""

# The counts come from the partial indexes, so finished tasks cost nothing.
_FIGURES: Final = text(f"""
    SELECT q.name,
           (SELECT count(*) FROM tasks t WHERE t.status = 'queued' AND t.queue = q.name),
           coalesce(r.running, 0), coalesce(d.scheduled, 0), coalesce(d.retrying, 0),
           (SELECT count(*) FROM tasks t WHERE t.status = 'failed' AND t.queue = q.name),
           (SELECT count(*) FROM workers w
            WHERE w.heartbeat_at > now() - make_interval(secs => w.stale_after_s) AND NOT w.stopping
              AND NOT w.drain_requested AND w.queues::jsonb ? q.name),
           q.paused, q.paused_at,
           (SELECT extract(epoch FROM now() - t.queued_at)::float8 FROM tasks t WHERE {_OLDEST_QUEUED})
    FROM queues q
    LEFT JOIN (SELECT queue, count(*) AS running FROM tasks WHERE status = 'running' GROUP BY queue) r
        ON r.queue = q.name
    LEFT JOIN (SELECT queue, count(*) FILTER (WHERE status = 'scheduled') AS scheduled,
                      count(*) FILTER (WHERE status = 'retrying') AS retrying
               FROM tasks WHERE status IN ('scheduled', 'retrying') GROUP BY queue) d
        ON d.queue = q.name
    WHERE CAST(:name AS text) IS NULL OR q.name = :name
    ORDER BY q.name""")

_PAUSE: Final = text("""
    INSERT INTO queues AS q (name, paused) VALUES (:name, true)
    ON CONFLICT (name) DO UPDATE SET paused = true, resumed_at = NULL WHERE NOT q.paused""")

_DATE_PAUSE: Final = text("""
    UPDATE queues SET paused_at = now() WHERE name = :name AND paused AND paused_at IS NULL""")

_RESUME: Final = text("""
    UPDATE queues SET paused = false, paused_at = NULL,
                      resumed_at = CASE WHEN paused THEN now() ELSE resumed_at END
    WHERE name = :name
    RETURNING resumed_at""")

_RESUMED: Final = text("""
    SELECT name, resumed_at FROM queues
    WHERE NOT paused AND resumed_at < now() - make_interval(secs => :older_than_s)
    ORDER BY name""")

_RUNG: Final = text("""
    UPDATE queues SET resumed_at = NULL WHERE name = :name AND NOT paused AND resumed_at = :at""")

# Each queue's oldest by id stands for its oldest by queued_at: near enough to ask the broker, and one index probe
# however long the queue is.
_WITH_QUEUED: Final = text(f"""
    SELECT q.name FROM queues q
    CROSS JOIN LATERAL (SELECT t.queued_at FROM tasks t WHERE {_OLDEST_QUEUED}) oldest
    WHERE NOT q.paused AND oldest.queued_at < now() - make_interval(secs => :older_than_s)
    ORDER BY q.name""")
