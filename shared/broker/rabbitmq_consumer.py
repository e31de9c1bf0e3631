"""Subscriptions to RabbitMQ that come back by themselves, whatever ended them."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog
from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.broker.base import Delivery, OnDelivery
from shared.broker.rabbitmq_link import Backoff, Link, version, version_text
from shared.broker.rabbitmq_session import RabbitDelivery, Session, Settle
from shared.broker.rabbitmq_topology import declare_dead_letters, declare_task_queue
from shared.broker.topology import DEAD_LETTERS, QueueType, honours_priority, queue_name, task_queue_of
from shared.errors import BrokerUnavailableError, TopologyMismatchError

log = structlog.get_logger(__name__)

#: Times in a row that a session must seem deaf.
_STRIKES: Final = 2


class RabbitSubscription:
    """Consumes one queue, session after session, until it is closed.

    Args:
        queue: The task queue; None for the dead letters.
        watchdog_s: Seconds between two looks whether the consumer is deaf.
    """

    def __init__(
        self,
        link: Link,
        queue: str | None,
        *,
        queue_type: QueueType,
        prefetch: int,
        on_delivery: OnDelivery,
        watchdog_s: float,
    ) -> None:
        self._link = link
        self._queue = queue
        self._name = DEAD_LETTERS if queue is None else queue_name(queue)
        self._queue_type = queue_type
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._watchdog_s = watchdog_s
        self._session: Session | None = None
        self._is_closed = False
        self._fault = ""
        self._has_warned = False
        self._task = asyncio.create_task(self._run(), name=f"consume {self._name}")

    def __repr__(self) -> str:
        return f"<RabbitSubscription {self._name} consuming={self.consuming}>"

    @property
    def consuming(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._session is not None and self._session.consuming

    async def close(self) -> None:
        """Take no more deliveries. Those in hand may still be acked until `end`."""
        self._is_closed = True
        if self._session is not None:
            await self._session.stop()
        else:
            await self.end()

    async def end(self) -> None:
        """Send the acks that are due and give back what is in hand, within a second or so."""
        self._is_closed = True
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._is_closed:
            await self._link.connected()
            try:
                await self._serve()
            except (BrokerUnavailableError, TopologyMismatchError) as error:
                self._note(str(error))
            except Exception:
                log.exception("consumer_failed", queue=self._name)
            if not self._is_closed:
                await backoff.pause()

    async def _serve(self) -> None:
        connection = await self._link.connection()
        async with self._link.answering(connection):
            channel = await connection.channel(publisher_confirms=False)
        session = Session(channel, self._name, wrap=self._wrap, on_delivery=self._on_delivery)
        self._session = session
        try:
            async with self._link.answering(connection):
                await self._declare(channel, connection)
                await session.start(prefetch=self._prefetch)
            self._note("")
            await self._watch(connection, session)
        finally:
            await session.end()
            self._session = None
        self._note("the channel was closed or the consumer cancelled")

    async def _declare(self, channel: AbstractChannel, connection: Connection) -> None:
        if self._queue is None:
            await declare_dead_letters(channel, self._queue_type)
            return
        await declare_task_queue(channel, self._queue, self._queue_type)
        if not self._has_warned and not honours_priority(self._queue_type, version(connection)):
            log.warning("priority_has_no_effect", queue=self._queue, broker_version=version_text(connection))
            self._has_warned = True

    async def _watch(self, connection: Connection, session: Session) -> None:
        strikes = 0
        while not session.over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(session.over.wait(), self._watchdog_s)
            if not session.consuming:
                continue
            async with self._link.answering(connection):
                strikes = strikes + 1 if await session.is_deaf() else 0
            if strikes == _STRIKES:
                raise BrokerUnavailableError("messages are ready, but none arrive")

    def _wrap(self, message: DeliveredMessage, settle: Settle) -> Delivery:
        if self._queue is not None:
            return RabbitDelivery(message, queue=self._queue, reason="", settle=settle)
        headers = message.header.properties.headers or {}
        return RabbitDelivery(
            message,
            queue=task_queue_of(str(headers.get("x-first-death-queue", ""))),
            reason=str(headers.get("x-first-death-reason", "")),
            settle=settle,
        )

    def _note(self, fault: str) -> None:
        if fault and not self._fault and not self._is_closed:
            log.warning("consumer_lost", queue=self._name, reason=fault)
        elif self._fault and not fault:
            log.info("consumer_came_back", queue=self._name)
        self._fault = fault
