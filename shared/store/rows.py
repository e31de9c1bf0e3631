"""How rows become records, and statements that several modules share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from asyncpg.pgproto import pgproto

from shared.domain.callback import DELIVER_MAX_ATTEMPTS, DELIVER_TIMEOUT_S, DELIVER_TYPE
from shared.domain.ring import Ring
from shared.domain.status import FINAL, TaskStatus
from shared.domain.task import TASK_COLUMNS, TaskRecord
from shared.domain.task_type import SYSTEM_QUEUE
from shared.store.connection import Row
from shared.store.statement import sql_list

#: The columns of `tasks`, for `RETURNING` and `SELECT` on the alias `t`.
COLUMNS: Final = ", ".join(f"t.{name}" for name in TASK_COLUMNS)

_NO_ID: Final = UUID(int=0)

#: Whoever moves a task to queued publishes it at once; the relay comes only for what is left after this.
PUBLISHED_DIRECTLY: Final = "interval '5 seconds'"

#: CTE parts: after a CTE `moved` that returns whole rows of `tasks`.
RELEASE_KEYS: Final = """
    UPDATE task_keys k SET open = false FROM moved m
    WHERE k.kind = 'unique' AND k.key = ANY(ARRAY(SELECT unique_key FROM moved WHERE unique_key IS NOT NULL))
      AND k.key = m.unique_key AND k.task_id = m.id
      AND m.status IN ('succeeded', 'failed', 'cancelled', 'expired')
    RETURNING 1"""
BURY: Final = """
    INSERT INTO dead_letters (id, task_id, type, queue, reason, error, died_at)
    SELECT m.id, m.id, m.type, m.queue, coalesce(m.error::json ->> 'kind', 'failed'), m.error, now()
    FROM moved m WHERE m.status = 'failed'
    ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, error = excluded.error, died_at = excluded.died_at
    RETURNING 1"""

#: Of a row `t` of tasks: it is one of `among`. The span is for PostgreSQL, which opens the partitions of it alone.
AMONG: Final = "t.id = ANY(CAST(:ids AS uuid[])) AND t.id BETWEEN :first_id AND :last_id"


def chosen(select: str) -> str:
    """CTE part: the ids of the tasks that `select` finds and locks.

    As an array, because PostgreSQL takes it to be short. It may take what a LIMIT with a parameter lets through to be
    a tenth of all tasks, and then reads every partition to find them again by their ids.
    """
    return f"SELECT unnest(ARRAY({select})) AS id"


#: Of a row `t` of tasks: it ended before `:ended_before`, and no repeat will be answered with it.
MAY_BE_FORGOTTEN: Final = f"""
    t.status IN ({sql_list(FINAL)}) AND t.finished_at < :ended_before
    AND NOT EXISTS (
        SELECT FROM task_keys k
        WHERE t.unique_key IS NOT NULL AND k.kind = 'unique' AND k.key = t.unique_key AND k.task_id = t.id
          AND (k.open OR k.keep_until > now()))"""

# PostgreSQL makes these ids itself only from version 18 on. A random one (version 4) becomes one of version 7: its
# first six bytes give way to the time in milliseconds, and two bits turn the 4 into a 7.
#: An SQL expression for a fresh id like those of `shared.ids`. Source: RFC 9562, section 5.7.
NEW_ID: Final = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
    substring(int8send(CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)) FROM 3)
    FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"""

#: CTE part, by the name of `called`: the task that tells of each row of `moved` which is final and has a
#: callback_url. `ring_due_and_called` rings for it.
CALL_BACK: Final = f"""
    INSERT INTO tasks (id, type, queue, priority, status, attempt, attempts_before, max_attempts, timeout_s, payload,
                       errors, tags, created_at, queued_at, cancel_requested, parent_id, request_id, version)
    SELECT {NEW_ID}, '{DELIVER_TYPE}', '{SYSTEM_QUEUE}', 'normal', '{TaskStatus.QUEUED}', 0, 0,
           {DELIVER_MAX_ATTEMPTS}, {DELIVER_TIMEOUT_S},
           json_build_object('task_id', m.id, 'status', m.status, 'attempt', m.attempt,
                             'finished_at', m.finished_at)::text,
           '{{}}', '{{}}', now(), now(), false, m.id, m.request_id, 1
    FROM moved m WHERE m.callback_url IS NOT NULL AND m.status IN ({sql_list(FINAL)})
    RETURNING id, parent_id, queue, priority, type"""


@dataclass(slots=True)
class Moved:
    """What a move of tasks did: the rows as they are now, and the doorbells it left in the outbox.

    Among the doorbells are those of the callbacks that it brought about.
    """

    tasks: list[TaskRecord] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)


def ring_due(*, due_in: str) -> str:
    """CTE part: a doorbell for each queued row of `moved`, for the relay after `due_in` (an SQL interval)."""
    return f"""
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT m.id, m.attempt + 1, m.queue, m.priority, m.type, now() + {due_in} FROM moved m WHERE m.status = 'queued'
    RETURNING id, task_id"""


def ring_due_and_called(*, due_in: str) -> str:
    """CTE part: as `ring_due`, and a doorbell for each callback in `called` too."""
    return f"""
    INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
    SELECT d.id, d.attempt, d.queue, d.priority, d.type, now() + {due_in} FROM (
        SELECT m.id, m.attempt + 1, m.queue, m.priority, m.type FROM moved m WHERE m.status = 'queued'
        UNION ALL SELECT c.id, 1, c.queue, c.priority, c.type FROM called c) AS d(id, attempt, queue, priority, type)
    RETURNING id, task_id"""


#: Selects what a statement with the CTEs `moved` and `rung` did; read it with `moved_from`.
SELECT_MOVED: Final = (
    f"SELECT r.id AS outbox_id, NULL AS callback_id, {COLUMNS} FROM moved t LEFT JOIN rung r ON r.task_id = t.id"
)


def select_moved_and_called(columns: str) -> str:
    """The same for a statement with the CTE `called` besides, and other columns of `moved`, whose alias is `t`.

    A row is queued or final, so it has one doorbell at most.
    """
    return f"""
    SELECT r.id AS outbox_id, c.id AS callback_id, {columns}
    FROM moved t LEFT JOIN called c ON c.parent_id = t.id LEFT JOIN rung r ON r.task_id = coalesce(c.id, t.id)"""


#: That with all columns; read it with `moved_from`.
SELECT_MOVED_AND_CALLED: Final = select_moved_and_called(COLUMNS)


def id_from(text: str) -> UUID:
    """The id that a text stands for, in the class of the database driver: a UUID too, but made and compared in C.

    Raises:
        ValueError: It stands for none.
    """
    return pgproto.UUID(text)


def among(task_ids: Sequence[UUID]) -> dict[str, object]:
    """Parameters that name tasks, for a statement with `AMONG`."""
    return {
        "ids": list(task_ids),
        "first_id": min(task_ids, default=_NO_ID),
        "last_id": max(task_ids, default=_NO_ID),
    }


def task_from(row: Row | Sequence[Any]) -> TaskRecord:
    """The record of a row that selected `COLUMNS`."""
    return TaskRecord._make(row)


def moved_from(rows: Iterable[Row]) -> Moved:
    """The records and rings of rows that came from `SELECT_MOVED` or `SELECT_MOVED_AND_CALLED`."""
    moved = Moved()
    for outbox_id, callback_id, *fields in rows:
        task = task_from(fields)
        moved.tasks.append(task)
        moved.rings += rings_of(task, outbox_id, callback_id)
    return moved


def rings_of(task: TaskRecord, outbox_id: int | None, callback_id: UUID | None) -> list[Ring]:
    """The doorbell that a move has left: of the task's callback, or of the task itself, if it was one of those."""
    if callback_id is not None:
        assert outbox_id is not None
        return [Ring(outbox_id, callback_id, 1, SYSTEM_QUEUE, "normal", DELIVER_TYPE)]
    if outbox_id is not None:
        return [Ring(outbox_id, task.id, task.attempt + 1, task.queue, task.priority, task.type)]
    return []
