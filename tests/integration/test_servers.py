"""What tests get from the fixtures, and what fault tests may do to their servers."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

import aio_pika
import asyncpg
import pytest
import redis

from tests.servers import FaultServers, Postgres, Server, Servers
from tests.servers.errors import NotStoppedError
from tests.servers.sandbox import Account

PATIENCE_S = 10
KINDS = ["postgres", "rabbitmq", "redis"]


async def declare_queue(url: str, *, messages: int = 0) -> None:
    """Make a durable queue named `q` with persistent messages."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue("q", durable=True)
        message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        for _ in range(messages):
            await channel.default_exchange.publish(message, "q")


async def take_messages(url: str, count: int) -> list[bytes]:
    """The next messages of the queue."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue("q")
        async with queue.iterator(timeout=PATIENCE_S) as messages:
            return [(await anext(messages)).body for _ in range(count)]


async def query(url: str, statement: str) -> object:
    """The first value that a statement yields."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


# What every test gets ...


async def test_a_database_is_migrated_and_writable(database_url: str) -> None:
    assert await query(database_url, "SELECT version_num FROM alembic_version")
    await query(database_url, "CREATE TABLE mine AS SELECT 1 AS n")

    assert await query(database_url, "SELECT n FROM mine") == 1


async def test_the_next_database_is_a_fresh_one(database_url: str) -> None:
    assert await query(database_url, "SELECT to_regclass('mine')") is None


async def test_a_vhost_shows_its_queues(rabbitmq_url: str, servers: Servers) -> None:
    vhost = unquote(urlsplit(rabbitmq_url).path[1:])
    assert servers.rabbitmq.management.queues(vhost) == {}

    await declare_queue(rabbitmq_url)

    queues = servers.rabbitmq.management.queues(vhost)
    assert set(queues) == {"q"}
    assert (queues["q"].type, queues["q"].durable) == ("classic", True)


def test_redis_is_writable(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("mine", "1")

        assert client.dbsize() == 1


def test_redis_is_empty_for_the_next_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_postgres_runs_from_a_copy_where_its_user_cannot_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "can_reach", lambda account, path: False)
    postgres = Postgres.as_program(durable=False)

    try:
        postgres.start()

        assert postgres.is_ready()
    finally:
        postgres.close()


# What fault tests may do ...


@pytest.fixture
def server(request: pytest.FixtureRequest, fault_servers: FaultServers) -> Server:
    found: Server = getattr(fault_servers, request.param)
    return found


@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_a_paused_server_is_silent_until_resumed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in KINDS:
        monkeypatch.setattr(f"tests.servers.{module}.PATIENCE_S", 0.2)

    server.pause()
    assert not server.is_ready()

    server.resume()
    server.wait_until_ready()
    assert server.is_ready()


@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_a_running_server_is_not_wiped(server: Server) -> None:
    with pytest.raises(NotStoppedError):
        server.wipe()

    assert server.is_ready()


async def test_postgres_keeps_what_was_committed(fault_servers: FaultServers) -> None:
    await query(fault_servers.database_url, "CREATE TABLE mine AS SELECT 42 AS n")

    await asyncio.to_thread(fault_servers.postgres.kill)
    assert not fault_servers.postgres.is_ready()
    await asyncio.to_thread(fault_servers.postgres.start)

    assert await query(fault_servers.database_url, "SELECT n FROM mine") == 42
    assert await query(fault_servers.database_url, "SHOW fsync") == "on"


async def test_postgres_can_be_restarted_under_its_clients(fault_servers: FaultServers) -> None:
    connection = await asyncpg.connect(fault_servers.database_url)

    await asyncio.to_thread(fault_servers.postgres.restart)

    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("SELECT 1")
    assert await query(fault_servers.database_url, "SELECT 1") == 1


async def test_rabbitmq_keeps_its_queues_over_a_restart(fault_servers: FaultServers) -> None:
    await declare_queue(fault_servers.rabbitmq_url, messages=3)

    # Not a kill, which may cost RabbitMQ what was declared in the second before.
    await asyncio.to_thread(fault_servers.rabbitmq.restart)

    assert await take_messages(fault_servers.rabbitmq_url, 3) == [b"hello"] * 3


async def test_a_wiped_rabbitmq_has_the_vhost_and_nothing_in_it(fault_servers: FaultServers) -> None:
    await declare_queue(fault_servers.rabbitmq_url, messages=3)

    await asyncio.to_thread(fault_servers.rabbitmq.kill)
    assert not fault_servers.rabbitmq.is_ready()
    fault_servers.rabbitmq.wipe()
    await asyncio.to_thread(fault_servers.rabbitmq.start)

    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await take_messages(fault_servers.rabbitmq_url, 1)


def test_redis_forgets_everything_when_killed(fault_servers: FaultServers) -> None:
    with redis.Redis.from_url(fault_servers.redis_url) as client:
        client.set("mine", "1")

        fault_servers.redis.kill()
        assert not fault_servers.redis.is_ready()
        fault_servers.redis.start()

        assert client.get("mine") is None


@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_a_server_that_a_test_left_paused_is_mended(server: Server, fault_servers: FaultServers) -> None:
    before = fault_servers.database_url
    server.pause()

    fault_servers.renew()

    assert server.is_ready()
    assert fault_servers.database_url != before


async def test_a_server_that_a_test_left_wiped_is_mended(fault_servers: FaultServers) -> None:
    fault_servers.postgres.kill()
    fault_servers.postgres.wipe()

    await asyncio.to_thread(fault_servers.renew)

    assert await query(fault_servers.database_url, "SELECT version_num FROM alembic_version")
