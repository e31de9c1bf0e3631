"""The three servers together."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, Self

from tests.servers.find import S, Say, find_server
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

_KINDS: Final = 3


class Servers:
    """PostgreSQL, RabbitMQ and Redis, started side by side, each awaited when first used.

    Args:
        durable: What was committed must outlive a kill.
        private: We must be able to stop them, so addresses in the environment won't do.
        say: Gets a line when the way that was taken needs an explanation.
    """

    def __init__(self, *, durable: bool, private: bool, say: Say = print) -> None:
        self._threads = ThreadPoolExecutor(_KINDS, thread_name_prefix="start-server")

        def begin(kind: type[S]) -> Future[S]:
            return self._threads.submit(find_server, kind, durable=durable, private=private, say=say)

        self._rabbitmq = begin(RabbitMQ)  # the slowest first
        self._postgres = begin(Postgres)
        self._redis = begin(Redis)

    @property
    def postgres(self) -> Postgres:
        """PostgreSQL, started."""
        return self._postgres.result()

    @property
    def rabbitmq(self) -> RabbitMQ:
        """RabbitMQ, started."""
        return self._rabbitmq.result()

    @property
    def redis(self) -> Redis:
        """Redis, started."""
        return self._redis.result()

    def close(self) -> None:
        """End all of them and leave nothing behind."""
        self._threads.shutdown()  # what is just being started must be ended too
        with ExitStack() as all_of_them:  # also when one of them cannot be closed
            for starting in (self._rabbitmq, self._postgres, self._redis):
                if starting.exception() is None:
                    all_of_them.callback(starting.result().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
