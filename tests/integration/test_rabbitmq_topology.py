"""What is declared at RabbitMQ, and what happens when something else is there."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from structlog.testing import capture_logs

from shared.broker import rabbitmq_link
from shared.broker.base import Depth
from shared.broker.rabbitmq import RabbitBroker
from shared.broker.topology import DEAD_LETTERS, QueueType, honours_priority
from shared.errors import TopologyMismatchError
from tests.inbox import Inbox, confirmed, has_depth, message
from tests.listening import until
from tests.servers import Servers


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """What any other client could do to the same broker."""
    async with aiormq.connect(rabbitmq_url) as connection:
        yield await connection.channel()


@pytest.fixture
async def broker(rabbitmq_url: str) -> AsyncIterator[RabbitBroker]:
    made = RabbitBroker(rabbitmq_url)
    yield made
    await made.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.mark.parametrize(
    "queue_type,own_arguments",
    [
        (
            "quorum",
            {
                "x-delivery-limit": 20,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-consumer-timeout": 604_800_000,
            },
        ),
        ("classic", {"x-max-priority": 1}),
    ],
)
async def test_a_task_queue_is_durable_and_has_its_arguments(
    servers: Servers, rabbitmq_url: str, queue_type: QueueType, own_arguments: dict[str, str | int]
) -> None:
    broker = RabbitBroker(rabbitmq_url, queue_type=queue_type)
    await broker.open(["default"])
    await broker.close()

    queues = await asyncio.to_thread(servers.rabbitmq.management.queues, _vhost(rabbitmq_url))

    assert set(queues) == {"taskmill.default", DEAD_LETTERS}
    assert all(queue.durable and queue.type == queue_type for queue in queues.values())
    assert queues["taskmill.default"].arguments == own_arguments | {
        "x-queue-type": queue_type,
        "x-dead-letter-exchange": DEAD_LETTERS,
    }


async def test_messages_are_persistent_and_each_has_an_id_of_its_own(
    broker: RabbitBroker, channel: AbstractChannel
) -> None:
    twice = message(1, priority="high")
    await broker.publish([twice, twice])

    found = [(await channel.basic_get("taskmill.default")).header.properties for _ in range(2)]

    assert [(properties.delivery_mode, properties.priority) for properties in found] == [(2, 5), (2, 5)]
    assert found[0].message_id != found[1].message_id


async def test_a_quorum_queue_honours_priority_or_it_is_said_once_that_it_does_not(
    broker: RabbitBroker, inbox: Inbox
) -> None:
    await broker.publish([message(1), message(2)])
    await broker.publish([message(3, priority="high")])

    with capture_logs() as logs:
        await broker.subscribe("default", prefetch=3, on_delivery=inbox.put)
        await inbox.has(3)
        await _close_consumers_channel(broker)
        await inbox.has(6)

    warnings = [entry for entry in logs if entry["event"] == "priority_has_no_effect"]
    if honours_priority("quorum", await _version(broker)):
        assert (inbox.numbers[0], len(warnings)) == (3, 0)
    else:
        assert (inbox.numbers[0], len(warnings)) == (1, 1)


@pytest.mark.parametrize("queues", [["default"], []])
async def test_a_queue_of_another_type_stops_the_start_and_says_what_to_do(
    rabbitmq_url: str, broker: RabbitBroker, queues: list[str]
) -> None:
    older = RabbitBroker(rabbitmq_url, queue_type="classic")
    await older.open(queues)
    await older.close()

    with pytest.raises(TopologyMismatchError, match="delete it once it is empty"):
        await broker.open(queues)


async def test_a_subscription_waits_until_the_queue_with_other_arguments_is_deleted(
    broker: RabbitBroker, channel: AbstractChannel, inbox: Inbox
) -> None:
    await channel.queue_declare("taskmill.default", durable=True)
    with capture_logs() as logs:
        subscription = await broker.subscribe("default", prefetch=1, on_delivery=inbox.put)
        await until(lambda: any(entry["event"] == "consumer_lost" for entry in logs))
    assert not subscription.consuming
    assert await broker.publish([message(1)]) == [True]

    await channel.queue_delete("taskmill.default")

    await until(lambda: subscription.consuming)
    await confirmed(broker, message(2))
    await inbox.has(1)
    assert inbox.numbers == [2]


async def test_a_broker_that_lost_everything_gets_its_topology_again(
    servers: Servers, rabbitmq_url: str, broker: RabbitBroker, inbox: Inbox
) -> None:
    dead = Inbox()
    await broker.open(["default"])
    subscription = await broker.subscribe("default", prefetch=1, on_delivery=inbox.put)
    await until(lambda: subscription.consuming)

    await asyncio.to_thread(servers.rabbitmq.delete_vhost, _vhost(rabbitmq_url))
    await until(lambda: not subscription.consuming)
    await asyncio.to_thread(servers.rabbitmq.create_vhost, _vhost(rabbitmq_url))

    await until(lambda: subscription.consuming)
    await confirmed(broker, message(1))
    (delivery, *_) = await inbox.has(1)
    delivery.reject()
    await broker.subscribe_dead(prefetch=1, on_delivery=dead.put)
    await dead.has(1)
    await has_depth(broker, "default", Depth(ready=0, consumers=1))


def _vhost(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


async def _version(broker: RabbitBroker) -> tuple[int, ...]:
    connection = await broker._link.connection()
    return rabbitmq_link.version(connection)


async def _close_consumers_channel(broker: RabbitBroker) -> None:
    (subscription,) = broker._subscriptions
    assert subscription._session
    await subscription._session._channel.close()
