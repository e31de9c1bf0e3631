"""Subscriptions to RabbitMQ come back from whatever ends them."""

import asyncio
from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from structlog.testing import capture_logs

from shared.broker import rabbitmq_link
from shared.broker.base import Delivery, Depth
from shared.broker.rabbitmq import RabbitBroker
from shared.broker.rabbitmq_consumer import RabbitSubscription
from tests.inbox import Inbox, confirmed, has_depth, message
from tests.listening import until
from tests.servers.proxy import Proxy

NEVER_S = 3600
#: For what only the watchdog can notice; all else is noticed without one.
watchful = pytest.mark.parametrize("watchdog_s", [0.1], indirect=True)


@pytest.fixture
def watchdog_s(request: pytest.FixtureRequest) -> float:
    return getattr(request, "param", NEVER_S)


@pytest.fixture
async def proxy(rabbitmq_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(rabbitmq_url) as line:
        yield line


@pytest.fixture
async def broker(proxy: Proxy, watchdog_s: float) -> AsyncIterator[RabbitBroker]:
    made = RabbitBroker(proxy.url, watchdog_s=watchdog_s)
    yield made
    await made.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def subscription(broker: RabbitBroker, inbox: Inbox) -> RabbitSubscription:
    made = await broker.subscribe("default", prefetch=1, on_delivery=inbox.put)
    await until(lambda: made.consuming)
    return made


@pytest.fixture
async def other(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """What any other client could do to the same broker."""
    async with aiormq.connect(rabbitmq_url) as connection:
        yield await connection.channel()


async def test_a_deleted_queue_is_made_again(
    broker: RabbitBroker, subscription: RabbitSubscription, other: AbstractChannel, inbox: Inbox
) -> None:
    await other.queue_delete("taskmill.default")
    await until(lambda: not subscription.consuming)

    await until(lambda: subscription.consuming)
    await confirmed(broker, message(1))
    await inbox.has(1)


async def test_what_was_in_hand_when_the_channel_closed_comes_again_and_its_ack_is_dropped(
    broker: RabbitBroker, subscription: RabbitSubscription, inbox: Inbox
) -> None:
    await broker.publish([message(1)])
    (old,) = await inbox.has(1)

    await _channel(subscription).basic_ack(999)  # a fault that makes the broker close the channel
    (_, again) = await inbox.has(2)
    old.ack()
    old.reject()
    again.ack()

    await has_depth(broker, "default", Depth(ready=0, consumers=1))
    assert inbox.numbers == [1, 1]
    assert subscription.consuming


@watchful
async def test_a_consumer_that_vanished_is_replaced_before_anything_waits_for_it(
    broker: RabbitBroker, subscription: RabbitSubscription
) -> None:
    channel = _channel(subscription)
    (tag,) = channel.consumers
    await channel.basic_cancel(tag)
    await has_depth(broker, "default", Depth(ready=0, consumers=0))

    await has_depth(broker, "default", Depth(ready=0, consumers=1))

    await until(lambda: subscription.consuming)
    assert _channel(subscription) is not channel


@watchful
async def test_a_consumer_that_hears_nothing_is_replaced(
    broker: RabbitBroker, subscription: RabbitSubscription, inbox: Inbox
) -> None:
    _channel(subscription).consumers.clear()

    await broker.publish([message(1), message(2)])

    for count in (1, 2):
        (*_, last) = await inbox.has(count)
        last.ack()
    assert sorted(inbox.numbers) == [1, 2]


@watchful
async def test_a_busy_consumer_is_not_taken_for_a_deaf_one(
    broker: RabbitBroker, subscription: RabbitSubscription, inbox: Inbox
) -> None:
    channel = _channel(subscription)
    looks = _count_looks(channel)
    await broker.publish([message(1), message(2)])
    await inbox.has(1)

    await until(lambda: len(looks) > 5)

    assert _channel(subscription) is channel


@watchful
async def test_an_idle_consumer_is_not_taken_for_a_deaf_one(subscription: RabbitSubscription) -> None:
    channel = _channel(subscription)
    looks = _count_looks(channel)

    await until(lambda: len(looks) > 5)

    assert _channel(subscription) is channel


async def test_a_lost_connection_is_made_again_and_said_once(
    broker: RabbitBroker, subscription: RabbitSubscription, proxy: Proxy, inbox: Inbox
) -> None:
    with capture_logs() as logs:
        await proxy.cut()
        await until(lambda: not subscription.consuming)
        await until(lambda: "Connect call failed" in broker._link._fault)
        await proxy.heal()
        await until(lambda: subscription.consuming)

    await confirmed(broker, message(1))
    await inbox.has(1)
    about_link = [entry["event"] for entry in logs if entry.get("link") == "taskmill"]
    assert about_link == ["broker_lost", "broker_connected"]


@watchful
async def test_a_broker_that_hangs_is_noticed_and_left(
    broker: RabbitBroker,
    subscription: RabbitSubscription,
    proxy: Proxy,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rabbitmq_link, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(rabbitmq_link, "CONNECT_TIMEOUT_S", 0.3)

    hanging = await broker._link.connection()

    proxy.hang()
    await until(lambda: not subscription.consuming)
    await proxy.heal()

    await until(lambda: subscription.consuming)
    assert await broker._link.connection() is not hanging
    await confirmed(broker, message(1))
    await inbox.has(1)


async def test_a_subscription_to_a_broker_that_is_away_begins_when_it_comes(rabbitmq_url: str, inbox: Inbox) -> None:
    async with Proxy(rabbitmq_url) as proxy:
        await proxy.cut()
        broker = RabbitBroker(proxy.url)
        async with asyncio.timeout(1):
            subscription = await broker.subscribe("default", prefetch=1, on_delivery=inbox.put)
        assert not subscription.consuming

        await proxy.heal()

        await until(lambda: subscription.consuming)
        await confirmed(broker, message(1))
        await inbox.has(1)
        await broker.close()


async def test_what_arrives_while_a_subscription_closes_is_given_back_at_once(
    broker: RabbitBroker, rabbitmq_url: str, inbox: Inbox
) -> None:
    taken: list[Delivery] = []
    await broker.publish([message(number) for number in range(1, 51)])

    def take_one_and_stop(delivery: Delivery) -> None:
        taken.append(delivery)
        assert closing._session
        closing._session._is_stopping = True

    closing = await broker.subscribe("default", prefetch=50, on_delivery=take_one_and_stop)
    await until(lambda: bool(taken))
    await closing.close()

    second = RabbitBroker(rabbitmq_url)
    await second.subscribe("default", prefetch=50, on_delivery=inbox.put)
    await inbox.has(49)
    assert len(taken) == 1
    await second.close()


async def test_a_closed_subscription_leaves_its_channel_when_nothing_is_in_hand(
    broker: RabbitBroker, subscription: RabbitSubscription, inbox: Inbox
) -> None:
    await broker.publish([message(1)])
    (delivery,) = await inbox.has(1)
    channel = _channel(subscription)

    await subscription.close()
    assert not channel.is_closed
    delivery.ack()

    await until(lambda: channel.is_closed)
    await has_depth(broker, "default", Depth(ready=0, consumers=0))


async def test_an_ack_of_the_last_moment_is_sent_before_the_channel_closes(
    broker: RabbitBroker, subscription: RabbitSubscription, inbox: Inbox
) -> None:
    await broker.publish([message(1)])
    (delivery,) = await inbox.has(1)
    assert subscription._session

    delivery.ack()
    await subscription._session.end()

    await until(lambda: subscription.consuming)
    await has_depth(broker, "default", Depth(ready=0, consumers=1))
    assert inbox.numbers == [1]


def _channel(subscription: RabbitSubscription) -> aiormq.Channel:
    assert subscription._session
    channel = subscription._session._channel
    assert isinstance(channel, aiormq.Channel)
    return channel


def _count_looks(channel: aiormq.Channel) -> list[str]:
    """Has one more entry each time the watchdog looks."""
    looks: list[str] = []
    declare = channel.queue_declare

    async def count(*arguments: object, **options: object) -> object:
        looks.append("look")
        return await declare(*arguments, **options)  # type: ignore[call-overload]

    channel.queue_declare = count  # type: ignore[method-assign,assignment]
    return looks
