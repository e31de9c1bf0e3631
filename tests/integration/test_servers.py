"""The fixtures themselves: what tests get, and what fault tests may do to it."""

from __future__ import annotations

import asyncpg
import redis
from aio_pika import connect

from tests.servers import Servers


async def test_a_test_gets_a_vhost_without_queues(rabbitmq_url: str, servers: Servers) -> None:
    vhost = rabbitmq_url.rpartition("/")[2]
    async with await connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("q", durable=True)

        queues = servers.rabbitmq.management.queues(vhost)

    assert set(queues) == {"q"}


async def test_a_test_gets_a_migrated_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    version = await connection.fetchval("SELECT version_num FROM alembic_version")
    await connection.close()

    assert version


def test_a_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
