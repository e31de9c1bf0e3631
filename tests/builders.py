"""Tasks, workers and moments, as tests want them in the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from shared.domain.message import Due
from shared.domain.outcome import Failure, Outcome
from shared.domain.status import TaskStatus
from shared.domain.task import NewTask, TaskRecord
from shared.errors import TaskNotFoundError
from shared.ids import new_task_id
from shared.models import Base
from shared.store.database import Database
from shared.store.finishing import Ending, Finished
from shared.store.statement import text
from shared.store.store import Store
from shared.store.workers import RunningHere, WorkerInfo
from tests.records import task_record

TYPE: Final = "probe.echo"
QUEUE: Final = "default"
STALE_S: Final = 10.0
_POLL_S: Final = 0.01
BOOM: Final = Failure("OSError", "connection reset", "Traceback …")

SUCCEEDED: Final = Outcome(TaskStatus.SUCCEEDED, result='{"ok":true}')
FAILED: Final = Outcome(TaskStatus.FAILED, failure=BOOM)
RETRYING: Final = Outcome(TaskStatus.RETRYING, failure=BOOM, delay_s=60)
CANCELLED: Final = Outcome(TaskStatus.CANCELLED)
RETURNED: Final = Outcome(TaskStatus.QUEUED, returns_attempt=True)


def new_task(**fields: Any) -> NewTask:
    """A task to be accepted, ordinary but for `fields`."""
    ordinary: dict[str, Any] = {
        "id": new_task_id(),
        "type": TYPE,
        "queue": QUEUE,
        "payload": "{}",
        "max_attempts": 3,
        "timeout_s": 60.0,
    }
    return NewTask(**{**ordinary, **fields})


@asynccontextmanager
async def open_store(url: str, *, pool_size: int = 8) -> AsyncIterator[Store]:
    """The store over a database of its own connections."""
    database = Database(url, pool_size=pool_size)
    try:
        yield Store(database)
    finally:
        await database.close()


async def execute(store: Store, statement: str, **parameters: Any) -> list[Any]:
    """Do what no method of the store would."""
    async with store.database.transaction() as connection:
        return list(await connection.execute(text(statement), parameters))


async def empty(store: Store) -> None:
    """Delete every row of every table."""
    deletions = ", ".join(f"in_{name} AS (DELETE FROM {name})" for name in Base.metadata.tables)
    await execute(store, f"WITH {deletions} SELECT")


async def doorbells(store: Store, task_id: UUID | None = None) -> list[tuple[UUID, int]]:
    """What stands in the outbox, in the order it was put there."""
    rows = await execute(store, "SELECT task_id, attempt FROM outbox ORDER BY id")
    return [(row.task_id, row.attempt) for row in rows if task_id in (None, row.task_id)]


# Tasks in every status ................................................................


async def queued(store: Store, **fields: Any) -> UUID:
    """A task that is due, its first doorbell rung."""
    task = new_task(**fields)
    born = await store.submissions.accept([task])
    await store.outbox.delete(born.rings)
    return task.id


async def scheduled(store: Store, **fields: Any) -> UUID:
    """A task that is due in an hour."""
    return await queued(store, **{"delay_s": 3600.0, **fields})


async def running(store: Store, worker: str = "a", **fields: Any) -> UUID:
    """A task in its first attempt."""
    task_id = await queued(store, **fields)
    await claim(store, task_id, worker=worker)
    return task_id


async def ended(store: Store, outcome: Outcome, **fields: Any) -> UUID:
    """A task whose first attempt had that outcome."""
    task_id = await running(store, **fields)
    await finish(store, task_id, outcome)
    return task_id


async def expired(store: Store, **fields: Any) -> UUID:
    """A task that was not started in time."""
    task_id = await queued(store, expires_in_s=60.0, **fields)
    await pass_time(store, 61)
    await store.lifecycle.expire(100)
    return task_id


MakeTask = Callable[..., Awaitable[UUID]]


async def retrying(store: Store, **fields: Any) -> UUID:
    """A task that waits for its second attempt."""
    return await ended(store, RETRYING, **fields)


async def succeeded(store: Store, **fields: Any) -> UUID:
    """A task that is done."""
    return await ended(store, SUCCEEDED, **fields)


async def failed(store: Store, **fields: Any) -> UUID:
    """A dead letter."""
    return await ended(store, FAILED, **fields)


async def cancelled(store: Store, **fields: Any) -> UUID:
    """A task that was cancelled before it started."""
    task_id = await queued(store, **fields)
    await store.lifecycle.cancel(task_id)
    return task_id


IN_STATUS: Final[Mapping[TaskStatus, MakeTask]] = {
    TaskStatus.SCHEDULED: scheduled,
    TaskStatus.QUEUED: queued,
    TaskStatus.RUNNING: running,
    TaskStatus.RETRYING: retrying,
    TaskStatus.SUCCEEDED: succeeded,
    TaskStatus.FAILED: failed,
    TaskStatus.CANCELLED: cancelled,
    TaskStatus.EXPIRED: expired,
}


# Moves with little to say .............................................................


async def claim(
    store: Store, task_id: UUID, *, attempt: int = 1, worker: str = "a", types: Sequence[str] = (TYPE,)
) -> list[TaskRecord]:
    """Claim one attempt."""
    return await store.lifecycle.claim([Due(task_id, attempt)], worker=worker, types=types)


async def held(store: Store, task_id: UUID, attempt: int = 1) -> TaskRecord:
    """The record that a worker has of an attempt: of the row as it is, or of one that nobody stored."""
    try:
        task = await store.tasks.get(task_id)
    except TaskNotFoundError:
        task = task_record(id=task_id)
    return task._replace(attempt=attempt)


async def finish(
    store: Store, task_id: UUID, outcome: Outcome, *, attempt: int = 1, worker: str = "a", progress: str | None = None
) -> Finished:
    """End one attempt."""
    ending = Ending(await held(store, task_id, attempt), outcome, progress)
    return await store.lifecycle.finish([ending], worker=worker)


async def status_of(store: Store, task_id: UUID) -> str:
    """Where a task stands."""
    return (await store.tasks.get(task_id)).status


# Time and workers .....................................................................

_MOMENTS: Final[Mapping[str, Sequence[str]]] = {
    "tasks": ("created_at", "queued_at", "run_at", "started_at", "finished_at", "expires_at"),
    "outbox": ("due_at",),
    "task_keys": ("keep_until",),
    "workers": ("started_at", "heartbeat_at", "steady_since"),
    "dead_letters": ("died_at",),
}


async def pass_time(store: Store, seconds: float, *, tables: Sequence[str] = tuple(_MOMENTS)) -> None:
    """Let everything that is stored have happened so much earlier."""
    for table in tables:
        shifts = ", ".join(f"{column} = {column} - make_interval(secs => :s)" for column in _MOMENTS[table])
        await execute(store, f"UPDATE {table} SET {shifts}", s=seconds)


async def beat(store: Store, worker: str, *, stopping: bool = False, **fields: Any) -> list[RunningHere]:
    """A heartbeat of a worker of that name."""
    facts: dict[str, Any] = {
        "host": "here",
        "pid": 1,
        "version": "0",
        "queues": {QUEUE: 5},
        "types": [TYPE],
        "stale_after_s": STALE_S,
    }
    info = WorkerInfo(id=worker, **{**facts, **fields})
    return (await store.workers.beat(info, running=0, healthy=True, stopping=stopping)).running


async def steady(store: Store, worker: str) -> None:
    """A worker whose heartbeats have come without a gap for longer than it takes to be stale."""
    await beat(store, worker)
    await execute(store, "UPDATE workers SET steady_since = now() - interval '1 hour' WHERE id = :id", id=worker)


async def gone_silent(store: Store, worker: str, for_s: float = STALE_S + 1) -> None:
    """A worker whose last heartbeat is so long ago."""
    await beat(store, worker)
    await execute(
        store,
        "UPDATE workers SET heartbeat_at = now() - make_interval(secs => :s) WHERE id = :id",
        s=for_s,
        id=worker,
    )


async def at_once(*moves: Awaitable[Any]) -> list[Any]:
    """The results of moves that were made at the same time, or what they raised."""
    return await asyncio.gather(*moves, return_exceptions=True)


async def eventually(is_so: Callable[[], Awaitable[bool]], *, within_s: float = 20.0) -> None:
    """Return as soon as it is so; TimeoutError when it is not in time."""
    async with asyncio.timeout(within_s):
        while not await is_so():  # noqa: ASYNC110 - a database sets no event
            await asyncio.sleep(_POLL_S)
