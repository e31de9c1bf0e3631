"""Purging a queue: what has not started is cancelled, chunk by chunk, each a guarded UPDATE of its own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.domain.status import CANCEL, RELEASE
from shared.store.database import Database
from shared.store.rows import (
    CALL_BACK,
    PUBLISHED_DIRECTLY,
    RELEASE_KEYS,
    SELECT_MOVED_AND_CALLED,
    Moved,
    chosen,
    moved_from,
    ring_due_and_called,
)
from shared.store.statement import Statement, sql_list, text


@dataclass(slots=True)
class Purge:
    """How far a purge has come.

    Attributes:
        queue: What is purged.
        asked_at: Tasks that were born later stay: a queue that is filled as fast as it is purged has an end.
        timed_done: Whether those that wait for a time are done with.
        last_time: `run_at` of the last of those, None before the first.
        last_id: Id of the last one, None before the first.
    """

    queue: str
    asked_at: datetime
    timed_done: bool = False
    last_time: datetime | None = None
    last_id: UUID | None = None


class Purges:
    """Cancels many waiting tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, queue: str) -> Purge:
        """A purge of what waits in the queue now, by PostgreSQL's clock."""
        async with self._database.read() as connection:
            return Purge(queue, await connection.scalar(text("SELECT now()")))

    async def next_chunk(self, purge: Purge, limit: int) -> Moved:
        """Cancel at most `limit` tasks. Nothing is left when it cancels none.

        Those that wait for a time come first: one that is released meanwhile is met again among the queued.

        Returns:
            The tasks, and the doorbells of their callbacks.
        """
        if not purge.timed_done:
            moved = await self._cancel(_TIMED, purge, limit)
            if moved.tasks:
                purge.last_time, purge.last_id = max((task.run_at, task.id) for task in moved.tasks if task.run_at)
                return moved
            purge.timed_done, purge.last_id = True, None
        moved = await self._cancel(_QUEUED, purge, limit)
        if moved.tasks:
            purge.last_id = max(task.id for task in moved.tasks)
        return moved

    async def _cancel(self, statement: Statement, purge: Purge, limit: int) -> Moved:
        parameters = {"queue": purge.queue, "asked_at": purge.asked_at, "id": purge.last_id, "limit": limit}
        if not purge.timed_done:
            parameters["time"] = purge.last_time
        async with self._database.read() as connection:
            return moved_from(await connection.execute(statement, parameters))


def _cancel_those(status: str, behind: str, order: str) -> str:
    # Held rows are waited for, not skipped: who holds one may be about to release it, and it would stay. All wait
    # in the order of their keys. A claim that was first has changed the status, and its row is passed over.
    waiting = chosen(f"""
        SELECT t.id FROM tasks t
        WHERE t.status IN ({status}) AND t.queue = :queue AND t.created_at <= :asked_at
          AND (CAST(:id AS uuid) IS NULL OR {behind})
        ORDER BY {order} LIMIT :limit FOR UPDATE""")
    return f"""
    WITH waiting AS ({waiting}
    ), moved AS (
        UPDATE tasks t
        SET status = 'cancelled', cancel_requested = true, finished_at = now(), version = t.version + 1
        FROM waiting w WHERE t.id = w.id AND t.status IN ({sql_list(CANCEL.sources)})
        RETURNING t.*
    ), keys AS ({RELEASE_KEYS}), called AS ({CALL_BACK}), rung AS ({ring_due_and_called(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED_AND_CALLED}"""


_TIMED: Final = text(
    _cancel_those(sql_list(RELEASE.sources), "(t.run_at, t.id) > (CAST(:time AS timestamptz), :id)", "t.run_at, t.id")
)
_QUEUED: Final = text(_cancel_those(sql_list(CANCEL.sources - RELEASE.sources), "t.id > :id", "t.id"))
