"""What Taskmill asks of a broker. It may lose everything; PostgreSQL is the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.message import Due


@dataclass(frozen=True, slots=True)
class Message:
    """Rings for a bundle of tasks of one queue and priority (`normal` or `high`)."""

    queue: str
    priority: str
    bundle: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Depth:
    """What the broker knows of a queue: messages ready for delivery, and consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAtBroker:
    """What the broker knows of one task queue. `mismatch`: why its arguments are not ours, or None."""

    name: str
    exists: bool
    ready: int = 0
    consumers: int = 0
    mismatch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """What a broker is and how it does.

    Attributes:
        product: `RabbitMQ`, or `in-process`.
        version: As it says itself; empty for what is part of this process.
        queue_type: That queues are declared with; empty where there is no choice.
        takes_messages: Whether a message was confirmed just now: it isn't while memory or disk run short.
    """

    product: str
    version: str = ""
    queue_type: str = ""
    takes_messages: bool = True
    queues: Sequence[QueueAtBroker] = ()


class Delivery(Protocol):
    """A message in a consumer's hands, the broker's until it is acked or rejected.

    Both calls are safe when the channel that brought the delivery is gone: they do nothing, the broker
    delivers the message again and the claim decides.
    """

    body: bytes
    queue: str
    #: Why the message died, on the dead-letter queue: `rejected` or `delivery_limit`; else empty.
    reason: str

    def ack(self) -> None:
        """Done with: the broker may forget it. Returns at once; acks are sent in the background, in batches."""

    def reject(self) -> None:
        """Not for us: send it to the dead letters. Returns at once."""


#: Called on the event loop, in the order of arrival. What it raises is logged, and the delivery rejected.
OnDelivery = Callable[[Delivery], None]


class Subscription(Protocol):
    """A consumer that repairs itself: it comes back after a lost connection, a deleted queue, a cancel.

    When it does, what was in hand is delivered again, so that for a while more than `prefetch` may be.
    """

    @property
    def consuming(self) -> bool:
        """Whether deliveries can arrive now: connected is not enough."""

    async def close(self) -> None:
        """Take no more deliveries. Those in hand may still be acked until the broker is closed."""


class Broker(Protocol):
    """Publishes and delivers. Opened once per process, closed at its end."""

    async def open(self, queues: Sequence[str] = ()) -> None:
        """Connect and declare the topology, with these task queues.

        Raises:
            BrokerUnavailableError: The broker can't be reached now; the broker object keeps trying by itself.
            TopologyMismatchError: Something exists there with other arguments.
        """

    async def close(self) -> None:
        """Disconnect. Deliveries that were not acked go back to their queue."""

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Send messages, many in flight, and wait for the broker's word on each.

        Queues that don't exist are declared first. Never raises for a broker that is away or blocked: within
        a bounded time each message is reported as confirmed (True) or not (False: it may still have arrived).
        """

    async def subscribe(self, queue: str, *, prefetch: int, on_delivery: OnDelivery) -> Subscription:
        """Deliver messages of `queue`, at most `prefetch` unacked at a time, high priority first if it can.

        Returns at once, even while the broker is away: the subscription keeps trying.
        """

    async def subscribe_dead(self, *, prefetch: int, on_delivery: OnDelivery) -> Subscription:
        """Deliver what was rejected or delivered too often, from all queues."""

    async def depth(self, queue: str) -> Depth:
        """What waits at the broker for `queue`; (0, 0) where it doesn't exist.

        Raises:
            BrokerUnavailableError: The broker can't be reached.
        """

    async def honours_priority(self) -> bool:
        """Whether `high` is delivered before `normal`.

        Raises:
            BrokerUnavailableError: The broker can't be reached, and so its version is not known.
        """

    async def ping(self) -> None:
        """Return when the broker has answered.

        Raises:
            BrokerUnavailableError: It did not.
        """

    async def inspect(self, queues: Sequence[str]) -> BrokerFacts:
        """Look at the broker and at these queues, without changing anything.

        Raises:
            BrokerUnavailableError: The broker can't be reached.
        """
