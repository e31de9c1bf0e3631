"""The three servers together."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Lock
from typing import Any, Final, Self

from tests.servers.find import S, Say, find_server
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.server import Server

# The slowest first.
KINDS: Final[tuple[type[Server], ...]] = (RabbitMQ, Postgres, Redis)


class Servers:
    """PostgreSQL, RabbitMQ and Redis, started side by side, each awaited when first used.

    Args:
        durable: What was committed must outlive a kill.
        private: We must be able to stop them, so addresses in the environment won't do.
        say: Gets a line when the way that was taken needs an explanation.
        soon: What to start at once; the others start when they are used.
    """

    def __init__(
        self, *, durable: bool, private: bool, say: Say = print, soon: Collection[type[Server]] = KINDS
    ) -> None:
        self._find: Callable[[type[Any]], Any] = partial(find_server, durable=durable, private=private, say=say)
        self._threads = ThreadPoolExecutor(len(KINDS), thread_name_prefix="start-server")
        self._starting: dict[type[Server], Future[Any]] = {}
        self._one_at_a_time = Lock()
        for kind in soon:
            self._begin(kind)

    @property
    def postgres(self) -> Postgres:
        """PostgreSQL, started."""
        return self._begin(Postgres).result()

    @property
    def rabbitmq(self) -> RabbitMQ:
        """RabbitMQ, started."""
        return self._begin(RabbitMQ).result()

    @property
    def redis(self) -> Redis:
        """Redis, started."""
        return self._begin(Redis).result()

    def close(self) -> None:
        """End all of them and leave nothing behind."""
        self._threads.shutdown()  # what is just being started must be ended too
        with ExitStack() as all_of_them:  # also when one of them cannot be closed
            for starting in self._starting.values():
                if starting.exception() is None:
                    all_of_them.callback(starting.result().close)

    def _begin(self, kind: type[S]) -> Future[S]:
        with self._one_at_a_time:
            if kind not in self._starting:
                self._starting[kind] = self._threads.submit(self._find, kind)
            return self._starting[kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
