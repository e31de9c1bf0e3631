"""Takes deliveries of one queue, claims their tasks as slots are free, and starts them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from shared.broker.base import Broker, Delivery, Subscription
from shared.domain.message import Due, decode
from shared.domain.task import TaskRecord
from shared.errors import MalformedMessageError
from shared.news import News
from shared.store.store import Store
from shared.telemetry import metrics
from worker_service.executor import Executor
from worker_service.registry import Registry
from worker_service.running import Running

log = structlog.get_logger(__name__)

#: Seconds that a stopping consumer waits for the claim in flight.
_CLAIM_AT_STOP_S: Final = 3.0
#: Seconds for which the news of a start wait: an attempt that ends meanwhile is told of once instead of twice.
_START_TOLD_WITHIN_S: Final = 0.03
#: Seconds for which no slot gets free before what waits in hand is left to other workers.
_HOARDED_S: Final = 2.0


@dataclass(eq=False, slots=True)
class _Bundle:
    """A delivery and how many of its tasks are not done with. Acked with the last of them."""

    delivery: Delivery
    remaining: int

    def settle_one(self) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            self.delivery.ack()


class QueueConsumer:
    """The consumer of one queue.

    Args:
        queue: Name of the queue.
        concurrency: How many of its tasks run here at once; also how many messages are fetched ahead.
        has_room: Whether the outcomes of more attempts can be taken; asked again whenever some were written.
        default_timeout_s: Hard limit where the type sets none.
    """

    def __init__(
        self,
        queue: str,
        concurrency: int,
        *,
        broker: Broker,
        store: Store,
        news: News,
        registry: Registry,
        executor: Executor,
        has_room: Callable[[], bool],
        worker_id: str,
        default_timeout_s: float,
    ) -> None:
        self.queue = queue
        self._concurrency = concurrency
        self._broker = broker
        self._store = store
        self._news = news
        self._registry = registry
        self._types = registry.names()
        self._executor = executor
        self._has_room = has_room
        self._worker_id = worker_id
        self._default_timeout_s = default_timeout_s
        self._free = concurrency
        self._moved_at = 0.0
        self._backlog: deque[tuple[Due, _Bundle]] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._subscription: Subscription | None = None

    def __repr__(self) -> str:
        return f"<QueueConsumer {self.queue} free={self._free}/{self._concurrency} backlog={len(self._backlog)}>"

    @property
    def consuming(self) -> bool:
        """Whether deliveries can arrive now."""
        return self._subscription is not None and self._subscription.consuming

    async def run(self) -> None:
        """Consume until `stop`."""
        self._subscription = await self._broker.subscribe(
            self.queue, prefetch=self._concurrency, on_delivery=self._on_delivery
        )
        if self._stopping:
            await self._subscription.close()
        while not self._stopping:
            await self._work_comes()
            while self._backlog and self._free and self._has_room() and not self._stopping:
                await self._claim_some()
            if self._is_hoarding():
                await self._relieve()
        self._stopped.set()

    async def stop(self) -> None:
        """Take nothing more. What was delivered and not claimed goes back to the broker when it is closed."""
        self._stopping = True
        self._backlog.clear()
        self._wake.set()
        if self._subscription is not None:
            await self._subscription.close()
        with suppress(TimeoutError):  # a claim is in flight, and PostgreSQL is away: what it took is rescued
            async with asyncio.timeout(_CLAIM_AT_STOP_S):
                await self._stopped.wait()

    async def drain(self) -> None:
        """Take nothing more, and hand back what was delivered and not claimed: the broker stays open.

        Returns when that is done, which is never while PostgreSQL is away.
        """
        self._stopping = True
        self._wake.set()
        if self._subscription is not None:
            await self._subscription.close()
        await self._stopped.wait()
        await self._hand_back()

    async def _work_comes(self) -> None:
        """Return when there may be something to do, after some seconds at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HOARDED_S):
                await self._wake.wait()
        self._wake.clear()

    # What others could do ...........................................................

    def _is_hoarding(self) -> bool:
        """Whether tasks that are in hand have waited in vain for a slot: they came as short ones, and are not."""
        stuck_s = asyncio.get_running_loop().time() - self._moved_at
        return bool(self._backlog) and not self._free and not self._stopping and stuck_s >= _HOARDED_S

    async def _relieve(self) -> None:
        try:
            log.info("backlog_handed_back", queue=self.queue, count=len(self._backlog))
            await self._hand_back()
        except Exception:
            log.exception("backlog_not_handed_back", queue=self.queue)

    async def _hand_back(self) -> None:
        """Ring afresh for what was delivered and not claimed, so that any worker may take it."""
        backlog, self._backlog = list(self._backlog), deque()
        due = [entry for entry, _ in backlog]
        if due:
            # Through the outbox, not by nack: that would count towards the delivery limit.
            await self._store.database.persist(lambda: self._store.outbox.ring_queued(due))
        for _, bundle in backlog:
            bundle.settle_one()

    # The way of a delivery ..........................................................

    def _on_delivery(self, delivery: Delivery) -> None:
        if self._stopping:
            return
        try:
            bundle_of = decode(delivery.body)
        except MalformedMessageError as error:
            log.warning("malformed_message_rejected", queue=self.queue, reason=str(error))
            delivery.reject()
            return
        bundle = _Bundle(delivery, len(bundle_of))
        self._backlog.extend((due, bundle) for due in bundle_of)
        self._wake.set()

    async def _claim_some(self) -> None:
        taken = self._take(self._free)
        if not taken:
            return
        try:
            claimed = await self._claim(list(taken))
            self._news.offer(claimed, within_s=_START_TOLD_WITHIN_S)
            for task in claimed:
                self._start(task, taken.pop(Due(task.id, task.attempt)))
            await self._dismiss(taken)
        except Exception:
            log.exception("claim_failed", queue=self.queue, count=len(taken))
            self._backlog.extendleft(taken.items())
            await asyncio.sleep(1)

    def _take(self, limit: int) -> dict[Due, _Bundle]:
        """The next attempts to claim. A copy of one that is at hand or runs here is done with at once."""
        taken: dict[Due, _Bundle] = {}
        while self._backlog and len(taken) < limit:
            due, bundle = self._backlog.popleft()
            if due in taken or self._executor.is_running(*due):
                metrics.DUPLICATES.inc()
                bundle.settle_one()
            else:
                taken[due] = bundle
        return taken

    async def _claim(self, due: Sequence[Due]) -> list[TaskRecord]:
        return await self._store.database.persist(
            lambda: self._store.lifecycle.claim(due, worker=self._worker_id, types=self._types)
        )

    def _start(self, task: TaskRecord, bundle: _Bundle) -> None:
        self._free -= 1
        self._moved_at = asyncio.get_running_loop().time()
        self._executor.start(
            Running(
                task=task,
                type=self._registry.get(task.type),
                timeout_s=task.timeout_s or self._default_timeout_s,
                on_settled=partial(self._on_settled, bundle),
                on_free=self._on_free,
            )
        )

    def _on_free(self) -> None:
        self._free += 1
        self._wake.set()

    def _on_settled(self, bundle: _Bundle) -> None:
        bundle.settle_one()
        self._wake.set()

    async def _dismiss(self, unclaimed: dict[Due, _Bundle]) -> None:
        """Done with what could not be claimed; types that only other workers know are rung for again later."""
        if not unclaimed:
            return
        due = list(unclaimed)
        postponed = await self._store.database.persist(lambda: self._store.outbox.postpone_unknown(due, self._types))
        if postponed:
            log.warning("unknown_types_postponed", queue=self.queue, count=postponed)
        metrics.DUPLICATES.inc(len(due) - postponed)
        for entry in due:
            unclaimed.pop(entry).settle_one()
