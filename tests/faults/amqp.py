"""Messages by hand, as a client of RabbitMQ that is not ours would send them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel

from shared.broker.topology import queue_name
from tests.faults.stack import Stack
from tests.servers.management import Queue

DEFAULT: Final = queue_name("default")


@asynccontextmanager
async def opened_channel(stack: Stack) -> AsyncIterator[AbstractChannel]:
    """A channel of our own to the stack's vhost."""
    async with await aio_pika.connect(stack.servers.rabbitmq_url) as connection:
        yield await connection.channel()


async def send(stack: Stack, bodies: Sequence[bytes]) -> None:
    """Put messages into the default queue; the broker has confirmed them."""
    async with opened_channel(stack) as channel:
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, DEFAULT)


def queue_at_broker(stack: Stack, name: str = DEFAULT) -> Queue:
    """What the broker knows of a queue, a moment ago."""
    vhost = urlsplit(stack.servers.rabbitmq_url).path[1:]
    return stack.servers.rabbitmq.management.queues(vhost)[name]


def delete_queue(stack: Stack, name: str = DEFAULT) -> None:
    """Delete a queue under its consumers, who are cancelled."""
    vhost = urlsplit(stack.servers.rabbitmq_url).path[1:]
    stack.servers.rabbitmq.management._request("DELETE", f"/queues/{quote(vhost, safe='')}/{quote(name, safe='')}")


def close_connections(stack: Stack) -> None:
    """Have the broker throw out everybody who is connected now."""
    management = stack.servers.rabbitmq.management
    for name in management.connections(urlsplit(stack.servers.rabbitmq_url).path[1:]):
        management.close_connection(name)
