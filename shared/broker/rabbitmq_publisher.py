"""Publishes to RabbitMQ with confirms: what it reports as True is on the broker's disk."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, cast

import structlog
from aiormq import Channel, ChannelInvalidStateError, Connection, DeliveryError
from aiormq.abc import AbstractConnection

from shared.broker.base import Message
from shared.broker.rabbitmq_confirms import Confirmation, Outgoing, has_room, send
from shared.broker.rabbitmq_errors import reason_of, translated_errors
from shared.broker.rabbitmq_link import Link
from shared.broker.rabbitmq_topology import declare_task_queue
from shared.broker.topology import PRIORITIES, QueueType, queue_name
from shared.domain.message import encode
from shared.errors import BrokerUnavailableError, TopologyMismatchError

log = structlog.get_logger(__name__)

#: Messages sent in one write, and writes of one call that wait for their confirms: 256 messages in flight.
_PER_WRITE: Final = 64
_WRITES_IN_FLIGHT: Final = 4
#: Seconds that a call waits for a broker that blocks publishers, before it says False.
_BLOCKED_PATIENCE_S: Final = 1.0
_BLOCKED_CHECK_S: Final = 0.1


class _Batch:
    """Messages of one call, and the broker's word on each."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.confirmed = [False] * len(messages)
        self.refused: list[int] = []
        self.fault: BaseException | None = None

    def queues(self, indexes: Iterable[int]) -> set[str]:
        return {self.messages[index].queue for index in indexes}

    def outgoing(self, indexes: Iterable[int]) -> Iterator[Outgoing]:
        for message in map(self.messages.__getitem__, indexes):
            yield Outgoing(queue_name(message.queue), PRIORITIES[message.priority], encode(message.bundle))

    def settle(self, index: int, confirmation: Confirmation) -> None:
        error = None if confirmation.cancelled() else confirmation.exception()
        if isinstance(error, DeliveryError):
            self.refused.append(index)
        elif error is not None:
            self.fault = error
        else:
            self.confirmed[index] = not confirmation.cancelled()


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
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._declared: set[str] = set()
        self._mismatched: set[str] = set()
        self._is_failing = False

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Send messages; whether each was confirmed. Never raises for the broker, never exceeds the timeout."""
        batch = _Batch(messages)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._publish(batch)
        except BrokerUnavailableError as error:
            self._note_outcome(str(error))
        except TimeoutError:
            self._note_outcome(f"not all confirmed within {self._timeout_s:g} s")
            if not any(batch.confirmed):
                await self._drop_if_silent()
        else:
            self._note_outcome("" if all(batch.confirmed) else "the broker did not take all messages")
        return batch.confirmed

    async def _publish(self, batch: _Batch) -> None:
        connection = self._connection = await self._link.connection()
        if await _is_blocked(connection, _BLOCKED_PATIENCE_S):
            raise BrokerUnavailableError("it blocks publishers, being short of memory or disk")
        await self._send(connection, batch, range(len(batch.messages)))
        if batch.refused:
            # Their queue was deleted, or a client that made it a moment ago is not ready: declare it, try again.
            refused, batch.refused = batch.refused, []
            self._declared -= batch.queues(refused)
            await self._send(connection, batch, refused)

    async def _send(self, connection: Connection, batch: _Batch, indexes: Sequence[int]) -> None:
        channel = await self._prepare(connection, batch.queues(indexes))
        writes = [indexes[at : at + _PER_WRITE] for at in range(0, len(indexes), _PER_WRITE)]
        waiting = iter(writes)
        if len(writes) == 1:  # the usual case of a quiet system needs no task of its own
            await _send_next(channel, batch, waiting)
        else:
            await asyncio.gather(*(_send_next(channel, batch, waiting) for _ in writes[:_WRITES_IN_FLIGHT]))
        if batch.fault is not None:
            raise BrokerUnavailableError(reason_of(batch.fault)) from batch.fault

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
            # What exists takes messages all the same; the consumer refuses it, where it can be mended.
            if queue not in self._mismatched:
                log.error("topology_mismatch", queue=queue, reason=str(error))  # noqa: TRY400
            self._mismatched.add(queue)
        self._declared.add(queue)

    async def _drop_if_silent(self) -> None:
        connection = self._connection
        if connection is not None and not await _is_blocked(connection, _BLOCKED_CHECK_S):
            self._link.drop(connection, "nothing was confirmed in time")

    def _note_outcome(self, fault: str) -> None:
        if fault and not self._is_failing:
            log.warning("publishing_failed", reason=fault)
        elif self._is_failing and not fault:
            log.info("publishing_works_again")
        self._is_failing = bool(fault)


async def _send_next(channel: Channel, batch: _Batch, writes: Iterator[Sequence[int]]) -> None:
    for indexes in writes:
        if not await has_room(channel):
            batch.fault = ChannelInvalidStateError("the channel was closed")
            return
        confirmations = send(channel, batch.outgoing(indexes))
        for index, confirmation in zip(indexes, confirmations, strict=True):
            confirmation.add_done_callback(partial(batch.settle, index))
        await asyncio.wait(confirmations)


async def _is_blocked(connection: AbstractConnection, patience_s: float) -> bool:
    try:
        async with asyncio.timeout(patience_s):
            await connection.ready()
    except TimeoutError:
        return True
    return False
