"""What workers have announced about the types of task they run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from shared.domain.retry import RetryPolicy
from shared.domain.task_type import TaskTypeInfo
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.statement import text


class TaskTypes:
    """The table `task_types`: the newest announcement of each type wins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, types: Sequence[TaskTypeInfo]) -> None:
        """Store what a starting worker knows."""
        ordered = sorted(types, key=lambda info: info.name)  # one order of locks for all starting workers
        async with self._database.read() as connection:
            await connection.execute(
                _ANNOUNCE,
                {
                    "names": [info.name for info in ordered],
                    "announcements": [orjson.dumps(asdict(info)).decode() for info in ordered],
                },
            )

    async def all(self) -> dict[str, TaskTypeInfo]:
        """Every type that was ever announced, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(text("SELECT announcement FROM task_types ORDER BY name"))
            return {info.name: info for info in map(_type_from, (row.announcement for row in rows))}

    async def means(self) -> dict[str, float]:
        """The mean running time in seconds of each type that was measured."""
        async with self._database.read() as connection:
            rows = await connection.execute(text("SELECT name, mean_s FROM task_types WHERE mean_s IS NOT NULL"))
            return {row.name: row.mean_s for row in rows}

    async def measure(self, means_s: Mapping[str, float]) -> None:
        """Let what a worker has measured count. A mean grows at once and shrinks slowly: the longer is the safer."""
        names = sorted(means_s)  # one order of locks for all workers
        async with self._database.read() as connection:
            await connection.execute(_MEASURE, {"names": names, "means": [means_s[name] for name in names]})

    async def live_workers(self) -> dict[str, int]:
        """How many live workers, draining ones left out, know each type."""
        async with self._database.read() as connection:
            return {row.type: row.workers for row in await connection.execute(_LIVE_WORKERS)}


async def types_named(connection: Connection, names: Sequence[str]) -> dict[str, TaskTypeInfo]:
    """Those of the types that were ever announced, as the caller's transaction sees them."""
    rows = await connection.execute(_NAMED, {"names": list(names)})
    return {info.name: info for info in map(_type_from, (row.announcement for row in rows))}


def _type_from(announcement: str) -> TaskTypeInfo:
    fields: dict[str, Any] = orjson.loads(announcement)
    return TaskTypeInfo(**{**fields, "retry": RetryPolicy(**fields["retry"])})


_NAMED: Final = text("SELECT announcement FROM task_types WHERE name = ANY(CAST(:names AS text[]))")

_ANNOUNCE: Final = text("""
    INSERT INTO task_types AS t (name, announcement, announced_at)
    SELECT a.name, a.announcement, now()
    FROM unnest(CAST(:names AS text[]), CAST(:announcements AS text[])) AS a(name, announcement)
    ON CONFLICT (name) DO UPDATE SET announcement = excluded.announcement, announced_at = excluded.announced_at""")

_MEASURE: Final = text("""
    UPDATE task_types t SET mean_s = greatest(m.mean_s, coalesce(0.7 * t.mean_s + 0.3 * m.mean_s, 0))
    FROM unnest(CAST(:names AS text[]), CAST(:means AS float8[])) AS m(name, mean_s)
    WHERE t.name = m.name""")

_LIVE_WORKERS: Final = text("""
    SELECT type, count(*) AS workers FROM workers w, unnest(w.types) AS type
    WHERE w.heartbeat_at > now() - make_interval(secs => w.stale_after_s) AND NOT w.stopping AND NOT w.drain_requested
    GROUP BY type""")
