"""Sends many messages to RabbitMQ in one write, each with a confirm of its own.

The library's `basic_publish` sends one message, with a lock, a timer and a turn of the event loop for each. This
does the same for many, in the library's own books: the count of its delivery tags, the confirms it waits for, and
the ids by which it recognises what comes back. It needs a third of the time, and cannot be interrupted half-way.
"""

import asyncio
import uuid
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from aiormq import Channel, spec
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

_PERSISTENT: Final = 2

#: Done when the broker has confirmed the message; raises DeliveryError if it refused it or there was no queue for
#: it, and anything else if the channel went away.
Confirmation = asyncio.Future[Any]


class Outgoing(NamedTuple):
    """A message as RabbitMQ knows it."""

    queue: str
    priority: int
    body: bytes


async def has_room(channel: Channel) -> bool:
    """Whether the channel takes a write; waits while the library still has others to send."""
    while channel.write_queue.full() and not channel.is_closed:  # noqa: ASYNC110 - a queue has no event
        await asyncio.sleep(0)
    return not channel.is_closed


def send(channel: Channel, messages: Iterable[Outgoing]) -> list[Confirmation]:
    """Send messages, persistent and mandatory, to a channel that has room.

    Returns:
        One confirmation each, in their order.
    """
    frames: list[Any] = []
    confirmations = []
    for message in messages:
        # Fresh for each: a message that comes back is recognised by it.
        message_id = uuid.uuid4().hex
        confirmations.append(_expect_confirm(channel, message_id))
        frames += _frames(message, message_id)
    channel.write_queue.put_nowait(ChannelFrame.marshall(channel.number, frames))
    return confirmations


def _expect_confirm(channel: Channel, message_id: str) -> Confirmation:
    channel.delivery_tag += 1
    confirmation = channel.create_future()
    channel.confirmations[channel.delivery_tag] = confirmation
    channel.message_id_delivery_tag[message_id] = channel.delivery_tag
    confirmation.add_done_callback(partial(_forget, channel, message_id))
    return confirmation


def _forget(channel: Channel, message_id: str, _: Confirmation) -> None:
    channel.message_id_delivery_tag.pop(message_id, None)


def _frames(message: Outgoing, message_id: str) -> list[Any]:
    properties = spec.Basic.Properties(
        content_type="application/json",
        delivery_mode=_PERSISTENT,
        priority=message.priority,
        message_id=message_id,
    )
    return [
        spec.Basic.Publish(routing_key=message.queue, mandatory=True),
        ContentHeader(body_size=len(message.body), properties=properties),
        ContentBody(message.body),
    ]
