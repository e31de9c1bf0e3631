"""`python -m api_service` as a process of its own."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.store.database import Database
from shared.store.store import Store
from tests.api import ECHO

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the API with these settings, in an empty folder."""
    started: list[Process] = []

    async def start_api(**settings: str) -> Process:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "API_PORT": "0",
            "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:1/",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            **settings,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "api_service", cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        return process

    yield start_api
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def entry_of(process: Process, event: str, **fields: str) -> dict[str, Any]:
    """The next line of its log that tells of this event."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        while line := await process.stderr.readline():
            entry: dict[str, Any] = json.loads(line)
            if entry["event"] == event and fields.items() <= entry.items():
                return entry
    raise AssertionError(f"it ended before {event}")


async def address_of(process: Process) -> str:
    """Where the process listens, by its log."""
    return str((await entry_of(process, "api_listening"))["url"])


async def end_of(process: Process) -> tuple[int | None, str]:
    """The exit status, and what was said on standard error."""
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, said.decode()


async def announce_echo(database_url: str) -> None:
    database = Database(database_url)
    await Store(database).task_types.announce([ECHO])
    await database.close()


async def test_it_serves_with_postgresql_alone_until_it_is_told_to_stop(start: Start, database_url: str) -> None:
    await announce_echo(database_url)
    process = await start(DATABASE_URL=database_url)
    async with httpx.AsyncClient(base_url=await address_of(process), timeout=PATIENCE_S) as client:
        accepted = await client.post("/tasks", json={"type": "demo.echo"})
        ready = await client.get("/health/ready")
        waiting = asyncio.create_task(client.get(f"{accepted.headers['location']}?wait=60"))
        await asyncio.sleep(0.5)

        process.send_signal(signal.SIGTERM)
        waited = await asyncio.wait_for(waiting, PATIENCE_S)
    status, said = await end_of(process)

    assert accepted.status_code == 202
    assert ready.json()["status"] == "degraded"
    assert waited.json()["status"] == "queued"
    assert status == 0
    assert "api_stopped" in said
    assert "Traceback" not in said


async def test_a_client_that_goes_away_ends_its_wait(start: Start, database_url: str) -> None:
    await announce_echo(database_url)
    process = await start(DATABASE_URL=database_url, API_HOST="0.0.0.0", AUTH="off")
    url = (await address_of(process)).replace("0.0.0.0", "127.0.0.1")
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        location = (await client.post("/tasks", json={"type": "demo.echo"})).headers["location"]
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{location}?wait=60", timeout=0.5)
    answered = await entry_of(process, "request_answered", path=location)
    process.send_signal(signal.SIGINT)
    status, _ = await end_of(process)

    assert answered["duration_ms"] < 10_000
    assert status == 0


async def test_it_refuses_to_be_reached_by_anybody(start: Start) -> None:
    status, said = await end_of(await start(API_HOST="0.0.0.0"))

    assert status == 2
    assert "AUTH=off" in said
    assert len(said.splitlines()) == 1


async def test_it_gives_up_on_a_database_that_does_not_come(start: Start) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = f"postgresql://someone:secret@127.0.0.1:{port}/taskmill"
        status, said = await end_of(await start(DATABASE_URL=url, STARTUP_TIMEOUT_SECONDS="1"))

    assert status == 1
    assert f"127.0.0.1:{port}" in said
    assert "secret" not in said
    assert said.count('"waiting"') >= 1


async def test_it_gives_up_on_a_database_without_its_schema(start: Start, database_url: str) -> None:
    database = Database(database_url)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DROP TABLE alembic_version")
    await database.close()

    status, said = await end_of(await start(DATABASE_URL=database_url, STARTUP_TIMEOUT_SECONDS="1"))

    assert status == 1
    assert "alembic upgrade head" in said


async def test_a_setting_that_is_wrong_is_named(start: Start) -> None:
    status, said = await end_of(await start(API_PORT="high"))

    assert status != 0
    assert "API_PORT" in said
    assert "Traceback" not in said
