"""Takes what died at the broker: rings again for tasks that still wait, keeps the rest for a person to see."""

import asyncio

import structlog

from shared.broker.base import Broker, Delivery
from shared.domain.message import Due, decode
from shared.errors import MalformedMessageError
from shared.store.store import Store

log = structlog.get_logger(__name__)


class Collector:
    """Consumes the dead-letter queue.

    Failed tasks are dead letters by their own move, in PostgreSQL. What comes here are messages: those that nobody
    could read, and those that were delivered too often because their consumers kept dying. The latter's tasks
    have spent no attempt if they are still queued, so they are rung for afresh; attempts bound those that kill.
    """

    def __init__(self, broker: Broker, store: Store) -> None:
        self._broker = broker
        self._store = store
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def run(self) -> None:
        """Collect until cancelled."""
        subscription = await self._broker.subscribe_dead(prefetch=50, on_delivery=self._arrived.put_nowait)
        try:
            while True:
                await self._collect(await self._arrived.get())
        finally:
            await subscription.close()

    async def _collect(self, delivery: Delivery) -> None:
        try:
            await self._store.database.persist(lambda: self._record(delivery))
        except Exception:
            # Not acked: it comes again when this worker, or another, consumes afresh.
            log.exception("dead_letter_not_recorded", queue=delivery.queue)
        else:
            delivery.ack()

    async def _record(self, delivery: Delivery) -> None:
        try:
            due: list[Due] = decode(delivery.body)
        except MalformedMessageError:
            letter = await self._store.dead_letters.record_unreadable(
                delivery.body, queue=delivery.queue, reason="malformed"
            )
            log.warning("dead_letter_recorded", dead_letter_id=str(letter), queue=delivery.queue, reason="malformed")
        else:
            count = await self._store.outbox.ring_queued(due)
            log.warning("dead_message_rung_again", queue=delivery.queue, reason=delivery.reason, count=count)
