"""The moves of tasks. Each is one guarded UPDATE that names what it expects to find and does nothing otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from shared.domain.message import Due
from shared.domain.outcome import Failure
from shared.domain.status import CANCEL, CLAIM, EXPIRE, RELEASE, RESCUE, TaskStatus
from shared.domain.task import TaskRecord, failure_json
from shared.store.database import Database
from shared.store.finishing import Ending, Finished, finish
from shared.store.renewing import BulkReplay, renew, why_not
from shared.store.rows import (
    AMONG,
    BURY,
    CALL_BACK,
    COLUMNS,
    PUBLISHED_DIRECTLY,
    RELEASE_KEYS,
    SELECT_MOVED,
    SELECT_MOVED_AND_CALLED,
    Moved,
    among,
    chosen,
    moved_from,
    ring_due,
    ring_due_and_called,
    task_from,
)
from shared.store.statement import Statement, sql_list, text

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """The latest progress of a running attempt, as JSON text."""

    task_id: UUID
    attempt: int
    progress: str


class Lifecycle:
    """Every move in the table of moves but birth, which is `shared.store.submissions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Running ........................................................................

    async def claim(self, due: Sequence[Due], *, worker: str, types: Sequence[str]) -> list[TaskRecord]:
        """Start attempts.

        Repeating a claim whose answer was lost gives the same tasks again: do not repeat one for attempts that
        are known to run here.

        Returns:
            The tasks that are this worker's to run. What is missing is a duplicate, was cancelled or has
            expired, is of a type not in `types`, or of a queue that is paused.
        """
        due = sorted(due, key=lambda entry: entry.task_id.int)  # one order of locks for all statements
        async with self._database.by_key() as connection:
            rows = await connection.execute(
                _CLAIM,
                {
                    **among([entry.task_id for entry in due]),
                    "attempts": [entry.attempt for entry in due],
                    "worker": worker,
                    "types": list(types),
                },
            )
            return [task_from(row) for row in rows]

    async def finish(self, endings: Sequence[Ending], *, worker: str) -> Finished:
        """End attempts, each only if it still belongs to this worker and attempt (the fence).

        Safe to repeat: what an earlier call already wrote counts as done.
        """
        async with self._database.by_key() as connection:
            return await finish(connection, endings, worker=worker)

    async def report_progress(self, reports: Sequence[Progress], *, worker: str) -> list[TaskRecord]:
        """Store the progress of running attempts, under the same fence as their end."""
        reports = sorted(reports, key=lambda report: report.task_id)  # one order of locks for all statements
        async with self._database.by_key() as connection:
            rows = await connection.execute(
                _PROGRESS,
                {
                    **among([report.task_id for report in reports]),
                    "attempts": [report.attempt for report in reports],
                    "progress": [report.progress for report in reports],
                    "status": TaskStatus.RUNNING,
                    "worker": worker,
                },
            )
            return [task_from(row) for row in rows]

    # Waiting ........................................................................

    async def release(self, limit: int) -> Moved:
        """Queue at most `limit` scheduled and retrying tasks whose time has come."""
        return await self._move(_RELEASE, {"limit": limit})

    async def expire(self, limit: int) -> Moved:
        """End at most `limit` waiting tasks that were not started by `expires_at`."""
        return await self._move(_EXPIRE, {"limit": limit})

    async def rescue(self, limit: int, *, rescuer: str | None) -> Moved:
        """Take at most `limit` running tasks from workers whose heartbeat is stale or gone.

        Does nothing unless the rescuer's own heartbeats have been steady for as long as it takes to be stale:
        after a fault of PostgreSQL everybody's look old, and nobody's tasks may be taken for that. In the first
        moment after it the rescuer's own looks old as well, though not yet stale where another's is. Without a
        rescuer the caller knows that no worker is alive, and all running tasks are taken.
        """
        failure = Failure("worker_lost", "the worker that ran this attempt stopped sending heartbeats")
        return await self._move(_RESCUE, {"limit": limit, "rescuer": rescuer, "error": failure_json(failure)})

    async def _move(self, statement: Statement, parameters: dict[str, object]) -> Moved:
        async with self._database.read() as connection:
            return moved_from(await connection.execute(statement, parameters))

    # On request .....................................................................

    async def cancel(self, task_id: UUID) -> Moved:
        """Cancel a waiting task, or ask for the end of a running one (its `cancel_requested` is then set).

        Returns:
            The one task, and the doorbell of its callback if it has one and is cancelled now.

        Raises:
            TaskNotFoundError: No such task.
            IllegalMoveError: It is final.
        """
        async with self._database.read() as connection:
            moved = moved_from(await connection.execute(_CANCEL, {"id": task_id}))
            if not moved.tasks:
                raise await why_not(connection, task_id, "cancel")
            return moved

    async def renew(self, task_id: UUID, *, payload: str | None = None, bulk: BulkReplay | None = None) -> Moved:
        """Queue a failed, cancelled or expired task again, with its attempts renewed and its dead letter gone.

        Args:
            task_id: The task.
            payload: JSON text that its next attempts get instead of its payload, checked by the caller.
            bulk: The replay of many that it is part of, whose rules hold then.

        Raises:
            TaskNotFoundError: No such task.
            IllegalMoveError: It is not in one of those statuses, or the rules of `bulk` leave it out.
            UniqueConflictError: Another open task has its unique key.
        """
        async with self._database.transaction() as connection:
            return await renew(connection, task_id, payload=payload, bulk=bulk)


# Each batch is bound to its keys twice: as a list for the index, and by its join. The status comes as a value, not as
# a literal, so that no partial index offers itself: it would be read for all rows of that status.
_CLAIM: Final = text(f"""
    UPDATE tasks t
    SET status = 'running', attempt = d.attempt, worker = :worker, started_at = now(), progress = NULL,
        version = t.version + 1
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS d(id, attempt)
    WHERE {AMONG} AND t.id = d.id AND (
        t.status IN ({sql_list(CLAIM.sources)}) AND t.attempt = d.attempt - 1
            AND t.type = ANY(CAST(:types AS text[])) AND (t.expires_at IS NULL OR t.expires_at > now())
            AND t.queue <> ALL (ARRAY(SELECT q.name FROM queues q WHERE q.paused))
        -- our own claim, whose answer was lost
        OR t.status = 'running' AND t.attempt = d.attempt AND t.worker = :worker)
    RETURNING {COLUMNS}""")

_PROGRESS: Final = text(f"""
    UPDATE tasks t SET progress = p.progress, version = t.version + 1
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:progress AS text[]))
        AS p(id, attempt, progress)
    WHERE {AMONG} AND t.id = p.id AND t.status = CAST(:status AS text)
      AND t.attempt = p.attempt AND t.worker = :worker
    RETURNING {COLUMNS}""")

_DUE: Final = chosen(f"""
        SELECT id FROM tasks WHERE status IN ({sql_list(RELEASE.sources)}) AND run_at <= now()
        ORDER BY run_at LIMIT :limit FOR UPDATE SKIP LOCKED""")
_RELEASE: Final = text(f"""
    WITH due AS ({_DUE}
    ), moved AS (
        UPDATE tasks t SET status = 'queued', queued_at = now(), version = t.version + 1
        FROM due WHERE t.id = due.id AND t.status IN ({sql_list(RELEASE.sources)})
        RETURNING t.*
    ), rung AS ({ring_due(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED}""")

_LATE: Final = chosen(f"""
        SELECT id FROM tasks
        WHERE status IN ({sql_list(EXPIRE.sources)}) AND expires_at IS NOT NULL AND expires_at <= now()
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED""")
_EXPIRE: Final = text(f"""
    WITH late AS ({_LATE}
    ), moved AS (
        UPDATE tasks t SET status = 'expired', finished_at = now(), version = t.version + 1
        FROM late WHERE t.id = late.id AND t.status IN ({sql_list(EXPIRE.sources)})
        RETURNING t.*
    ), keys AS ({RELEASE_KEYS}), called AS ({CALL_BACK}), rung AS ({ring_due_and_called(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED_AND_CALLED}""")

_LOST: Final = chosen(f"""
        SELECT t.id FROM tasks t
        WHERE t.status IN ({sql_list(RESCUE.sources)}) AND (
            CAST(:rescuer AS text) IS NULL
            -- An array, not a join: a row that moved on just now is then judged by the worker that has it now.
            OR t.worker <> ALL (ARRAY(
                SELECT w.id FROM workers w WHERE w.heartbeat_at >= now() - make_interval(secs => w.stale_after_s)))
            AND EXISTS (
                SELECT FROM workers me WHERE me.id = :rescuer
                  AND me.heartbeat_at > now() - make_interval(secs => me.stale_after_s / 2)
                  AND me.steady_since <= now() - make_interval(secs => me.stale_after_s)))
        ORDER BY t.id LIMIT :limit FOR UPDATE OF t SKIP LOCKED""")
# A worker that goes on after all is refused by the fence: the row is no longer running, or no longer its own.
_RESCUE: Final = text(f"""
    WITH lost AS ({_LOST}
    ), moved AS (
        UPDATE tasks t
        SET status = CASE WHEN t.cancel_requested THEN 'cancelled'
                          WHEN t.attempt - t.attempts_before >= t.max_attempts THEN 'failed'
                          ELSE 'queued' END,
            worker = NULL,
            error = CAST(:error AS text),
            errors = t.errors || CAST(:error AS text),
            queued_at = now(),
            finished_at = CASE WHEN t.cancel_requested OR t.attempt - t.attempts_before >= t.max_attempts
                               THEN now() END,
            version = t.version + 1
        FROM lost WHERE t.id = lost.id AND t.status IN ({sql_list(RESCUE.sources)})
        RETURNING t.*
    ), keys AS ({RELEASE_KEYS}), dead AS ({BURY}), called AS ({CALL_BACK}),
    rung AS ({ring_due_and_called(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED_AND_CALLED}""")

_CANCEL: Final = text(f"""
    WITH moved AS (
        UPDATE tasks t
        SET status = CASE WHEN t.status = 'running' THEN t.status ELSE 'cancelled' END,
            finished_at = CASE WHEN t.status = 'running' THEN NULL ELSE now() END,
            cancel_requested = true,
            version = t.version + 1
        WHERE t.id = :id AND t.status IN ({sql_list(CANCEL.sources)}, 'running')
        RETURNING t.*
    ), keys AS ({RELEASE_KEYS}), called AS ({CALL_BACK}), rung AS ({ring_due_and_called(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED_AND_CALLED}""")
