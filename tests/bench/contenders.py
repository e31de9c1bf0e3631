"""The systems that are measured: Taskmill, and hand-written services that do the same work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import asyncpg

from tests.bench.load import ask_once, get
from tests.bench.processes import tree
from tests.servers import FaultServers
from tests.servers.sandbox import free_port

_ROOT: Final = Path(__file__).parents[2]
_START_S: Final = 60.0
_STOP_S: Final = 20.0


class Contender(ABC):
    """One system on fresh servers: an API process and some workers.

    Attributes:
        name: For the table.
        api: Its API process.
        workers: Its worker processes.
    """

    name: ClassVar[str]
    task_id: ClassVar[str] = "task_id"  # the field of an answer
    final: ClassVar[str] = "succeeded"
    #: How many tasks are final, and when the last one became so (seconds since 1970).
    done_query: ClassVar[str]

    def __init__(self, servers: FaultServers, log: Path) -> None:
        self.servers = servers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api: list[int] = []
        self.workers: list[int] = []
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"<{self.name} {self.url}>"

    # What each has of its own ........................................................

    @abstractmethod
    def api_command(self) -> list[str]:
        """Starts the API on `port`."""

    @abstractmethod
    def worker_command(self, number: int) -> list[str]:
        """Starts one worker."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Settings of both."""

    def folder(self) -> Path:
        """Where they are started."""
        return _ROOT

    def task(self, number: int) -> dict[str, Any]:
        """A task that does nothing and returns its payload."""
        return {"type": "noop", "payload": {"n": number}}

    # Running ........................................................................

    async def start(self, *, workers: int = 1) -> Self:
        """Start the processes and return when the API answers."""
        self.api.append(self._spawn(self.api_command()))
        await self._until_it_answers()
        await self.add_workers(workers)
        return self

    async def add_workers(self, number: int) -> None:
        """Start more workers."""
        for _ in range(number):
            self.workers.append(self._spawn(self.worker_command(len(self.workers))))
        await asyncio.sleep(3)

    def stop(self) -> None:
        """End everything that was started, whole trees."""
        pids = {pid for process in self._processes if process.poll() is None for pid in tree(process.pid)}
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for process in self._processes:
            process.wait(_STOP_S)

    async def query(self, statement: str, *values: Any) -> asyncpg.Record:
        """One row from its database."""
        connection = await asyncpg.connect(self.servers.database_url)
        try:
            row = await connection.fetchrow(statement, *values)
        finally:
            await connection.close()
        assert row is not None
        return row

    async def until_done(self, number: int, *, within_s: float = 300) -> float:
        """Return when so many tasks are final: the moment at which the last one was (seconds since 1970)."""
        async with asyncio.timeout(within_s):
            while True:
                done, last = await self.query(self.done_query)
                if done >= number:
                    return float(last)
                await asyncio.sleep(0.15)

    def _spawn(self, command: Sequence[str]) -> int:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment()},
                cwd=self.folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process.pid

    async def _until_it_answers(self) -> None:
        async with asyncio.timeout(_START_S):
            while True:
                with suppress(OSError):
                    await ask_once(self.url, get("/openapi.json"))
                    return
                await asyncio.sleep(0.1)


class Taskmill(Contender):
    """Ours, as shipped."""

    name = "taskmill"
    done_query = "SELECT count(*), extract(epoch FROM max(finished_at)) FROM tasks WHERE status = 'succeeded'"

    def api_command(self) -> list[str]:
        """The API service."""
        return [sys.executable, "-m", "api_service"]

    def worker_command(self, number: int) -> list[str]:
        """The worker service."""
        return [sys.executable, "-m", "worker_service"]

    def environment(self) -> Mapping[str, str]:
        """The defaults, but for addresses and the schedules that would run in between."""
        return {
            "DATABASE_URL": self.servers.database_url,
            "RABBITMQ_URL": self.servers.rabbitmq_url,
            "REDIS_URL": self.servers.redis_url,
            "API_PORT": str(self.port),
            "BUILT_IN_SCHEDULES": "off",
        }

    def task(self, number: int) -> dict[str, Any]:
        """The built-in echo."""
        return {"type": "demo.echo", "payload": {"n": number}}


class _HandWritten(Contender):
    """An app.py and a worker.py in a folder, in an environment of their own."""

    task_id = "id"
    final = "done"
    done_query = "SELECT count(*), extract(epoch FROM max(updated_at)) FROM tasks WHERE status = 'done'"
    app: ClassVar[str]

    def folder(self) -> Path:
        """Where its modules are."""
        return peers_folder() / self.app

    def api_command(self) -> list[str]:
        """One uvicorn with all that makes it fast."""
        uvicorn = [str(_binaries() / "uvicorn"), "app:app", "--port", str(self.port), "--loop", "uvloop"]
        return [*uvicorn, "--http", "httptools", "--no-access-log", "--log-level", "warning"]

    def environment(self) -> Mapping[str, str]:
        """The same servers, on a database without our tables."""
        return {
            "PEERS_PG": self.servers.database_url,
            "PEERS_AMQP": self.servers.rabbitmq_url,
            "PEERS_REDIS": self.servers.redis_url,
            "PYTHONPATH": str(self.folder()),
            "PATH": f"{_binaries()}:{os.environ['PATH']}",
        }

    async def start(self, *, workers: int = 1) -> Self:
        """Make room for its own tables first."""
        connection = await asyncpg.connect(self.servers.database_url)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await connection.close()
        return await super().start(workers=workers)


class AioPika(_HandWritten):
    """FastAPI, asyncpg and aio-pika."""

    name = "fastapi + aio-pika"
    app = "http_aiopika"

    def worker_command(self, number: int) -> list[str]:
        """A consumer on one event loop."""
        return [str(_binaries() / "python"), "worker.py"]


class Celery(_HandWritten):
    """FastAPI, SQLAlchemy and Celery."""

    name = "fastapi + celery"
    app = "http_celery"

    def worker_command(self, number: int) -> list[str]:
        """Celery with two processes."""
        celery = [str(_binaries() / "celery"), "-A", "worker.celery", "worker", "-l", "WARNING", "--without-gossip"]
        return [*celery, "--without-mingle", "-P", "prefork", "-c", "2", "-n", f"w{number}@localhost"]


def peers_folder() -> Path:
    """The folder with the hand-written services: PEERS in the environment."""
    return Path(os.environ["PEERS"]).resolve()


def contenders() -> list[type[Contender]]:
    """Taskmill, and with PEERS the others."""
    return [Taskmill, AioPika, Celery] if os.environ.get("PEERS") else [Taskmill]


def _binaries() -> Path:
    """The environment of the hand-written services; made when it is first asked for."""
    folder = Path(tempfile.gettempdir()) / "taskmill-bench-peers"
    stamp = folder / "installed"
    wanted = peers_folder() / "requirements" / "http.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-qq", "-r", str(wanted)], check=True)
        stamp.write_text(wanted.read_text())
    return folder / "bin"
