"""Rings again for queued tasks whose messages the broker has lost."""

from typing import Final

import structlog

from shared.broker.base import Broker
from shared.publisher import Publisher
from shared.resuming import ring_resumed
from shared.store.store import Store
from shared.telemetry import metrics
from worker_service.loops.base import PeriodicLoop

log = structlog.get_logger(__name__)

_LIMIT: Final = 10_000


class Reconcile(PeriodicLoop):
    """A queue that is empty at the broker while old rows are queued has lost its messages.

    So has one whose resumption was not brought to its end: its messages were refused while it was paused. A message
    too many is harmless: the claim decides.

    Args:
        older_than_s: Only rows queued, and resumptions begun, so long ago count; younger ones may be on their way.
    """

    def __init__(
        self, store: Store, broker: Broker, publisher: Publisher, *, older_than_s: float, interval_s: float
    ) -> None:
        super().__init__(interval_s=interval_s)
        self._store = store
        self._broker = broker
        self._publisher = publisher
        self._older_than_s = older_than_s

    async def run_once(self) -> int:
        """Ring again for every queue that has drifted. Returns 0: workers get a pause to answer the doorbells."""
        await self._finish_resuming()
        for queue in await self._store.queues.with_queued(older_than_s=self._older_than_s):
            depth = await self._broker.depth(queue)
            if depth.ready == 0:
                await self._ring_again(queue)
        return 0

    async def _finish_resuming(self) -> None:
        for resumed in await self._store.queues.resumed(older_than_s=self._older_than_s):
            count = await ring_resumed(self._store, self._publisher, resumed)
            log.warning("resumption_finished", queue=resumed.queue, count=count)

    async def _ring_again(self, queue: str) -> None:
        rings = await self._store.outbox.ring_again(queue, older_than_s=self._older_than_s, limit=_LIMIT)
        if rings:
            metrics.DRIFT.labels(queue=queue).inc(len(rings))
            log.warning("queue_drifted", queue=queue, count=len(rings))
            self._publisher.offer(rings)
