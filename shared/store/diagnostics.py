"""What PostgreSQL tells about itself, for `GET /diagnostics`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain.partition import Partition
from shared.store.database import Database
from shared.store.partitions import partitions_of
from shared.store.statement import text

#: Rows that a count looks at; beyond it the exact number does not matter.
MAX_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bloat:
    """Rows of one table, by PostgreSQL's own statistics."""

    table: str
    live: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """PostgreSQL as it is now.

    Attributes:
        version_number: 170002 is 17.2.
        revision: Of the schema; None before the first migration.
        now: Its clock.
        is_replica: Whether nothing can be written here.
        settings: Those that can hurt, by name.
        max_connections: For ordinary roles: those kept for superusers are taken off.
        connections: In use, of all databases.
        our_connections: Of those, Taskmill's.
        longest_transaction_s: Age of the oldest open transaction in this database, in seconds.
        transaction_age: Transactions since the oldest that is not frozen; at 2,000 million nothing works any more.
        bloat: Of our larger tables, the one with most dead rows first.
        outbox: Doorbells that are due and not rung, at most MAX_COUNTED.
        outbox_oldest_s: How long the first of them has been due, in seconds.
        partitions: Those of the tasks, in order; none where the schema is older than they are.
        homeless: Queued tasks, by type, whose type no live worker knows; at most MAX_COUNTED are looked at.
    """

    version: str
    version_number: int
    revision: str | None
    now: datetime
    is_replica: bool
    settings: Mapping[str, str]
    max_connections: int
    connections: int
    our_connections: int
    longest_transaction_s: float
    transaction_age: int
    size_bytes: int
    bloat: list[Bloat]
    outbox: int
    outbox_oldest_s: float
    partitions: list[Partition]
    homeless: Mapping[str, int]


class Diagnostics:
    """Questions about the database itself, and about what is stuck in it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def facts(self) -> DatabaseFacts:
        """Everything, in a few cheap statements.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        async with self._database.read() as connection:
            known = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
            revision = await connection.scalar(_REVISION) if known else None
            settings = {row.name: row.setting for row in await connection.execute(_SETTINGS)}
            bloat = [Bloat(table=row.table, live=row.live, dead=row.dead) for row in await connection.execute(_BLOAT)]
            server = await connection.one(_SERVER)
            partitions = await partitions_of(connection) if known else []
            outbox = await connection.one(_OUTBOX, {"limit": MAX_COUNTED}) if known else None
            homeless = (
                {row.type: row.tasks for row in await connection.execute(_HOMELESS, {"limit": MAX_COUNTED})}
                if known
                else {}
            )
            now = await connection.scalar(text("SELECT clock_timestamp()"))
        return DatabaseFacts(
            version=server.version,
            version_number=server.version_number,
            revision=revision,
            now=now,
            is_replica=server.is_replica,
            settings=settings,
            max_connections=server.max_connections,
            connections=server.connections,
            our_connections=server.our_connections,
            longest_transaction_s=server.longest_transaction_s,
            transaction_age=server.transaction_age,
            size_bytes=server.size_bytes,
            bloat=bloat,
            outbox=outbox.number if outbox else 0,
            outbox_oldest_s=outbox.oldest_s if outbox else 0.0,
            partitions=partitions,
            homeless=homeless,
        )


_REVISION: Final = text("SELECT max(version_num) FROM alembic_version")

_SETTINGS: Final = text("""
    SELECT name, setting FROM pg_settings
    WHERE name IN ('autovacuum', 'fsync', 'full_page_writes', 'synchronous_commit', 'track_counts')
    ORDER BY name""")

# reserved_connections is of PostgreSQL 16 and later; what others do is only partly shown to ordinary roles.
_SERVER: Final = text("""
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int AS version_number,
           pg_is_in_recovery() AS is_replica,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0) AS max_connections,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
           (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskmill') AS our_connections,
           (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid())
               AS longest_transaction_s,
           (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS transaction_age,
           pg_database_size(current_database()) AS size_bytes""")

_BLOAT: Final = text("""
    SELECT relname AS table, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
    WHERE n_dead_tup > 10000 ORDER BY n_dead_tup DESC LIMIT 5""")

_OUTBOX: Final = text("""
    SELECT count(*) AS number, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_s
    FROM (SELECT due_at FROM outbox WHERE due_at <= now() ORDER BY due_at LIMIT :limit) due""")

_HOMELESS: Final = text("""
    SELECT type, count(*) AS tasks FROM (SELECT type FROM tasks WHERE status = 'queued' LIMIT :limit) queued
    WHERE type NOT IN (SELECT unnest(w.types) FROM workers w
                       WHERE w.heartbeat_at > now() - make_interval(secs => w.stale_after_s) AND NOT w.stopping)
    GROUP BY type ORDER BY tasks DESC LIMIT 20""")
