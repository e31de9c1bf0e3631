"""The broker inside one process, for the embedded mode and for tests. What it holds dies with the process."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared.broker.base import BrokerFacts, Delivery, Depth, Message, OnDelivery, QueueAtBroker
from shared.broker.topology import DELIVERY_LIMIT
from shared.domain.message import encode
from shared.errors import BrokerUnavailableError

log = structlog.get_logger(__name__)

_RANKS: Final = {"high": 0, "normal": 1}


@dataclass(order=True, slots=True)
class _Letter:
    # Compared by these two: one that comes back keeps its place in the line.
    rank: int
    number: int
    queue: str = field(compare=False)
    body: bytes = field(compare=False)
    reason: str = field(compare=False, default="")
    returns: int = field(compare=False, default=0)


class MemoryQueues:
    """The queues, apart from those who use them: what is given the same ones can talk.

    Args:
        delivery_limit: How often a message may come back unacked before it is a dead letter.
    """

    def __init__(self, *, delivery_limit: int = DELIVERY_LIMIT) -> None:
        self._delivery_limit = delivery_limit
        self._queues: dict[str, _Queue] = {}
        self._numbers = itertools.count()
        self.dead = _Queue()

    def queue(self, name: str) -> "_Queue":
        """The queue of that name; it exists from now on."""
        return self._queues.setdefault(name, _Queue())

    def depth(self, name: str) -> Depth:
        """What waits in a queue, which need not exist."""
        found = self._queues.get(name)
        return Depth(0, 0) if found is None else Depth(len(found.ready), len(found.consumers))

    def put(self, message: Message) -> None:
        """Append a message to its queue."""
        letter = _Letter(_RANKS[message.priority], next(self._numbers), message.queue, encode(message.bundle))
        self.queue(message.queue).put(letter)

    def put_back(self, letter: _Letter) -> None:
        """Return a letter that was not acked to its place, or to the dead if it came back too often."""
        letter.returns += 1
        if letter.reason:
            self.dead.put(letter)
        elif letter.returns > self._delivery_limit:
            self.bury(letter, "delivery_limit")
        else:
            self.queue(letter.queue).put(letter)

    def bury(self, letter: _Letter, reason: str) -> None:
        """Move a letter to the dead ones; one that is dead already is forgotten."""
        if not letter.reason:
            letter.reason = reason
            letter.number = next(self._numbers)
            self.dead.put(letter)


class _Queue:
    def __init__(self) -> None:
        self.ready: list[_Letter] = []
        self.consumers: deque[MemorySubscription] = deque()

    def put(self, letter: _Letter) -> None:
        heapq.heappush(self.ready, letter)
        self.deliver()

    def deliver(self) -> None:
        """Hand out what is ready to those who may have it, taking turns."""
        while self.ready and (consumer := self._next_consumer()) is not None:
            consumer.take(heapq.heappop(self.ready))

    def _next_consumer(self) -> "MemorySubscription | None":
        for _ in range(len(self.consumers)):
            self.consumers.rotate(-1)
            if self.consumers[-1].has_room:
                return self.consumers[-1]
        return None


class _MemoryDelivery:
    def __init__(self, letter: _Letter, subscription: "MemorySubscription") -> None:
        self.letter = letter
        self.body = letter.body
        self.queue = letter.queue
        self.reason = letter.reason
        self._subscription = subscription

    def ack(self) -> None:
        self._subscription.settle(self)

    def reject(self) -> None:
        if self._subscription.settle(self):
            self._subscription.queues.bury(self.letter, "rejected")


class MemorySubscription:
    """Takes from one queue until it is closed."""

    def __init__(self, queues: MemoryQueues, queue: _Queue, *, prefetch: int, on_delivery: OnDelivery) -> None:
        self.queues = queues
        self._queue = queue
        self._prefetch = prefetch
        self._on_delivery = on_delivery
        self._in_hand: set[_MemoryDelivery] = set()
        queue.consumers.append(self)
        queue.deliver()

    @property
    def consuming(self) -> bool:
        """Whether it has not been closed."""
        return self in self._queue.consumers

    @property
    def has_room(self) -> bool:
        """Whether less than `prefetch` is unacked."""
        return len(self._in_hand) < self._prefetch

    async def close(self) -> None:
        """Take nothing more."""
        if self.consuming:
            self._queue.consumers.remove(self)

    def take(self, letter: _Letter) -> None:
        """Have a letter delivered soon: never within the call that made it ready, as no real broker would."""
        delivery = _MemoryDelivery(letter, self)
        self._in_hand.add(delivery)
        asyncio.get_running_loop().call_soon(self._hand_over, delivery)

    def settle(self, delivery: _MemoryDelivery) -> bool:
        """Whether the delivery was still in hand; it no longer is, and makes room for another."""
        if delivery not in self._in_hand:
            return False
        self._in_hand.remove(delivery)
        self._queue.deliver()
        return True

    def put_back(self) -> None:
        """Return all that is in hand."""
        returned, self._in_hand = self._in_hand, set()
        for delivery in returned:
            self.queues.put_back(delivery.letter)

    def _hand_over(self, delivery: _MemoryDelivery) -> None:
        if delivery not in self._in_hand:
            return
        if not self.consuming:
            self._in_hand.remove(delivery)
            self._queue.put(delivery.letter)
            return
        handed_over: Delivery = delivery
        try:
            self._on_delivery(handed_over)
        except Exception:
            log.exception("delivery_callback_failed", queue=delivery.queue)
            delivery.reject()


class MemoryBroker:
    """A broker without a server.

    Args:
        queues: Those of another MemoryBroker, to reach each other; by default its own.
    """

    def __init__(self, queues: MemoryQueues | None = None) -> None:
        self.queues = queues or MemoryQueues()
        self._subscriptions: list[MemorySubscription] = []
        self._closed = False

    async def open(self, queues: Sequence[str] = ()) -> None:
        """Make the queues."""
        for name in queues:
            self.queues.queue(name)

    async def close(self) -> None:
        """End the subscriptions; what was not acked goes back to its queue."""
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.close()
        for subscription in self._subscriptions:
            subscription.put_back()
        self._subscriptions.clear()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Put messages into their queues; all are confirmed, unless this end is closed."""
        if not self._closed:
            for message in messages:
                self.queues.put(message)
        return [not self._closed] * len(messages)

    async def subscribe(self, queue: str, *, prefetch: int, on_delivery: OnDelivery) -> MemorySubscription:
        """Deliver messages of `queue`."""
        return self._subscribe(self.queues.queue(queue), prefetch, on_delivery)

    async def subscribe_dead(self, *, prefetch: int, on_delivery: OnDelivery) -> MemorySubscription:
        """Deliver the dead letters of all queues."""
        return self._subscribe(self.queues.dead, prefetch, on_delivery)

    async def depth(self, queue: str) -> Depth:
        """What waits in `queue`."""
        await self.ping()
        return self.queues.depth(queue)

    async def honours_priority(self) -> bool:
        """Yes, unless this end is closed."""
        await self.ping()
        return True

    async def ping(self) -> None:
        """Return, unless this end is closed."""
        if self._closed:
            raise BrokerUnavailableError("it was closed")

    async def inspect(self, queues: Sequence[str]) -> BrokerFacts:
        """Look at these queues."""
        await self.ping()
        depths = {name: self.queues.depth(name) for name in queues}
        return BrokerFacts(
            product="in-process",
            queues=[
                QueueAtBroker(name=name, exists=True, ready=depth.ready, consumers=depth.consumers)
                for name, depth in depths.items()
            ],
        )

    def _subscribe(self, queue: _Queue, prefetch: int, on_delivery: OnDelivery) -> MemorySubscription:
        subscription = MemorySubscription(self.queues, queue, prefetch=prefetch, on_delivery=on_delivery)
        self._subscriptions.append(subscription)
        return subscription
