"""Reading tasks, one or a page of many; and forgetting those that are old."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.domain.artifact import artifact_key
from shared.domain.partition import cleared_singly_before, days_ago
from shared.domain.task import TaskRecord
from shared.errors import TaskNotFoundError
from shared.ids import CLOCK_SKEW, first_id_at
from shared.store.database import Database
from shared.store.partitions import partitions_of
from shared.store.rows import AMONG, COLUMNS, MAY_BE_FORGOTTEN, among, chosen, task_from
from shared.store.statement import text


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks a list shows; None means any."""

    status: str | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many tasks are no more, and the keys of their files."""

    tasks: int
    artifact_keys: list[str]


class Tasks:
    """Reads the table `tasks`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, task_id: UUID) -> TaskRecord:
        """One task.

        Raises:
            TaskNotFoundError: No such task.
        """
        async with self._database.by_key() as connection:
            row = await connection.one_or_none(_GET, {"id": task_id})
        if row is None:
            raise TaskNotFoundError(task_id)
        return task_from(row)

    async def versions(self, task_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """The versions of those tasks that exist."""
        async with self._database.by_key() as connection:
            return dict(tuple(row) for row in await connection.execute(_VERSIONS, among(task_ids)))

    async def many(self, task_ids: Sequence[UUID]) -> list[TaskRecord]:
        """Those tasks that exist, in any order."""
        async with self._database.by_key() as connection:
            return [task_from(row) for row in await connection.execute(_MANY, among(task_ids))]

    async def page(self, wanted: TaskFilter, *, limit: int, before: UUID | None = None) -> list[TaskRecord]:
        """At most `limit` tasks, newest first, made before the task `before`."""
        conditions = {
            "t.id < :before": before,
            "t.status = :status": wanted.status,
            "t.type = :type": wanted.type,
            "t.queue = :queue": wanted.queue,
            ":tag = ANY(t.tags)": wanted.tag,
            "t.created_at >= :after AND t.id >= :after_id": wanted.created_after,
            "t.created_at < :until AND t.id <= :until_id": wanted.created_before,
        }
        clauses = [clause for clause, value in conditions.items() if value is not None]
        parameters = {
            "before": before,
            "status": wanted.status,
            "type": wanted.type,
            "queue": wanted.queue,
            "tag": wanted.tag,
            "after": wanted.created_after,
            "after_id": wanted.created_after and first_id_at(wanted.created_after - CLOCK_SKEW),
            "until": wanted.created_before,
            "until_id": wanted.created_before and first_id_at(wanted.created_before + CLOCK_SKEW),
            "limit": limit,
        }
        statement = text(
            f"SELECT {COLUMNS} FROM tasks t {'WHERE ' + ' AND '.join(clauses) if clauses else ''}"
            " ORDER BY t.id DESC LIMIT :limit"
        )
        async with self._database.read() as connection:
            used = {name: parameters[name] for name in statement.names}
            return [task_from(row) for row in await connection.execute(statement, used)]

    async def forget(self, *, older_than_days: float, limit: int) -> Forgotten:
        """Delete at most `limit` final tasks that ended so long ago, and what belongs to them.

        A task whose unique key is still kept stays, since a repeat is answered with it. So do those that will go
        with their partition.

        Their files are to be deleted once this is committed; what is missed then, the sweep finds.
        """
        async with self._database.transaction() as connection:
            now = await connection.scalar(text("SELECT now()"))
            ended_before = days_ago(now, older_than_days)
            made_before = cleared_singly_before(
                await partitions_of(connection), old=ended_before + CLOCK_SKEW, days=older_than_days
            )
            row = await connection.one(
                _FORGET, {"ended_before": ended_before, "end": first_id_at(made_before), "limit": limit}
            )
            await connection.execute(text("DELETE FROM task_keys WHERE NOT open AND keep_until < now()"))
        keys = zip(row.artifact_ids, row.artifact_tasks, row.artifact_attempts, strict=True)
        return Forgotten(row.tasks, [artifact_key(*parts) for parts in keys])


_GET: Final = text(f"SELECT {COLUMNS} FROM tasks t WHERE t.id = :id")

_MANY: Final = text(f"SELECT {COLUMNS} FROM tasks t WHERE {AMONG}")

_VERSIONS: Final = text(f"SELECT t.id, t.version FROM tasks t WHERE {AMONG}")

_OLD: Final = chosen(f"""
        SELECT t.id FROM tasks t WHERE t.id < :end AND {MAY_BE_FORGOTTEN}
        ORDER BY t.id LIMIT :limit FOR UPDATE SKIP LOCKED""")

_FORGET: Final = text(f"""
    WITH old AS ({_OLD}
    ), dead AS (DELETE FROM dead_letters d USING old WHERE d.id = old.id
    ), keys AS (DELETE FROM task_keys k USING old WHERE k.kind = 'idempotency' AND k.task_id = old.id
    ), marks AS (DELETE FROM task_marks m USING old WHERE m.task_id = old.id
    ), files AS (
        DELETE FROM artifacts a USING old WHERE a.task_id = old.id RETURNING a.id, a.task_id, a.attempt
    ), gone AS (DELETE FROM tasks t USING old WHERE t.id = old.id RETURNING 1)
    SELECT
        (SELECT count(*) FROM gone) AS tasks,
        array(SELECT id FROM files ORDER BY id) AS artifact_ids,
        array(SELECT task_id FROM files ORDER BY id) AS artifact_tasks,
        array(SELECT attempt FROM files ORDER BY id) AS artifact_attempts""")
