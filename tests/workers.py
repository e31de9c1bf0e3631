"""A real worker in the process of the test: everything but PostgreSQL in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from shared.artifacts import ArtifactStore
from shared.broker.memory import MemoryBroker, MemoryQueues
from shared.cache.memory import MemoryCache
from shared.domain.status import is_final
from shared.domain.task import TaskRecord
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.store import Store
from tests import worker_handlers
from tests.builders import eventually, new_task, open_store
from worker_service.registry import Registry, registry
from worker_service.supervisor import Supervisor, WorkerOptions

PATIENCE_S: Final = 30.0
#: Where no folder can be made, for workers whose handlers make no files.
NO_FILES: Final = "file:///dev/null/artifacts"


@dataclass
class Neighbours:
    """What several workers of a test share."""

    url: str
    queues: MemoryQueues = field(default_factory=MemoryQueues)
    cache: MemoryCache = field(default_factory=MemoryCache)
    events: MemoryEvents = field(default_factory=MemoryEvents)
    artifacts: ArtifactStore = field(default_factory=lambda: ArtifactStore(NO_FILES))


@dataclass
class Worker:
    """A worker that runs, and hands to play its clients with."""

    supervisor: Supervisor
    store: Store
    broker: MemoryBroker
    publisher: Publisher
    news: News
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None

    async def submit(self, type_: str, payload: str = "null", **fields: Any) -> UUID:
        """A task that is accepted and rung for."""
        [task_id] = await self.submit_all([{"type": type_, "payload": payload, **fields}])
        return task_id

    async def submit_all(self, tasks: Iterable[dict[str, Any]]) -> list[UUID]:
        """Many at once; each has the limits of its type unless it names its own."""
        new = [new_task(**{"max_attempts": _max_attempts(task["type"]), **task}) for task in tasks]
        born = await self.store.submissions.accept(new)
        self.publisher.offer(born.rings)
        return [task.id for task in new]

    async def final(self, task_id: UUID) -> TaskRecord:
        """The task once its status is final."""
        return await self.reaches(task_id, is_final)

    async def reaches(self, task_id: UUID, is_wanted: Any) -> TaskRecord:
        """The task once its status is wanted."""
        record = await self.store.tasks.get(task_id)

        async def is_there() -> bool:
            nonlocal record
            record = await self.store.tasks.get(task_id)
            return bool(is_wanted(record.status))

        await eventually(is_there, within_s=PATIENCE_S)
        return record

    async def begins(self, task_id: UUID) -> None:
        """Return when the handler has begun: all that wait report progress first."""

        async def has_begun() -> bool:
            return (await self.store.tasks.get(task_id)).progress is not None

        await eventually(has_begun, within_s=PATIENCE_S)

    async def cancel(self, task_id: UUID) -> None:
        """What the API does for DELETE."""
        await self.store.lifecycle.cancel(task_id)
        await self.news.signal_cancel(task_id)

    async def handlers_have_ended(self) -> bool:
        """Whether none is left, not even of those that were given up."""
        return not self.supervisor.has_stuck_handlers()

    async def stopped(self) -> None:
        """Stop the worker and wait until it has."""
        assert self.running is not None
        self.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.running
        await self.publisher.close()
        await self.broker.close()


def _max_attempts(type_: str) -> int:
    return registry.get(type_).info.max_attempts if type_ in registry.names() else 3


@asynccontextmanager
async def run_worker(neighbours: Neighbours, *, known: Registry = registry, **options: Any) -> AsyncIterator[Worker]:
    """A worker that has started; it is stopped at the end, its handlers without grace."""
    async with open_store(neighbours.url) as store:
        broker = MemoryBroker(neighbours.queues)
        news = News(neighbours.cache, neighbours.events, result_ttl_s=60, failure_ttl_s=60)
        publisher = Publisher(broker, store.outbox, Pace(store.task_types))
        publisher.start()
        supervisor = Supervisor(
            replace(_options(neighbours.url), **options),
            store=store,
            broker=broker,
            events=neighbours.events,
            news=news,
            publisher=publisher,
            artifacts=neighbours.artifacts,
            registry=known,
        )
        worker = Worker(supervisor, store, broker, publisher, news)
        worker.running = asyncio.create_task(supervisor.run(worker.stop, worker.hurry))
        try:
            yield worker
        finally:
            worker_handlers.released.set()
            worker.hurry.set()
            await worker.stopped()
            await eventually(worker.handlers_have_ended)
            worker_handlers.released.clear()


def _options(url: str) -> WorkerOptions:
    return WorkerOptions(
        database_url=url,
        queues={"default": 20},
        modules=["tests.worker_handlers"],
        processes=1,
        heartbeat_s=0.2,
        stale_s=5.0,
        grace_s=20.0,
        default_timeout_s=60.0,
        reconcile_after_s=60.0,
        retention_days=7.0,
        built_in_schedules=False,
        log_format="json",
        log_level="info",
    )
