"""The systems that are measured: Taskmill, and hand-written services that do the same work."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import asyncpg

from tests.bench.errors import ContenderFailedError, PeersError
from tests.bench.load import ask_once, get
from tests.bench.processes import tree
from tests.servers import FaultServers
from tests.servers.sandbox import free_port

_ROOT: Final = Path(__file__).parents[2]
_START_S: Final = 60.0
_STOP_S: Final = 20.0
_LOG_TAIL_CHARACTERS: Final = 3000


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
        self.log = log
        self._processes: list[tuple[subprocess.Popen[bytes], Sequence[str]]] = []
        self._connection: asyncpg.Connection | None = None

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

    async def until_workers_work(self) -> None:
        """Wait until all workers that were started take tasks. Without a sign of it: a while."""
        await asyncio.sleep(3)

    def folder(self) -> Path:
        """Where they are started."""
        return _ROOT

    def task(self, number: int) -> dict[str, Any]:
        """A task that does nothing and returns its payload."""
        return {"type": "noop", "payload": {"n": number}}

    # Running ........................................................................

    async def start(self, *, workers: int = 1) -> Self:
        """Start the processes and return when the API answers and the workers work.

        Raises:
            ContenderFailedError: They don't.
        """
        self.api.append(self._spawn(self.api_command()))
        await self._until_it_answers()
        await self.add_workers(workers)
        return self

    async def add_workers(self, number: int) -> None:
        """Start more workers."""
        for _ in range(number):
            self.workers.append(self._spawn(self.worker_command(len(self.workers))))
        await self.until_workers_work()
        self.require_alive()

    async def close(self) -> None:
        """End everything that was started, whole trees."""
        if self._connection is not None:
            await self._connection.close()
        processes = [process for process, _ in self._processes]
        pids = {pid for process in processes if process.poll() is None for pid in tree(process.pid)}
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for process in processes:
            process.wait(_STOP_S)

    # Watching .......................................................................

    def parts(self) -> dict[str, list[int]]:
        """The processes of each part of the system, by the part's name: the first of each tree."""
        return {
            "api": self.api,
            "worker": self.workers,
            "PostgreSQL": self.servers.postgres.pids(),
            "RabbitMQ": self.servers.rabbitmq.pids(),
            "Redis": self.servers.redis.pids(),
        }

    async def query(self, statement: str, *values: Any) -> asyncpg.Record:
        """One row from its database, over one connection, so that asking costs little."""
        if self._connection is None:
            self._connection = await asyncpg.connect(self.servers.database_url)
            await self._connection.execute("SET max_parallel_workers_per_gather = 0")
        row = await self._connection.fetchrow(statement, *values)
        assert row is not None
        return row

    def questioner(self) -> int | None:
        """The process of PostgreSQL that answers `query`."""
        return None if self._connection is None else self._connection.get_server_pid()

    async def until_done(self, number: int, *, within_s: float = 300) -> float:
        """Return when so many tasks are final: the moment at which the last one was (seconds since 1970).

        Raises:
            ContenderFailedError: They are not in time.
        """
        done, last = 0, None
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    done, last = await self.query(self.done_query)
                    if done >= number:
                        return float(last)
                    self.require_alive()
                    await asyncio.sleep(0.15)
        raise self.failure(
            f"has done {done} of {number} tasks in {within_s:.0f} s", "On a slow machine: --scale 0.1."
        )

    def require_alive(self) -> None:
        """Fail if a process has ended.

        Raises:
            ContenderFailedError: One has.
        """
        for process, command in self._processes:
            if process.poll() is not None:
                remedy = f"It is started in {self.folder()} by: {shlex.join(command)}"
                raise self.failure(f"has ended with code {process.returncode}", remedy)

    def failure(self, what: str, remedy: str) -> ContenderFailedError:
        """What to raise where the contender failed: what it did, what to do about it, and the end of its log."""
        tail = self.log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if self.log.exists() else ""
        return ContenderFailedError(self.name, what, remedy=remedy, log_tail=tail)

    def _spawn(self, command: Sequence[str]) -> int:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment()},
                cwd=self.folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append((process, command))
        return process.pid

    async def _until_it_answers(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while True:
                    self.require_alive()
                    with suppress(OSError):
                        await ask_once(self.url, get("/openapi.json"))
                        return
                    await asyncio.sleep(0.1)
        raise self.failure(f"has not answered in {_START_S:.0f} s", "Its log may tell what it waits for.")


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

    async def until_workers_work(self) -> None:
        """As they say themselves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while self.log.read_text(errors="replace").count("worker_started") < len(self.workers):
                    self.require_alive()
                    await asyncio.sleep(0.1)
                return
        raise self.failure(f"has started no worker in {_START_S:.0f} s", "Its log may tell what it waits for.")

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
        if not self.folder().is_dir():
            raise PeersError(f"there is no folder {self.folder()}")
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
    """The environment of the hand-written services; made when it is first asked for.

    Raises:
        PeersError: It can't be made.
    """
    folder = Path(tempfile.gettempdir()) / "taskmill-bench-peers"
    stamp = folder / "installed"
    wanted = peers_folder() / "requirements" / "http.txt"
    try:
        if not stamp.exists() or stamp.read_text() != wanted.read_text():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([str(folder / "bin" / "pip"), "install", "-qq", "-r", str(wanted)], check=True)
            stamp.write_text(wanted.read_text())
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeersError(str(error)) from error
    return folder / "bin"
