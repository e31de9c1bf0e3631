"""`python -m api_service` as a process of its own."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.store.database import Database
from shared.store.statement import text
from shared.store.store import Store
from tests.api import ECHO
from tests.api_process import PATIENCE_S, Start, address_of, api_processes, end_of, entry_of


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the API with these settings, in an empty folder."""
    async with api_processes(tmp_path) as start_api:
        yield start_api


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
        await connection.execute(text("DROP TABLE alembic_version"))
    await database.close()

    status, said = await end_of(await start(DATABASE_URL=database_url, STARTUP_TIMEOUT_SECONDS="1"))

    assert status == 1
    assert "alembic upgrade head" in said


async def test_a_port_that_is_taken_is_named_with_the_remedy(start: Start, database_url: str) -> None:
    await announce_echo(database_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = await end_of(await start(DATABASE_URL=database_url, API_PORT=str(port)))

    assert status == 1
    assert f"can't listen on 127.0.0.1:{port}" in said
    assert "API_PORT" in said
    assert "Traceback" not in said


async def test_a_setting_that_is_wrong_is_named(start: Start) -> None:
    status, said = await end_of(await start(API_PORT="high"))

    assert status != 0
    assert "API_PORT" in said
    assert "Traceback" not in said
