"""`python -m api_service` as a process of its own, for tests that look at it from outside."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE_S = 30

Start = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def api_processes(folder: Path) -> AsyncIterator[Start]:
    """Starts the API with the settings it is given, in an empty folder, without RabbitMQ and Redis."""
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
            sys.executable, "-m", "api_service", cwd=folder, env=environment, stdout=PIPE, stderr=PIPE
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
