"""Workers and their heartbeats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from shared.errors import WorkerNotFoundError
from shared.store.connection import Row
from shared.store.database import Database
from shared.store.statement import text


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """What a worker says of itself. `stale_after_s`: seconds without a heartbeat after which it counts as lost."""

    id: str
    host: str
    pid: int
    version: str
    queues: Mapping[str, int]
    types: Sequence[str]
    stale_after_s: float


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as others see it. `draining`: it takes nothing more, and will until it is restarted."""

    id: str
    host: str
    pid: int
    version: str
    queues: dict[str, int]
    running: int
    since: datetime
    heartbeat: datetime
    healthy: bool
    stopping: bool
    draining: bool
    stale: bool


class RunningHere(NamedTuple):
    """A task that, by the record, runs on the worker that asks."""

    task_id: UUID
    attempt: int
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker learns with its heartbeat.

    Attributes:
        running: What runs here by the record: whose end was asked for, and, by what is missing, what was taken away.
        drain: Whether it is to take nothing more.
    """

    running: list[RunningHere]
    drain: bool


class Workers:
    """The table `workers`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(
        self, info: WorkerInfo, *, running: int, healthy: bool, stopping: bool, draining: bool = False
    ) -> Orders:
        """Say that the worker is alive, and learn what is asked of it."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                _BEAT,
                {
                    "id": info.id,
                    "host": info.host,
                    "pid": info.pid,
                    "version": info.version,
                    "queues": orjson.dumps(dict(info.queues)).decode(),
                    "types": list(info.types),
                    "stale_after_s": info.stale_after_s,
                    "running": running,
                    "healthy": healthy,
                    "stopping": stopping,
                    "draining": draining,
                },
            )
            told = list(rows)
        return Orders([RunningHere(*row[1:]) for row in told if row.id is not None], told[0].drain_requested)

    async def drain(self, worker_id: str) -> WorkerView:
        """Ask a worker to take nothing more; it learns that with its next heartbeat.

        Raises:
            WorkerNotFoundError: No such worker.
        """
        async with self._database.read() as connection:
            row = await connection.one_or_none(_DRAIN, {"id": worker_id})
        if row is None:
            raise WorkerNotFoundError(worker_id)
        return _view_from(row)

    async def leave(self, worker_id: str) -> None:
        """Forget a worker that has stopped. What it still ran, if anything, is rescued at once."""
        async with self._database.read() as connection:
            await connection.execute(text("DELETE FROM workers WHERE id = :id"), {"id": worker_id})

    async def forget_all(self) -> None:
        """Forget every worker: whoever calls this knows that none is left alive."""
        async with self._database.read() as connection:
            await connection.execute(text("DELETE FROM workers"))

    async def forget_lost(self, *, older_than_s: float) -> int:
        """Forget workers whose last heartbeat is so old and that hold no task. Returns how many."""
        async with self._database.read() as connection:
            return await connection.change(_FORGET_LOST, {"older_than_s": older_than_s})

    async def all(self) -> list[WorkerView]:
        """Every worker that has not left, the newest first."""
        async with self._database.read() as connection:
            return [_view_from(row) for row in await connection.execute(_ALL)]


def _view_from(row: Row) -> WorkerView:
    return WorkerView(
        row.id, row.host, row.pid, row.version, orjson.loads(row.queues), row.running, row.started_at,
        row.heartbeat_at, row.healthy, row.stopping, row.drain_requested, row.stale,
    )  # fmt: skip


# PostgreSQL's clock alone decides what is stale, so that the clocks of the hosts don't matter. What the worker says
# of its draining only matters where its row was forgotten meanwhile: no beat takes the request back.
_BEAT: Final = text("""
    WITH beat AS (
        INSERT INTO workers AS w (id, host, pid, version, queues, types, running, healthy, stopping,
                                  drain_requested, started_at, heartbeat_at, steady_since, stale_after_s)
        VALUES (:id, :host, :pid, :version, :queues, CAST(:types AS text[]), :running, :healthy, :stopping,
                :draining, now(), now(), now(), :stale_after_s)
        ON CONFLICT (id) DO UPDATE
        SET running = excluded.running, healthy = excluded.healthy, stopping = excluded.stopping,
            queues = excluded.queues, types = excluded.types,
            steady_since = CASE WHEN now() - w.heartbeat_at > make_interval(secs => w.stale_after_s / 2)
                                THEN now() ELSE w.steady_since END,
            heartbeat_at = now()
        RETURNING drain_requested
    )
    SELECT b.drain_requested, t.id, t.attempt, t.cancel_requested
    FROM beat b LEFT JOIN tasks t ON t.status = 'running' AND t.worker = :id""")

_DRAIN: Final = text("""
    UPDATE workers w SET drain_requested = true WHERE w.id = :id
    RETURNING w.*, w.heartbeat_at < now() - make_interval(secs => w.stale_after_s) AS stale""")

_FORGET_LOST: Final = text("""
    DELETE FROM workers w WHERE w.heartbeat_at < now() - make_interval(secs => :older_than_s)
      AND NOT EXISTS (SELECT FROM tasks t WHERE t.status = 'running' AND t.worker = w.id)""")

_ALL: Final = text("""
    SELECT w.*, w.heartbeat_at < now() - make_interval(secs => w.stale_after_s) AS stale
    FROM workers w ORDER BY w.started_at DESC, w.id""")
