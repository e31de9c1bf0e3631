"""Publishes to RabbitMQ with confirms: what it reports as True is on the broker's disk."""

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

import structlog
from aiormq import Channel, Connection, DeliveryError, PublishError, spec
from aiormq.abc import AbstractConnection

from shared.broker.base import Message
from shared.broker.rabbitmq_link import Link, translated_errors
from shared.broker.rabbitmq_topology import declare_task_queue
from shared.broker.topology import PRIORITIES, QueueType, queue_name
from shared.domain.message import encode
from shared.errors import BrokerUnavailableError, TopologyMismatchError

log = structlog.get_logger(__name__)

#: Messages sent and not yet confirmed, of one call.
_IN_FLIGHT: Final = 256
_BLOCKED_CHECK_S: Final = 0.1
_PERSISTENT: Final = 2


class _Batch:
    """Messages of one call, and the broker's word on each."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.confirmed = [False] * len(messages)
        self.returned: list[int] = []

    def queues(self, indexes: Iterable[int]) -> set[str]:
        return {self.messages[index].queue for index in indexes}


class ConfirmingPublisher:
    """Publishes on a connection of its own: a broker that is short of memory or disk stops reading from it.

    Args:
        timeout_s: The longest that a call takes.
    """

    def __init__(self, link: Link, *, queue_type: QueueType, timeout_s: float) -> None:
        self._link = link
        self._queue_type = queue_type
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._declared: set[str] = set()
        self._is_failing = False

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Send messages; whether each was confirmed. Never raises for the broker, never exceeds the timeout."""
        batch = _Batch(messages)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._publish(batch)
        except BrokerUnavailableError as error:
            self._note_failure(str(error))
        except TimeoutError:
            self._note_failure(f"not all confirmed within {self._timeout_s:g} s")
            if not any(batch.confirmed):
                await self._drop_if_silent()
        else:
            self._note_success()
        return batch.confirmed

    async def _publish(self, batch: _Batch) -> None:
        connection = await self._link.connection()
        with translated_errors():
            await connection.ready()  # waits while the broker blocks publishers
        await self._send(connection, batch, range(len(batch.messages)))
        if batch.returned:
            # Only a queue that was deleted returns messages: it is made again, and they get a second chance.
            returned, batch.returned = batch.returned, []
            self._declared -= batch.queues(returned)
            await self._send(connection, batch, returned)

    async def _send(self, connection: Connection, batch: _Batch, indexes: Sequence[int]) -> None:
        channel = await self._prepare(connection, batch.queues(indexes))
        waiting = iter(indexes)
        senders = [_send_next(channel, batch, waiting) for _ in range(min(_IN_FLIGHT, len(indexes)))]
        # Exceptions are gathered as results: one may be a cancellation that the library invented.
        for outcome in await asyncio.gather(*senders, return_exceptions=True):
            if outcome is not None:
                raise BrokerUnavailableError(repr(outcome)) from outcome

    async def _prepare(self, connection: Connection, queues: set[str]) -> Channel:
        async with self._lock:
            channel = self._channel
            if channel is None or channel.is_closed or channel.connection is not connection:
                self._declared.clear()
                with translated_errors():
                    channel = self._channel = cast(Channel, await connection.channel())
            for queue in queues - self._declared:
                await self._declare(queue)
            return channel

    async def _declare(self, queue: str) -> None:
        try:
            async with self._link.brief_channel() as channel:
                await declare_task_queue(channel, queue, self._queue_type)
        except TopologyMismatchError as error:
            # It exists, so messages arrive. That the worker refuses it is said there, where it can be mended.
            log.error("topology_mismatch", queue=queue, reason=str(error))  # noqa: TRY400
        self._declared.add(queue)

    async def _drop_if_silent(self) -> None:
        channel = self._channel
        if channel is not None and not await _is_blocked(channel.connection):
            self._link.drop(channel.connection, "nothing was confirmed in time")

    def _note_failure(self, reason: str) -> None:
        if not self._is_failing:
            log.warning("publishing_failed", reason=reason)
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            log.info("publishing_works_again")
        self._is_failing = False


async def _send_next(channel: Channel, batch: _Batch, waiting: Iterator[int]) -> None:
    for index in waiting:
        message = batch.messages[index]
        try:
            await channel.basic_publish(
                encode(message.bundle),
                routing_key=queue_name(message.queue),
                properties=_properties(message),
                mandatory=True,
                wait=False,  # the confirm says more than the socket, and the window bounds what is unsent
            )
            batch.confirmed[index] = True
        except PublishError:
            batch.returned.append(index)
        except DeliveryError:
            continue  # refused, as a queue without a leader does: not confirmed


def _properties(message: Message) -> spec.Basic.Properties:
    return spec.Basic.Properties(
        delivery_mode=_PERSISTENT,
        priority=PRIORITIES[message.priority],
        # Fresh for each publish: the library finds a returned message by it.
        message_id=uuid.uuid4().hex,
        content_type="application/json",
    )


async def _is_blocked(connection: AbstractConnection) -> bool:
    try:
        async with asyncio.timeout(_BLOCKED_CHECK_S):
            await connection.ready()
    except TimeoutError:
        return True
    return False
