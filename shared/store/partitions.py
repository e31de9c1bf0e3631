"""The partitions of `tasks`: which there are, and how the last one is cut so that there are some ahead."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from shared.domain.partition import Partition, next_cut
from shared.errors import PartitionsBusyError
from shared.ids import first_id_at, moment_of
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.statement import text

#: Of each partition of `tasks`. Rows are rewritten a few times within seconds and then rest for ever: room for those
#: rewrites, and rows that are frozen by the vacuum that clears up behind them, while they are still in memory, not
#: by one that reads all of them again because transaction numbers run out.
STORAGE: Final = (
    "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_freeze_min_age = 1000000"
)
#: Whoever changes the partitions, or deletes what was one, holds this.
_LOCK: Final = 0x7461736B70617274
#: The longest wait for that, and for the tasks: all statements on them wait behind whoever waits for all of them.
_LOCK_TIMEOUT: Final = "100ms"


class Partitions:
    """Reads and extends the list of partitions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Partition]:
        """Every partition in the order of ids: there is no gap between them."""
        async with self._database.read() as connection:
            return await partitions_of(connection)

    async def extend(self, *, width: timedelta) -> Partition | None:
        """Cut the last partition if it begins too soon: it keeps its tasks, and a new last one follows it.

        Returns:
            The new last one, or None where there is no need to cut. Another cut may be needed.

        Raises:
            PartitionsBusyError: Others use the tasks, or change the partitions, without a break.
        """
        async with self._database.read() as connection:
            if await _cut_of(connection, width) is None:
                return None
        async with alone(self._database) as connection:
            cut = await _cut_of(connection, width)
            if cut is None:
                return None
            last = (await partitions_of(connection))[-1]
            new = Partition(f"tasks_{cut:%Y%m%d}", cut, None)
            await connection.control(f"CREATE TABLE {new.name} (LIKE tasks {_LIKE}) WITH ({STORAGE})")
            await change(
                connection,
                detach(last),
                # Ids from clocks that are far ahead of ours; they stay in the last one.
                move(last.name, new.name, f"id >= '{first_id_at(cut)}'"),
                attach(replace(last, end=cut)),
                attach(new),
            )
        return new


async def partitions_of(connection: Connection) -> list[Partition]:
    """As `Partitions.all`, in a transaction of the caller's."""
    partitions = [_partition_from(name, bounds) for name, bounds in await connection.execute(_PARTITIONS)]
    return sorted(partitions, key=lambda partition: partition.begin or _NO_TIME)


@asynccontextmanager
async def alone(database: Database) -> AsyncIterator[Connection]:
    """A transaction in which nobody else changes the partitions.

    Raises:
        PartitionsBusyError: Somebody does, or `change` has waited in vain.
    """
    try:
        async with database.transaction() as connection:
            await connection.control(
                f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}';"
                f"SELECT pg_advisory_xact_lock({_LOCK});"
                "SET LOCAL lock_timeout = DEFAULT"
            )
            yield connection
    except asyncpg.LockNotAvailableError as error:
        raise PartitionsBusyError from error


async def change(connection: Connection, *commands: str) -> None:
    """Do that while nobody else has the tasks, and commit: it must be a matter of milliseconds.

    The parent alone is locked: every statement begins with it, and vacuum, which is at its partitions, is not in the
    way.
    """
    await connection.commit(
        f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'", "LOCK TABLE ONLY tasks IN ACCESS EXCLUSIVE MODE", *commands
    )


def detach(partition: Partition) -> str:
    """The command that makes it a table of its own."""
    return f"ALTER TABLE tasks DETACH PARTITION {partition.name}"


def attach(partition: Partition) -> str:
    """The command that makes a table a partition. All its rows are read, to see that they fit."""
    first = "MINVALUE" if partition.begin is None else f"'{first_id_at(partition.begin)}'"
    end = "MAXVALUE" if partition.end is None else f"'{first_id_at(partition.end)}'"
    return f"ALTER TABLE tasks ATTACH PARTITION {partition.name} FOR VALUES FROM ({first}) TO ({end})"


def move(source: str, target: str, condition: str) -> str:
    """The command that moves rows from one table to another of the same columns, or to `tasks`."""
    return (
        f"WITH moved AS (DELETE FROM {source} WHERE {condition} RETURNING *) INSERT INTO {target} SELECT * FROM moved"
    )


async def _cut_of(connection: Connection, width: timedelta) -> datetime | None:
    begin = (await partitions_of(connection))[-1].begin
    assert begin is not None, "the last one of all is never retired, so it is not the first"
    return next_cut(begin, now=await connection.scalar(text("SELECT now()")), width=width)


def _partition_from(name: str, bounds: str) -> Partition:
    found = _BOUNDS.fullmatch(bounds)
    if found is None:
        raise ValueError(f"the partition {name} was made by somebody else: {bounds}")
    return Partition(name, *(None if bound is None else moment_of(UUID(bound)) for bound in found.groups()))


_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)

_LIKE: Final = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS"

_BOUNDS: Final = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'([0-9a-f-]+)')\) TO \((?:MAXVALUE|'([0-9a-f-]+)')\)")

_PARTITIONS: Final = text("""
    SELECT format('%I', c.relname) AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'tasks'::regclass""")
