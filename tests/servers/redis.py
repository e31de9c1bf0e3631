"""Redis for the tests: how to run one, and emptying it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

import redis

from tests.servers.container import Container
from tests.servers.external import ExternalControl
from tests.servers.program import Program, ProgramControl
from tests.servers.sandbox import LOOPBACK, find_program, free_port
from tests.servers.server import Server
from tests.servers.urls import with_path

PATIENCE_S: Final = 5.0  # whether it is ready
_ORDER_PATIENCE_S: Final = 30.0
# Nothing is stored: a Redis that ends has forgotten everything, which must not matter.
_FORGETFUL: Final = ("--save", "", "--appendonly", "no")


class RedisProgram(Program):
    """The machine's `redis-server`."""

    name: ClassVar[str] = "redis"
    process_name: ClassVar[str] = "redis-server"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def prepare(self) -> None:
        """Make an empty folder."""
        self.data.mkdir()
        self.account.own(self.data)

    def command(self) -> list[str]:
        """Loopback only."""
        address = ("--bind", LOOPBACK, "--port", str(self.port))
        return [str(self.find_server()), *address, "--dir", str(self.data), *_FORGETFUL]

    @staticmethod
    def find_server() -> Path | None:
        """The program, if there is one."""
        return find_program("redis-server")


class Redis(Server):
    """Redis."""

    kind: ClassVar[str] = "Redis"
    variable: ClassVar[str] = "TEST_REDIS_URL"
    image: ClassVar[str] = "redis:8"
    package: ClassVar[str] = "redis-server"

    @classmethod
    def at(cls, url: str) -> Self:
        """A server that somebody else runs; the databases that tests use are emptied."""
        return cls(url, ExternalControl(url))

    @classmethod
    def in_container(cls, *, durable: bool) -> Self:
        """A server in a container of its own; it stores nothing, durable or not."""
        from tests.servers.engine import ContainerControl

        control = ContainerControl(Container(image=cls.image, ports=(6379,), command=("redis-server", *_FORGETFUL)))
        return cls(f"redis://{control.address(6379)}/0", control)

    @classmethod
    def as_program(cls, *, durable: bool) -> Self:
        """A server from the programs of this machine; it stores nothing, durable or not."""
        program = RedisProgram()
        return cls(f"redis://{LOOPBACK}:{program.port}/0", ProgramControl(program))

    @classmethod
    def is_installed(cls) -> bool:
        """Whether `redis-server` can be found."""
        return RedisProgram.find_server() is not None

    def is_ready(self) -> bool:
        """Whether a ping is answered."""
        try:
            with _client(self.url, PATIENCE_S) as client:
                return bool(client.ping())
        except (OSError, redis.RedisError):
            return False

    def flush(self, url: str) -> None:
        """Empty one database of this server, named by its address."""
        with _client(url, _ORDER_PATIENCE_S) as client:
            client.flushdb()

    def database_url(self, offset: int) -> str:
        """The address of the database so many numbers behind the one of `url`."""
        number = int(urlsplit(self.url).path.strip("/") or 0)
        return with_path(self.url, str(number + offset))


def _client(url: str, patience_s: float) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=patience_s, socket_connect_timeout=patience_s)
