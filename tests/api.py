"""The API on a real database, with the other neighbours in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from api_service.app import create_app
from api_service.services import Services
from api_service.streams import Streams
from shared.artifacts import ArtifactStore
from shared.broker.base import Broker
from shared.broker.memory import MemoryBroker
from shared.cache.base import Cache
from shared.cache.memory import MemoryCache
from shared.domain.message import Due
from shared.domain.outcome import Failure, Outcome
from shared.domain.status import TaskStatus
from shared.domain.task import TaskRecord
from shared.domain.task_type import TaskTypeInfo
from shared.events.base import Events
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.database import Database
from shared.store.store import Store
from shared.store.workers import WorkerInfo
from tests.builders import finish

ECHO = TaskTypeInfo(
    name="demo.echo", summary="Return the payload.", payload_schema={}, result_schema={}, example={"hello": "world"}
)
SUM = TaskTypeInfo(
    name="demo.sum",
    queue="numbers",
    payload_schema={
        "type": "object",
        "properties": {
            "n": {"type": "integer", "maximum": 100},
            "terms": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["n"],
        "additionalProperties": False,
    },
    result_schema={"type": "number"},
    max_attempts=5,
    timeout_s=60,
    soft_timeout_s=50,
    example={"n": 1},
)
WORKER = "worker-1"

MAX_BODY_BYTES = 64 * 1024
MAX_BATCH_BODY_BYTES = 4 * 1024 * 1024
MAX_ARTIFACT_BYTES = 16 * 1024 * 1024


@dataclass
class ApiUnderTest:
    """The application, a client for it, and hands to play the worker with."""

    app: FastAPI
    client: httpx.AsyncClient
    services: Services
    types: Sequence[TaskTypeInfo] = field(default=(ECHO, SUM))

    @property
    def store(self) -> Store:
        return self.services.store

    async def submit(self, type_: str = "demo.echo", **fields: Any) -> UUID:
        """A task that was accepted."""
        answer = await self.client.post("/tasks", json={"type": type_, **fields})
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["task_id"])

    async def announce_worker(self, *, queues: Mapping[str, int] | None = None, types: Sequence[str] = ()) -> None:
        """A live worker."""
        info = WorkerInfo(
            id=WORKER,
            host="host",
            pid=1,
            version="1",
            queues={"default": 5} if queues is None else queues,
            types=list(types or [info.name for info in self.types]),
            stale_after_s=60,
        )
        await self.store.workers.beat(info, running=0, healthy=True, stopping=False)

    async def claim(self, task_id: UUID, attempt: int = 1) -> TaskRecord:
        """The task, now running."""
        [task] = await self.store.lifecycle.claim(
            [Due(task_id, attempt)], worker=WORKER, types=[info.name for info in self.types]
        )
        await self.services.news.tell([task])
        return task

    async def finish(self, task_id: UUID, outcome: Outcome, attempt: int = 1) -> None:
        """End the attempt that runs."""
        finished = await finish(self.store, task_id, outcome, attempt=attempt, worker=WORKER)
        assert not finished.refused
        await self.services.news.tell(finished.tasks)

    async def run(self, task_id: UUID, result: str = "null") -> None:
        """Let the task succeed."""
        await self.claim(task_id)
        await self.finish(task_id, Outcome(TaskStatus.SUCCEEDED, result=result))

    async def fail(self, task_id: UUID) -> None:
        """Let the task fail for good."""
        await self.claim(task_id)
        await self.finish(task_id, Outcome(TaskStatus.FAILED, failure=Failure("error", "it broke")))


@asynccontextmanager
async def open_api(
    database_url: str,
    *,
    broker: Broker | None = None,
    cache: Cache | None = None,
    events: Events | None = None,
    types: Sequence[TaskTypeInfo] = (ECHO, SUM),
    **options: Any,
) -> AsyncIterator[ApiUnderTest]:
    """The API over the database, with `types` announced; `options` as `create_app` takes them."""
    async with AsyncExitStack() as stack:
        database = Database(database_url, pool_size=5)
        stack.push_async_callback(database.close)
        services = await _open_services(
            Store(database), broker or MemoryBroker(), cache or MemoryCache(), events or MemoryEvents(), stack
        )
        await services.store.task_types.announce(types)
        limits = {
            "max_body_bytes": MAX_BODY_BYTES,
            "max_batch_body_bytes": MAX_BATCH_BODY_BYTES,
            "max_artifact_bytes": MAX_ARTIFACT_BYTES,
        }
        app = create_app(services, **{**limits, **options})
        stack.push_async_callback(app.state.api.submitter.close)
        app.state.keyring.start()
        stack.push_async_callback(app.state.keyring.close)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
        yield ApiUnderTest(app, await stack.enter_async_context(client), services, types)


async def _open_services(
    store: Store, broker: Broker, cache: Cache, events: Events, stack: AsyncExitStack
) -> Services:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="taskmill-test-artifacts-")))
    await broker.open()
    publisher = Publisher(broker, store.outbox, Pace(store.task_types))
    publisher.start()
    stack.push_async_callback(publisher.close)
    streams = Streams(events)
    streams.start()
    stack.push_async_callback(streams.close)
    news = News(cache, events, result_ttl_s=60, failure_ttl_s=60)
    return Services(
        store=store,
        broker=broker,
        cache=cache,
        events=events,
        publisher=publisher,
        news=news,
        streams=streams,
        artifacts=ArtifactStore(folder.as_uri()),
    )


def pointers(answer: httpx.Response) -> list[str]:
    """The places that a 422 names."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [fault["pointer"] for fault in answer.json()["errors"]]
