"""Takes deliveries of one queue, claims their tasks as slots are free, and starts them."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
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
from shared.store.rows import id_from
from shared.store.store import Store
from shared.telemetry import metrics
from worker_service.executor import Executor
from worker_service.registry import Registry
from worker_service.running import Running

log = structlog.get_logger(__name__)

#: Seconds that a stopping consumer waits for the claims in flight.
_CLAIMS_AT_STOP_S: Final = 3.0
#: Claims in flight at one time: while PostgreSQL is busy with one, the tasks of the other run.
_CLAIMS: Final = 2
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
        self._delivered: deque[Delivery] = deque()
        self._backlog: deque[tuple[Due, _Bundle]] = deque()
        self._claimed: set[Due] = set()
        self._claims: set[asyncio.Task[None]] = set()
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
        try:
            while not self._stopping:
                await self._work_comes()
                while taken := self._take(self._room()):
                    self._claim_soon(taken)
                if self._is_hoarding():
                    await self._relieve()
            if self._claims:
                await asyncio.wait(self._claims)
        finally:
            for claim in self._claims:
                claim.cancel()
        self._stopped.set()

    async def stop(self) -> None:
        """Take nothing more. What was delivered and not claimed goes back to the broker when it is closed."""
        self._stopping = True
        self._delivered.clear()
        self._backlog.clear()
        self._wake.set()
        if self._subscription is not None:
            await self._subscription.close()
        with suppress(TimeoutError):  # claims are in flight, and PostgreSQL is away: what they take is rescued
            async with asyncio.timeout(_CLAIMS_AT_STOP_S):
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
        """Return when there may be something to do; after some seconds at the latest, where something is in hand."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HOARDED_S if self._has_in_hand() else None):
                await self._wake.wait()
        self._wake.clear()

    def _has_in_hand(self) -> bool:
        return bool(self._backlog or self._delivered)

    # What others could do ...........................................................

    def _is_hoarding(self) -> bool:
        """Whether tasks that are in hand have waited in vain for a slot: they came as short ones, and are not."""
        if self._stopping or self._free or self._claims or not self._has_in_hand():
            return False
        return asyncio.get_running_loop().time() - self._moved_at >= _HOARDED_S

    async def _relieve(self) -> None:
        try:
            log.info("backlog_handed_back", queue=self.queue, count=await self._hand_back())
        except Exception:
            log.exception("backlog_not_handed_back", queue=self.queue)

    async def _hand_back(self) -> int:
        """Ring afresh for what was delivered and not claimed, for any worker to take. Returns for how many."""
        self._read(math.inf)
        backlog, self._backlog = list(self._backlog), deque()
        due = [entry for entry, _ in backlog]
        if due:
            # Through the outbox, not by nack: that would count towards the delivery limit.
            await self._store.database.persist(lambda: self._store.outbox.ring_queued(due))
        for _, bundle in backlog:
            bundle.settle_one()
        return len(due)

    # The way of a delivery ..........................................................

    def _on_delivery(self, delivery: Delivery) -> None:
        if not self._stopping:
            self._delivered.append(delivery)
            self._wake.set()

    def _read(self, wanted: float) -> None:
        """Read deliveries until so many tasks are at hand. The others stay as they came, which takes less room."""
        while len(self._backlog) < wanted and self._delivered:
            delivery = self._delivered.popleft()
            try:
                bundle_of = decode(delivery.body, id_from)
            except MalformedMessageError as error:
                log.warning("malformed_message_rejected", queue=self.queue, reason=str(error))
                delivery.reject()
            else:
                bundle = _Bundle(delivery, len(bundle_of))
                self._backlog.extend((due, bundle) for due in bundle_of)

    def _room(self) -> int:
        """How many tasks may be claimed now."""
        if self._stopping or len(self._claims) == _CLAIMS or not self._has_room():
            return 0
        full = math.ceil(self._concurrency / _CLAIMS)
        self._read(full)
        if self._claims and min(self._free, len(self._backlog)) < full:
            return 0  # what comes meanwhile is claimed together: two small claims cost more than one
        return min(self._free, full)

    def _take(self, limit: int) -> dict[Due, _Bundle]:
        """The next attempts to claim. A copy of one that is at hand or runs here is done with at once."""
        taken: dict[Due, _Bundle] = {}
        while len(taken) < limit:
            self._read(1)
            if not self._backlog:
                break
            due, bundle = self._backlog.popleft()
            if due in taken or due in self._claimed or self._executor.is_running(*due):
                metrics.DUPLICATES.inc()
                bundle.settle_one()
            else:
                taken[due] = bundle
        return taken

    def _claim_soon(self, taken: dict[Due, _Bundle]) -> None:
        self._free -= len(taken)
        self._claimed |= taken.keys()
        claim = asyncio.create_task(self._claim(taken), name="claim")
        self._claims.add(claim)
        claim.add_done_callback(self._claim_ended)

    def _claim_ended(self, claim: asyncio.Task[None]) -> None:
        self._claims.discard(claim)
        self._wake.set()

    async def _claim(self, taken: dict[Due, _Bundle]) -> None:
        """Start what is still to be had of `taken`. Their slots are reserved."""
        due, started = list(taken), 0
        try:
            claimed = await self._store.database.persist(
                lambda: self._store.lifecycle.claim(due, worker=self._worker_id, types=self._types)
            )
            self._news.offer(claimed, within_s=_START_TOLD_WITHIN_S)
            for task in claimed:
                self._start(task, taken.pop(Due(task.id, task.attempt)))
                started += 1
            await self._dismiss(taken)
        except Exception:
            log.exception("claim_failed", queue=self.queue, count=len(taken))
            await asyncio.sleep(1)
            self._backlog.extendleft(taken.items())
        finally:
            self._free += len(due) - started
            self._claimed.difference_update(due)

    def _start(self, task: TaskRecord, bundle: _Bundle) -> None:
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
