"""Doorbells that still have to ring."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shared.domain.message import Due
from shared.domain.ring import Ring
from shared.domain.status import TaskStatus
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.rows import AMONG, among
from shared.store.statement import text


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that this transaction holds: nobody else publishes them meanwhile."""

    rings: list[Ring]
    _connection: Connection

    async def rung(self, rings: Sequence[Ring]) -> None:
        """Delete what the broker has confirmed, when the transaction commits."""
        await self._connection.execute(_DELETE, {"ids": [ring.outbox_id for ring in rings]})


class Outbox:
    """The table `outbox`. Births and moves insert into it, in their own transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(self, rings: Sequence[Ring]) -> None:
        """Forget doorbells that the broker has confirmed."""
        async with self._database.by_key() as connection:
            await connection.execute(_DELETE, {"ids": [ring.outbox_id for ring in rings]})

    async def overdue_s(self) -> float:
        """Seconds for which the relay should have rung the doorbell that waits the longest; 0 if none does."""
        async with self._database.read() as connection:
            return float(await connection.scalar(_OVERDUE_S) or 0.0)

    @asynccontextmanager
    async def take_due(self, limit: int) -> AsyncIterator[Batch]:
        """At most `limit` doorbells that nobody has rung in time, locked until the block ends."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(_TAKE_DUE, {"limit": limit})
            yield Batch([Ring(*row) for row in rows], connection)

    async def ring_again(self, queue: str, *, older_than_s: float, limit: int) -> list[Ring]:
        """New doorbells for at most `limit` tasks of `queue`, queued for so long, that have none in the outbox."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                _RING_AGAIN, {"queue": queue, "older_than_s": older_than_s, "limit": limit}
            )
            return [Ring(*row) for row in rows]

    async def ring_all(self, queue: str, *, after: UUID | None, limit: int) -> list[Ring]:
        """New doorbells for at most `limit` queued tasks of `queue` behind the task `after`, unless it is paused.

        A doorbell that such a task still has in the outbox is replaced: its message may be out and refused already,
        and then only its deletion is missing.
        """
        async with self._database.read() as connection:
            rows = await connection.execute(_RING_ALL, {"queue": queue, "after": after, "limit": limit})
            return [Ring(*row) for row in rows]

    async def postpone_unknown(self, due: Sequence[Due], types: Sequence[str]) -> int:
        """Ring later for the still queued tasks among `due` whose type is not in `types`.

        A type that this worker doesn't know is not poison: another worker may know it, now or after a deploy.
        The pause grows with the time the task has waited, from 2 to 30 seconds.

        Returns:
            How many there were.
        """
        async with self._database.by_key() as connection:
            return await connection.change(
                _POSTPONE,
                {
                    **among([entry.task_id for entry in due]),
                    "attempts": [entry.attempt for entry in due],
                    "types": list(types),
                    "status": TaskStatus.QUEUED,
                },
            )

    async def ring_queued(self, due: Sequence[Due]) -> int:
        """Ring afresh for those of `due` that are still queued; their message died at the broker.

        Returns:
            How many there were.
        """
        async with self._database.by_key() as connection:
            return await connection.change(
                _RING_QUEUED,
                {
                    **among([entry.task_id for entry in due]),
                    "attempts": [entry.attempt for entry in due],
                    "status": TaskStatus.QUEUED,
                },
            )


# This commit need not wait for the disk. If a crash takes it back, the doorbells ring once more, and are refused.
_DELETE: Final = text("""
    DELETE FROM outbox WHERE id = ANY(CAST(:ids AS bigint[]))
      AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'""")

_OVERDUE_S: Final = text("SELECT greatest(extract(epoch FROM now() - min(due_at)), 0)::float8 FROM outbox")

_TAKE_DUE: Final = text("""
    SELECT id, task_id, attempt, queue, priority, type FROM outbox WHERE due_at <= now()
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED""")

_RING_AGAIN: Final = text("""
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT t.id, t.attempt + 1, t.queue, t.priority, t.type, now() + interval '5 seconds' FROM tasks t
    WHERE t.status = 'queued' AND t.queue = :queue
      AND t.queued_at < now() - make_interval(secs => :older_than_s)
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.task_id = t.id)
    ORDER BY t.id LIMIT :limit
    RETURNING id, task_id, attempt, queue, priority, type""")

# What the relay holds it rings and deletes itself; waiting for it would gain nothing.
_RING_ALL: Final = text("""
    WITH due AS (
        SELECT t.id, t.attempt, t.queue, t.priority, t.type FROM tasks t
        WHERE t.status = 'queued' AND t.queue = :queue AND (CAST(:after AS uuid) IS NULL OR t.id > :after)
          AND NOT EXISTS (SELECT FROM queues q WHERE q.name = :queue AND q.paused)
        ORDER BY t.id LIMIT :limit
    ), replaced AS (
        DELETE FROM outbox o WHERE o.id = ANY (ARRAY(
            SELECT x.id FROM outbox x JOIN due ON due.id = x.task_id FOR UPDATE OF x SKIP LOCKED))
    )
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT id, attempt + 1, queue, priority, type, now() + interval '5 seconds' FROM due
    RETURNING id, task_id, attempt, queue, priority, type""")

_POSTPONE: Final = text(f"""
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT t.id, d.attempt, t.queue, t.priority, t.type,
           now() + least(interval '30 seconds', greatest(interval '2 seconds', (now() - t.queued_at) / 4))
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS d(id, attempt)
    JOIN tasks t ON t.id = d.id
    WHERE {AMONG} AND t.status = CAST(:status AS text)
      AND t.attempt = d.attempt - 1 AND t.type <> ALL(CAST(:types AS text[]))""")

_RING_QUEUED: Final = text(f"""
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT t.id, d.attempt, t.queue, t.priority, t.type, now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS d(id, attempt)
    JOIN tasks t ON t.id = d.id
    WHERE {AMONG} AND t.status = CAST(:status AS text) AND t.attempt = d.attempt - 1""")
