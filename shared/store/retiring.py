"""Forgetting tasks by whole partitions: what takes milliseconds, where deleting millions of rows takes hours.

The oldest partition is taken out once all but a few of its tasks may be forgotten. Those few, which are not final yet
or ended lately, move to the first partition, so that no partition is kept for the sake of one task. What was taken
out is a table of its own that nobody looks at: what belonged to its tasks is deleted at leisure, then the table.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.domain.artifact import artifact_key
from shared.domain.partition import Partition, days_ago
from shared.domain.status import RELEASE, TaskStatus
from shared.errors import PartitionsBusyError
from shared.ids import first_id_at
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.partitions import alone, attach, change, detach, move, partitions_of
from shared.store.rows import MAY_BE_FORGOTTEN
from shared.store.statement import Statement, sql_list, text

#: A partition with more tasks to be kept than this stays: to move them would take too long.
MAX_MOVED: Final = 10_000
#: Rows that one statement looks at.
_CHUNK: Final = 20_000
_FIRST: Final = UUID(int=0)
#: Files that one round forgets.
_FILES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of a retired partition: its tasks, the keys of files to delete now, whether anything is left."""

    tasks: int
    artifact_keys: list[str]
    may_be_more: bool


class Retiring:
    """Takes old partitions out of `tasks`, and deletes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def retire(self, *, older_than_days: float) -> Partition | None:
        """Take the oldest partition out if all but a few of its tasks ended so long ago.

        Returns:
            The partition, or None if there is none to take out, or it can't be had just now.
        """
        try:
            async with alone(self._database) as connection:
                return await _retire(connection, older_than_days)
        except PartitionsBusyError:
            return None

    async def clear(self) -> Cleared | None:
        """Delete a partition that was taken out, and what belonged to its tasks; of their files, some at a time.

        Whoever dies over this leaves it to the next round. Files are to be deleted once this is committed; what is
        missed then, the sweep finds.

        Returns:
            What was done; None where there was nothing to do, or somebody else does it.
        """
        try:
            async with alone(self._database) as connection:
                row = await connection.one_or_none(_NEXT_RETIRED)
                return None if row is None else await _clear(connection, *row)
        except PartitionsBusyError:
            return None


async def _retire(connection: Connection, older_than_days: float) -> Partition | None:
    leftover, oldest, *_ = await partitions_of(connection)
    ended_before = days_ago(await connection.scalar(text("SELECT now()")), older_than_days)
    if oldest.end is None or oldest.end > ended_before:
        return None
    kept = await _to_be_kept(connection, oldest, ended_before)
    if kept is None:
        return None
    await connection.execute(
        _RETIRE,
        {
            "name": oldest.name,
            "first": first_id_at(oldest.begin or ended_before),
            "end": first_id_at(oldest.end),
            "ended_before": ended_before,
        },
    )
    await change(
        connection,
        detach(oldest),
        detach(leftover),
        # Who reads all of it while everybody waits has lost: these have indexes.
        "SET LOCAL enable_seqscan = off",
        move(oldest.name, leftover.name, _is_among(kept)),
        # Tasks that were renewed since.
        *(move(oldest.name, leftover.name, unfinished) for unfinished in _UNFINISHED),
        attach(replace(leftover, end=oldest.end)),
    )
    return oldest


async def _to_be_kept(connection: Connection, partition: Partition, ended_before: datetime) -> list[UUID] | None:
    """The tasks that may not be forgotten; None if they are too many."""
    kept: list[UUID] = []
    async for chunk in _chunks(connection, partition.name, _FIRST, ended_before):
        kept += chunk.kept
        if len(kept) > MAX_MOVED:
            return None
    return kept


async def _clear(connection: Connection, name: str, first: UUID, end: UUID, ended_before: datetime) -> Cleared:
    tasks = 0
    async for chunk in _chunks(connection, name, first, ended_before):
        if chunk.kept:  # it became so just before the partition was taken out
            await connection.control(move(name, "tasks", _is_among(chunk.kept)))
        for statement in _BELONGINGS:
            await connection.execute(statement, {"first": chunk.first, "end": chunk.end or end})
        tasks += chunk.number - len(chunk.kept)
    await connection.execute(_KEYS_OF, {"first": first, "end": end})
    files = await connection.execute(_FILES_OF, {"first": first, "end": end, "limit": _FILES})
    if len(files) < _FILES:
        await connection.control(f"DROP TABLE {name}")
        await connection.execute(_CLEARED, {"name": name})
    else:
        await connection.control(f"TRUNCATE {name}")
    return Cleared(tasks, [artifact_key(*row) for row in files], len(files) == _FILES)


class _Chunk(NamedTuple):
    """Some tasks: from the id `first` to `end`, None for all that follow; and which of them may not be forgotten."""

    first: UUID
    end: UUID | None
    number: int
    kept: list[UUID]


async def _chunks(connection: Connection, table: str, first: UUID, ended_before: datetime) -> AsyncIterator[_Chunk]:
    """All tasks of a table, so many at a time that no statement takes long."""
    end: UUID | None = first
    while end is not None:
        first = end
        parameters = {"first": first, "limit": _CHUNK, "ended_before": ended_before}
        row = await connection.one(_look(table), parameters)
        end = row.next
        yield _Chunk(first, end, row.number, row.kept or [])


def _is_among(task_ids: Sequence[UUID]) -> str:
    return f"id = ANY('{{{','.join(map(str, task_ids))}}}'::uuid[])"


#: Each has a partial index of that very condition.
_UNFINISHED: Final = (
    f"status = '{TaskStatus.QUEUED}'",
    f"status = '{TaskStatus.RUNNING}'",
    f"status IN ({sql_list(RELEASE.sources)})",
)


def _look(table: str) -> Statement:
    # `next` is the first that is not looked at.
    return text(f"""
    WITH chunk AS (
        SELECT t.id, t.status, t.finished_at, t.unique_key, row_number() OVER (ORDER BY t.id) AS number
        FROM (SELECT * FROM {table} WHERE id >= :first ORDER BY id LIMIT CAST(:limit AS bigint) + 1) t
    )
    SELECT count(*) FILTER (WHERE t.number <= :limit) AS number,
           array_agg(t.id) FILTER (WHERE t.number <= :limit AND NOT ({MAY_BE_FORGOTTEN})) AS kept,
           (array_agg(t.id) FILTER (WHERE t.number > :limit))[1] AS next
    FROM chunk t""")


_RETIRE: Final = text("""
    INSERT INTO retired_partitions (name, first_id, end_id, ended_before)
    VALUES (:name, :first, :end, :ended_before)""")

_NEXT_RETIRED: Final = text("""
    SELECT name, first_id, end_id, ended_before FROM retired_partitions ORDER BY end_id LIMIT 1""")

_CLEARED: Final = text("DELETE FROM retired_partitions WHERE name = :name")


def _of_gone(column: str) -> str:
    # The tasks that were kept are in the span as well.
    return f"""
        {column} >= :first AND {column} < :end
        AND NOT EXISTS (SELECT FROM tasks t WHERE t.id = {column} AND t.id >= :first AND t.id < :end)"""


_BELONGINGS: Final = (
    text(f"DELETE FROM dead_letters d WHERE d.task_id IS NOT NULL AND {_of_gone('d.id')}"),
    text(f"DELETE FROM task_marks m WHERE {_of_gone('m.task_id')}"),
)
# For all tasks at once, because it reads all keys.
_KEYS_OF: Final = text(f"DELETE FROM task_keys k WHERE k.kind = 'idempotency' AND {_of_gone('k.task_id')}")
_FILES_OF: Final = text(f"""
    DELETE FROM artifacts WHERE id = ANY (ARRAY(
        SELECT a.id FROM artifacts a WHERE a.task_id IS NOT NULL AND {_of_gone("a.task_id")} LIMIT :limit))
    RETURNING id, task_id, attempt""")
