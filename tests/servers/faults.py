"""Three private servers that a test may stop, kill, freeze and wipe."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from tests.servers.find import Say
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.schema import migrate, unique_name
from tests.servers.server import Server
from tests.servers.trio import Servers


class FaultServers:
    """The three servers, and in them one fresh place for the test that has them now.

    Attributes:
        postgres: Durable, as in production.
        rabbitmq: Durable, as in production.
        redis: Stores nothing: it forgets everything when it ends.
        database_url: A fresh database with our schema.
        rabbitmq_url: A fresh vhost, which is there again after a wipe.
        redis_url: An empty database.
    """

    def __init__(self, *, say: Say) -> None:
        self._servers = Servers(durable=True, private=True, say=say)
        self._test = ExitStack()
        self.database_url = self.rabbitmq_url = self.redis_url = ""

    @property
    def postgres(self) -> Postgres:
        return self._servers.postgres

    @property
    def rabbitmq(self) -> RabbitMQ:
        return self._servers.rabbitmq

    @property
    def redis(self) -> Redis:
        return self._servers.redis

    def renew(self) -> None:
        """Mend whatever the last test has broken, and make the fresh places."""
        servers: tuple[Server, ...] = (self.postgres, self.rabbitmq, self.redis)
        for server in servers:
            server.mend()
        self._test.close()
        name = unique_name()
        self.database_url = self.postgres.create_database(name)
        self._test.callback(self.postgres.drop_database, name)
        migrate(self.database_url)
        self.rabbitmq_url = self.rabbitmq.create_vhost(name)
        self._test.callback(self.rabbitmq.delete_vhost, name)
        self.redis_url = self.redis.url
        self.redis.flush(self.redis_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()
