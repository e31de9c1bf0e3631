"""A thousand open streams on one API process, one of which nobody reads."""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.cache.redis import RedisCache
from shared.domain.message import Due
from shared.domain.outcome import Outcome
from shared.domain.status import TaskStatus
from shared.events.base import Event
from shared.events.redis import RedisEvents
from shared.news import News
from shared.store.finishing import Ending
from shared.store.store import Store
from tests.api import ECHO
from tests.builders import open_store
from tests.faults.processes import ServiceProcess
from tests.servers.sandbox import free_port

STREAMS = 1000
TASKS = 20
PATIENCE_S = 60.0
#: More than the buffers of two sockets take.
TORRENT = [{"event": "said", "number": number, "padding": "x" * 4000} for number in range(4000)]


@contextmanager
def allowed_files(number: int) -> Iterator[None]:
    """Let this process, and those that it starts, open so many files until the end of the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (number if hard == resource.RLIM_INFINITY else min(number, hard), hard)
    )
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def _enough_files() -> Iterator[None]:
    with allowed_files(4096):
        yield


@asynccontextmanager
async def an_api(database_url: str, redis_url: str, folder: Path) -> AsyncIterator[tuple[ServiceProcess, str]]:
    """A process of its own, and its address."""
    port = free_port()
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "API_PORT": str(port)}
    api = ServiceProcess("api_service", {**settings, "RABBITMQ_URL": "amqp://127.0.0.1:1/"}, folder / "api.log")
    with allowed_files(512):
        api.start()  # it asks for more by itself
    try:
        async with asyncio.timeout(PATIENCE_S):
            while "api_listening" not in api.output():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        yield api, f"127.0.0.1:{port}"
    finally:
        api.close()


class RawStream:
    """A client of one event stream, on a bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: str, task_id: UUID) -> "RawStream":
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /tasks/{task_id}/events HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        await writer.drain()
        return cls(reader, writer)

    async def until(self, text: str) -> str:
        """What came, up to the line that holds the text."""
        heard = []
        while line := (await self._reader.readline()).decode():
            heard.append(line)
            if text in line:
                return "".join(heard)
        raise AssertionError(f"the stream ended before {text}: {''.join(heard)[-500:]}")


async def all_hear(streams: Sequence[RawStream], text: str) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*(stream.until(text) for stream in streams))


async def end(store: Store, news: News, ids: Sequence[UUID]) -> None:
    """Let the tasks run and succeed."""
    claimed = await store.lifecycle.claim([Due(task_id, 1) for task_id in ids], worker="w", types=[ECHO.name])
    await news.tell(claimed)
    outcome = Outcome(TaskStatus.SUCCEEDED, result='"done"')
    await news.tell((await store.lifecycle.finish([Ending(task, outcome) for task in claimed], worker="w")).tasks)


async def test_a_thousand_streams_and_one_that_nobody_reads(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    events, cache = RedisEvents(redis_url), RedisCache(redis_url)
    news = News(cache, events, result_ttl_s=60, failure_ttl_s=60)
    async with open_store(database_url) as store, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        await store.task_types.announce([ECHO])
        async with an_api(database_url, redis_url, tmp_path) as (api, address):
            ids = [await submit(http, address) for _ in range(TASKS)]
            torrent = await submit(http, address)
            unread, read = await RawStream.open(address, torrent), await RawStream.open(address, torrent)
            streams = await asyncio.gather(*(RawStream.open(address, ids[n % TASKS]) for n in range(STREAMS)))
            await all_hear([unread, *streams], "event: snapshot")

            # Once somebody has heard the last line, the process is past it, and owes it to who does not read.
            reading = asyncio.create_task(all_hear([read], f'"number":{len(TORRENT) - 1},'))
            await flood(events, torrent)
            await events.publish(
                [Event("log", task_id, "demo.echo", "default", {"event": "hello"}) for task_id in ids]
            )
            await all_hear(streams, '"event":"hello"')
            assert (await http.get(f"http://{address}/health")).status_code == 200
            await submit(http, address)
            await reading
            await end(store, news, [*ids, torrent])
            documents = await all_hear(streams, '"result":"done"')
            late = await all_hear([unread], '"result":"done"')
            await closed([*streams, unread, read])

            api.signal(signal.SIGTERM)
            await api.ended()
    await events.close()
    await cache.close()

    assert [found.count("event: status") for found in documents] == [2] * STREAMS
    assert all(str(ids[n % TASKS]) in found for n, found in enumerate(documents))
    assert_in_order(late[0])
    assert api.returncode() == 0
    assert "Traceback" not in api.output()


async def test_a_stopping_process_does_not_wait_for_who_does_not_read(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    events = RedisEvents(redis_url)
    async with open_store(database_url) as store, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        await store.task_types.announce([ECHO])
        async with an_api(database_url, redis_url, tmp_path) as (api, address):
            task_id = await submit(http, address)
            unread = await RawStream.open(address, task_id)
            await all_hear([unread], "event: snapshot")
            await flood(events, task_id)
            await submit(http, address)

            api.signal(signal.SIGTERM)
            await api.ended()
            unread.writer.close()
    await events.close()

    assert api.returncode() == 0
    assert "timeout graceful shutdown exceeded" not in api.output()
    assert "Traceback" not in api.output()


async def flood(events: RedisEvents, task_id: UUID) -> None:
    """More log lines of a task than a client takes that does not read."""
    for start in range(0, len(TORRENT), 100):
        lines = TORRENT[start : start + 100]
        await events.publish([Event("log", task_id, "demo.echo", "default", line) for line in lines])


async def submit(http: httpx.AsyncClient, address: str) -> UUID:
    answer = await http.post(f"http://{address}/tasks", json={"type": ECHO.name})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["task_id"])


async def closed(streams: Sequence[RawStream]) -> None:
    for stream in streams:
        stream.writer.close()
    await asyncio.gather(*(stream.writer.wait_closed() for stream in streams))


def assert_in_order(heard: str) -> None:
    """What a client reads that fell behind is in order and told once, and the newest lines are not missing."""
    data: list[dict[str, Any]] = [json.loads(line[6:]) for line in heard.splitlines() if line.startswith("data: ")]
    numbers = [each["number"] for each in data if "number" in each]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == len(TORRENT) - 1
