"""Publishing to RabbitMQ never raises, never hangs, and never claims what was not confirmed."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq import spec
from structlog.testing import capture_logs

from shared.broker import rabbitmq_link
from shared.broker.base import Depth, Message
from shared.broker.rabbitmq import RabbitBroker
from shared.errors import BrokerUnavailableError
from tests.inbox import Inbox, confirmed, has_depth, message, subscribed
from tests.listening import until
from tests.servers import FaultServers
from tests.servers.proxy import Proxy

IMPATIENCE_S = 0.5
AT_ONCE_S = 0.2


@pytest.fixture
async def proxy(rabbitmq_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(rabbitmq_url) as line:
        yield line


@pytest.fixture
async def broker(proxy: Proxy) -> AsyncIterator[RabbitBroker]:
    made = RabbitBroker(proxy.url)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def impatient(proxy: Proxy) -> AsyncIterator[RabbitBroker]:
    """A broker that soon gives up; one message is confirmed already."""
    made = RabbitBroker(proxy.url, publish_timeout_s=IMPATIENCE_S)
    await confirmed(made, message(1))
    yield made
    await made.close()


async def test_a_message_that_came_back_from_a_deleted_queue_is_sent_again(
    broker: RabbitBroker, rabbitmq_url: str
) -> None:
    await broker.publish([message(1), message(1, queue="other")])
    async with aiormq.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete("taskmill.default")

    assert await broker.publish([message(2), message(2, queue="other")]) == [True, True]

    await has_depth(broker, "default", Depth(ready=1, consumers=0))
    await has_depth(broker, "other", Depth(ready=2, consumers=0))


async def test_a_broker_that_is_away_answers_false_at_once_and_works_when_it_comes(rabbitmq_url: str) -> None:
    async with Proxy(rabbitmq_url) as proxy:
        await proxy.cut()
        broker = RabbitBroker(proxy.url)
        with pytest.raises(BrokerUnavailableError, match="Connect call failed"):
            await broker.open()

        assert await _timed_publish(broker, [message(1), message(2)]) == ([False, False], True)
        with pytest.raises(BrokerUnavailableError):
            await broker.ping()

        await proxy.heal()
        await confirmed(broker, message(1))
        await broker.ping()
        await broker.close()


async def test_a_broker_that_is_away_is_mentioned_once(rabbitmq_url: str) -> None:
    async with Proxy(rabbitmq_url) as proxy:
        await proxy.cut()
        broker = RabbitBroker(proxy.url)
        with capture_logs() as logs:
            await _publish_for(broker, seconds=0.6)
            await broker.close()

    assert [entry["event"] for entry in logs] == ["broker_away", "publishing_failed"]


async def test_a_broker_that_hangs_is_given_up_in_time_and_then_at_once(
    impatient: RabbitBroker, proxy: Proxy
) -> None:
    proxy.hang()
    started = time.monotonic()
    assert await impatient.publish([message(2)]) == [False]
    assert IMPATIENCE_S <= time.monotonic() - started < IMPATIENCE_S + 4
    assert await _timed_publish(impatient, [message(3)]) == ([False], True)

    await proxy.heal()
    await confirmed(impatient, message(4))


async def test_a_lost_connection_fails_what_is_in_flight_and_nothing_later(
    broker: RabbitBroker, proxy: Proxy
) -> None:
    await broker.publish([message(1)])
    proxy.hang()
    sending = asyncio.create_task(broker.publish([message(2)]))
    await asyncio.sleep(0)
    await proxy.cut()

    assert await sending == [False]
    await proxy.heal()
    await confirmed(broker, message(3))


async def test_a_publisher_that_the_broker_blocks_waits_but_not_for_ever(impatient: RabbitBroker) -> None:
    connection = await impatient._publishing_link.connection()

    await _tell(connection, "blocked", spec.Connection.Blocked("low on memory"))
    started = time.monotonic()
    assert await impatient.publish([message(2)]) == [False]
    assert time.monotonic() - started >= IMPATIENCE_S
    waiting = asyncio.create_task(impatient.publish([message(3)]))
    await _tell(connection, "unblocked", spec.Connection.Unblocked())

    await waiting
    await confirmed(impatient, message(4))
    assert await impatient._publishing_link.connection() is connection


async def test_a_cancelled_call_leaves_the_others_their_own_confirms(broker: RabbitBroker) -> None:
    await confirmed(broker, message(0))  # a queue that was just made may not take messages yet
    given_up = asyncio.create_task(broker.publish([message(number) for number in range(1, 600)]))
    kept = asyncio.create_task(broker.publish([message(number) for number in range(1, 100)]))
    await asyncio.sleep(0.01)

    given_up.cancel()

    assert all(await kept)
    assert await broker.publish([message(1)]) == [True]
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_many_calls_at_once_are_all_confirmed(broker: RabbitBroker) -> None:
    calls = [broker.publish([message(number) for number in range(1, 101)]) for _ in range(20)]

    assert await asyncio.gather(*calls) == [[True] * 100] * 20
    await has_depth(broker, "default", Depth(ready=2000, consumers=0))


async def test_a_call_that_is_in_flight_when_its_broker_closes_returns(broker: RabbitBroker, proxy: Proxy) -> None:
    await broker.publish([message(1)])
    proxy.hang()
    sending = asyncio.create_task(broker.publish([message(2)] * 300))
    await asyncio.sleep(0.05)

    await broker.close()

    assert await sending == [False] * 300


@pytest.mark.parametrize("fault", ["none", "hang", "cut"])
async def test_closing_takes_no_longer_than_a_moment_and_leaves_nothing_behind(rabbitmq_url: str, fault: str) -> None:
    async with Proxy(rabbitmq_url) as proxy:
        broker, inbox = RabbitBroker(proxy.url), Inbox()
        await confirmed(broker, message(1))
        await subscribed(broker, inbox.put)
        await subscribed(broker, inbox.put, queue="other")
        (delivery, *_) = await inbox.has(1)
        if fault == "hang":
            proxy.hang()
        elif fault == "cut":
            await proxy.cut()
        delivery.ack()

        started = time.monotonic()
        await broker.close()
        took_s = time.monotonic() - started

        assert took_s < 2.5 * rabbitmq_link.GOODBYE_TIMEOUT_S
        await until(lambda: not _tasks_of_broker(), patience_s=1)


async def test_a_broker_that_stops_and_starts_is_found_again(fault_servers: FaultServers) -> None:
    broker, inbox = RabbitBroker(fault_servers.rabbitmq_url), Inbox()
    await broker.open(["default"])
    subscription = await broker.subscribe("default", prefetch=5, on_delivery=inbox.put)
    await until(lambda: subscription.consuming)

    await asyncio.to_thread(fault_servers.rabbitmq.stop)
    assert await broker.publish([message(1)]) == [False]
    assert not subscription.consuming
    await asyncio.to_thread(fault_servers.rabbitmq.start)

    await until(lambda: subscription.consuming)
    await confirmed(broker, message(2))
    await inbox.has(1)
    assert inbox.numbers[0] == 2
    await broker.close()


def _tasks_of_broker() -> list[str]:
    """What still runs in our modules or the library."""
    names = [repr(task) for task in asyncio.all_tasks()]
    return [name for name in names if "aiormq" in name or "shared/broker" in name]


async def _timed_publish(broker: RabbitBroker, messages: list[Message]) -> tuple[list[bool], bool]:
    """What `publish` said, and whether it said so at once."""
    started = time.monotonic()
    answer = await broker.publish(messages)
    return answer, time.monotonic() - started < AT_ONCE_S


async def _publish_for(broker: RabbitBroker, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        await broker.publish([message(1)])
        await asyncio.sleep(0.01)


async def _tell(connection: aiormq.Connection, name: str, frame: object) -> None:
    """Have the library handle a frame of the broker: blocking for real would block other tests too."""
    await getattr(connection, f"_Connection__handle_connection_{name}")(frame)
