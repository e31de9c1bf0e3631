"""How rows become records, and statements that several modules share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row

from shared.domain.ring import Ring
from shared.domain.task import TASK_COLUMNS, TaskRecord

#: The columns of `tasks`, for `RETURNING` and `SELECT` on the alias `t`.
COLUMNS: Final = ", ".join(f"t.{name}" for name in TASK_COLUMNS)

#: CTE parts: after a CTE `moved` that returns whole rows of `tasks`.
RELEASE_KEYS: Final = """
    UPDATE task_keys k SET open = false FROM moved m
    WHERE m.unique_key IS NOT NULL AND k.kind = 'unique' AND k.key = m.unique_key AND k.task_id = m.id
      AND m.status IN ('succeeded', 'failed', 'cancelled', 'expired')
    RETURNING 1"""
BURY: Final = """
    INSERT INTO dead_letters (id, task_id, type, queue, reason, error, died_at)
    SELECT m.id, m.id, m.type, m.queue, coalesce(m.error::json ->> 'kind', 'failed'), m.error, now()
    FROM moved m WHERE m.status = 'failed'
    ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, error = excluded.error, died_at = excluded.died_at
    RETURNING 1"""


@dataclass(slots=True)
class Moved:
    """What a move of tasks did: the rows as they are now, and the doorbells it left in the outbox."""

    tasks: list[TaskRecord] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)


def ring_due(*, due_in: str) -> str:
    """CTE part: a doorbell for each queued row of `moved`, for the relay after `due_in` (an SQL interval)."""
    return f"""
    INSERT INTO outbox (task_id, attempt, queue, priority, due_at)
    SELECT m.id, m.attempt + 1, m.queue, m.priority, now() + {due_in} FROM moved m WHERE m.status = 'queued'
    RETURNING id, task_id"""


#: Selects what a statement with the CTEs `moved` and `rung` did; read it with `moved_from`.
SELECT_MOVED: Final = f"SELECT r.id AS outbox_id, {COLUMNS} FROM moved t LEFT JOIN rung r ON r.task_id = t.id"


def task_from(row: Row[Any] | Sequence[Any]) -> TaskRecord:
    """The record of a row that selected `COLUMNS`."""
    return TaskRecord(*row)


def moved_from(rows: Iterable[Row[Any]]) -> Moved:
    """The records and rings of rows that came from `SELECT_MOVED`."""
    moved = Moved()
    for row in rows:
        outbox_id, task = row[0], task_from(row[1:])
        moved.tasks.append(task)
        if outbox_id is not None:
            moved.rings.append(Ring(outbox_id, task.id, task.attempt + 1, task.queue, task.priority))
    return moved
