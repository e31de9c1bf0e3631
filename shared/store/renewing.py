"""The move of a final task back to its queue, inside a transaction of the caller."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.domain.status import RENEW
from shared.domain.task import TaskRecord
from shared.errors import IllegalMoveError, TaskNotFoundError, UniqueConflictError
from shared.store.connection import Connection
from shared.store.rows import PUBLISHED_DIRECTLY, SELECT_MOVED, Moved, moved_from, ring_due
from shared.store.statement import sql_list, text


class BulkReplay(NamedTuple):
    """A replay of many dead letters.

    Attributes:
        task_id: The task that does it; each task that it renews is marked there, in the same transaction.
        before: Only tasks that failed before this are renewed: one that fails again has failed later, and is left.
    """

    task_id: UUID
    before: datetime


async def renew(
    connection: Connection, task_id: UUID, *, payload: str | None = None, bulk: BulkReplay | None = None
) -> Moved:
    """Queue a task again; see `Lifecycle.renew`."""
    moved = moved_from(
        await connection.execute(
            _RENEW,
            {
                "id": task_id,
                "payload": payload,
                "bulk": bulk and bulk.task_id,
                "before": bulk and bulk.before,
            },
        )
    )
    if not moved.tasks:
        raise await why_not(connection, task_id, "retry")
    await _retake_key(connection, moved.tasks[0])
    return moved


async def why_not(connection: Connection, task_id: UUID, move: str) -> Exception:
    """What to raise when a move of one task found nothing to move."""
    status = await connection.scalar(text("SELECT status FROM tasks WHERE id = :id"), {"id": task_id})
    return TaskNotFoundError(task_id) if status is None else IllegalMoveError(task_id, status, move)


async def _retake_key(connection: Connection, task: TaskRecord) -> None:
    if task.unique_key is None:
        return
    holder = await connection.scalar(_RETAKE_KEY, {"key": task.unique_key, "id": task.id})
    if holder != task.id:
        raise UniqueConflictError(task.id, holder)


_RENEW: Final = text(f"""
    WITH moved AS (
        UPDATE tasks t
        SET status = 'queued', attempts_before = t.attempt, cancel_requested = false, result = NULL, error = NULL,
            progress = NULL, worker = NULL, queued_at = now(), run_at = NULL, started_at = NULL,
            finished_at = NULL, expires_at = NULL, payload = coalesce(CAST(:payload AS text), t.payload),
            version = t.version + 1
        WHERE t.id = :id AND t.status IN ({sql_list(RENEW.sources)})
          -- By the row itself, not by its letter: the row is looked at afresh if somebody has moved it just now.
          AND (CAST(:before AS timestamptz) IS NULL OR t.finished_at < :before
               AND EXISTS (SELECT FROM dead_letters d WHERE d.id = t.id))
        RETURNING t.*
    ), dug AS (DELETE FROM dead_letters d USING moved m WHERE d.id = m.id RETURNING 1),
    marked AS (
        INSERT INTO task_marks (task_id, mark)
        SELECT CAST(:bulk AS uuid), m.id::text FROM moved m WHERE CAST(:bulk AS uuid) IS NOT NULL
        ON CONFLICT DO NOTHING),
    rung AS ({ring_due(due_in=PUBLISHED_DIRECTLY)})
    {SELECT_MOVED}""")

_RETAKE_KEY: Final = text("""
    INSERT INTO task_keys AS k (kind, key, task_id, fingerprint, open, keep_until)
    VALUES ('unique', :key, :id, '', true, now())
    ON CONFLICT (kind, key) DO UPDATE
    SET task_id = CASE WHEN k.open OR k.keep_until > now() THEN k.task_id ELSE excluded.task_id END,
        open = k.open OR k.task_id = excluded.task_id OR k.keep_until <= now()
    RETURNING task_id""")
