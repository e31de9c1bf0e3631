"""A look at RabbitMQ for `GET /diagnostics`: as much as AMQP shows, and nothing is changed."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aiormq import ChannelNotFoundEntity, Connection

from shared.broker.base import BrokerFacts, QueueAtBroker
from shared.broker.rabbitmq_link import Link, version_text
from shared.broker.rabbitmq_topology import declare_task_queue
from shared.broker.topology import QueueType, queue_name
from shared.errors import BrokerUnavailableError, TopologyMismatchError

#: Seconds that the broker may take to confirm a message, before it counts as blocked.
_CONFIRM_S: Final = 1.5
#: No queue has this name: what is sent there is confirmed and dropped.
_NOWHERE: Final = "taskmill-diagnostics"


async def inspect(url: str, queue_type: QueueType, queues: Sequence[str]) -> BrokerFacts:
    """Look at the broker and at these task queues, over a connection that nobody else uses: it may get blocked.

    Raises:
        BrokerUnavailableError: The broker can't be reached.
    """
    link = Link(url, name="taskmill diagnostics")
    try:
        connection = await link.connection()
        found = [await _look_at(link, name, queue_type) for name in queues]
        return BrokerFacts(
            product=str((connection.server_properties or {}).get("product", "RabbitMQ")),
            version=version_text(connection),
            queue_type=queue_type,
            takes_messages=await _takes_messages(link, connection),
            queues=found,
        )
    finally:
        await link.close()


async def _look_at(link: Link, name: str, queue_type: QueueType) -> QueueAtBroker:
    async with link.brief_channel() as channel:
        try:
            depth = await channel.queue_declare(queue_name(name), passive=True)
        except ChannelNotFoundEntity:
            return QueueAtBroker(name=name, exists=False)
    return QueueAtBroker(
        name=name,
        exists=True,
        ready=depth.message_count or 0,
        consumers=depth.consumer_count or 0,
        mismatch=await _mismatch(link, name, queue_type),
    )


async def _mismatch(link: Link, name: str, queue_type: QueueType) -> str | None:
    """AMQP shows no arguments, but compares them: to declare what exists, as we would, changes nothing."""
    try:
        async with link.brief_channel() as channel:
            await declare_task_queue(channel, name, queue_type)
    except TopologyMismatchError as error:
        return str(error)
    return None


async def _takes_messages(link: Link, connection: Connection) -> bool:
    """A broker that is short of memory or disk stops reading from whoever publishes.

    It takes the first message all the same, and only then stops to read: the second one tells.
    """
    with suppress(TimeoutError, BrokerUnavailableError):
        async with asyncio.timeout(_CONFIRM_S), link.answering(connection):
            channel = await connection.channel()
            for _ in range(2):
                await channel.basic_publish(b"", routing_key=_NOWHERE)
            return True
    return False
