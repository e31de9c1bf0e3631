"""One consumer on one channel of RabbitMQ, from its first delivery to its last ack."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage

from shared.broker.base import Delivery, OnDelivery
from shared.broker.rabbitmq_errors import translated_errors
from shared.broker.rabbitmq_link import GOODBYE_TIMEOUT_S
from shared.broker.settlements import Settlement, Settlements, Verdict
from shared.errors import BrokerUnavailableError

log = structlog.get_logger(__name__)


class RabbitDelivery:
    """A message of one session."""

    __slots__ = ("_settle", "_tag", "body", "queue", "reason")

    def __init__(self, message: DeliveredMessage, *, queue: str, reason: str, settle: "Settle") -> None:
        self._settle = settle
        self._tag = message.delivery_tag or 0
        self.body = message.body
        self.queue = queue
        self.reason = reason

    def ack(self) -> None:
        """Done with."""
        self._settle(self._tag, Verdict.ACK)

    def reject(self) -> None:
        """Not for us."""
        self._settle(self._tag, Verdict.REJECT)


Settle = Callable[[int, Verdict], None]
#: Makes of a message what the subscriber is handed.
Wrap = Callable[[DeliveredMessage, Settle], Delivery]


class Session:
    """A consumer until its channel is closed, its consumer cancelled, or it was stopped and nothing is in hand.

    The tags of its deliveries mean nothing on another channel: verdicts that come after its end are dropped,
    and the broker delivers those messages again.

    Attributes:
        over: Set when there is nothing more to expect.
    """

    def __init__(self, channel: AbstractChannel, queue: str, *, wrap: Wrap, on_delivery: OnDelivery) -> None:
        self.over = asyncio.Event()
        self._channel = channel
        self._queue = queue
        self._wrap = wrap
        self._on_delivery = on_delivery
        self._settlements = Settlements()
        self._wanted = asyncio.Event()
        self._consumer_tag: str | None = None
        self._is_stopping = self._is_ending = False
        self._heard = False
        channel.closing.add_done_callback(lambda _: self.over.set())
        channel.on_consumer_cancel_callbacks.add(lambda _: self.over.set())
        self._sender = asyncio.create_task(self._send_verdicts(), name=f"verdicts on {queue}")

    @property
    def consuming(self) -> bool:
        """Whether deliveries can arrive."""
        return self._consumer_tag is not None and not self._is_stopping and not self.over.is_set()

    async def start(self, *, prefetch: int) -> None:
        """Begin to consume."""
        await self._channel.basic_qos(prefetch_count=prefetch)
        started = await self._channel.basic_consume(self._queue, self._receive)
        self._consumer_tag = started.consumer_tag
        if self._is_stopping:
            await self.stop()

    async def is_deaf(self) -> bool:
        """Whether it seems that deliveries should have come since the last call, and did not.

        Raises:
            BrokerUnavailableError: The queue is gone, or the channel.
        """
        heard, self._heard = self._heard, False
        found = await self._channel.queue_declare(self._queue, passive=True)
        ready, consumers = found.message_count or 0, found.consumer_count or 0
        is_idle = not self._settlements.in_hand
        # Nothing ready and no consumer is also what a busy quorum queue answers when it did not count in time.
        return (ready > 0 or is_idle) and (consumers == 0 or (ready > 0 and is_idle and not heard))

    async def stop(self) -> None:
        """Take no more deliveries; it is over when those in hand are settled."""
        self._is_stopping = True
        if self._consumer_tag is not None:
            with suppress(BrokerUnavailableError), translated_errors():
                async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                    await self._channel.basic_cancel(self._consumer_tag)
        self._end_if_done()

    async def end(self) -> None:
        """Send what is to be sent, then close the channel; what is in hand goes back to the queue."""
        self._is_ending = self._is_stopping = True
        self._wanted.set()
        await asyncio.wait({self._sender}, timeout=GOODBYE_TIMEOUT_S)
        self._sender.cancel()
        closing = asyncio.ensure_future(self._channel.close())
        await asyncio.wait({closing}, timeout=GOODBYE_TIMEOUT_S)
        closing.cancel()
        self.over.set()

    async def _receive(self, message: DeliveredMessage) -> None:
        tag = message.delivery_tag or 0
        self._heard = True
        self._settlements.arrived(tag)
        if self._is_stopping:
            self._settle(tag, Verdict.RETURN)
            return
        try:
            self._on_delivery(self._wrap(message, self._settle))
        except Exception:
            log.exception("delivery_callback_failed", queue=self._queue)
            self._settle(tag, Verdict.REJECT)

    def _settle(self, tag: int, verdict: Verdict) -> None:
        if self._settlements.settle(tag, verdict):
            self._wanted.set()
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_stopping and not self._settlements.in_hand:
            self.over.set()

    async def _send_verdicts(self) -> None:
        with suppress(BrokerUnavailableError), translated_errors():
            while not self._is_ending or self._wanted.is_set():
                await self._wanted.wait()
                self._wanted.clear()
                for settlement in self._settlements.take():
                    await self._send(settlement)

    async def _send(self, settlement: Settlement) -> None:
        tag = settlement.tag
        match settlement.verdict:
            case Verdict.ACK:
                await self._channel.basic_ack(tag, multiple=settlement.multiple, wait=False)
            case Verdict.REJECT:
                await self._channel.basic_reject(tag, requeue=False, wait=False)
            case Verdict.RETURN:
                # Not a reject: that would count as a failed delivery, on brokers that tell the two apart.
                await self._channel.basic_nack(tag, requeue=True, wait=False)
