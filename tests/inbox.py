"""What a subscriber of a broker gets, and messages to send."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from shared.broker.base import Broker, Delivery, Depth, Message, OnDelivery, Subscription
from shared.domain.message import Due, decode
from tests.listening import PATIENCE_S, until

_POLL_S = 0.02


def message(number: int = 1, *, queue: str = "default", priority: str = "normal") -> Message:
    """A message that can be told from others by its number."""
    return Message(queue, priority, (Due(uuid4(), number),))


def number_of(delivery: Delivery) -> int:
    """What `message` was given."""
    return decode(delivery.body)[0].attempt


class Inbox:
    """Collects deliveries: pass `inbox.put` as `on_delivery`."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def put(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def numbers(self) -> list[int]:
        """Those of the messages that came, in their order."""
        return [number_of(delivery) for delivery in self.deliveries]

    async def has(self, count: int) -> list[Delivery]:
        """Wait for so many deliveries."""
        await until(lambda: len(self.deliveries) >= count)
        return self.deliveries

    def ack_all(self) -> None:
        for delivery in self.deliveries:
            delivery.ack()


async def subscribed(
    broker: Broker, on_delivery: OnDelivery, *, queue: str = "default", prefetch: int = 1
) -> Subscription:
    """A subscription that consumes already."""
    subscription = await broker.subscribe(queue, prefetch=prefetch, on_delivery=on_delivery)
    await until(lambda: subscription.consuming)
    return subscription


async def confirmed(broker: Broker, *messages: Message) -> None:
    """Publish until all messages are confirmed, as the relay does: some may arrive twice."""
    await _eventually(lambda: _all_confirmed(broker, messages))


async def has_depth(broker: Broker, queue: str, depth: Depth) -> None:
    """Wait until that much waits at the broker, which counts in its own time."""
    found = [Depth(-1, -1)]

    async def is_so() -> bool:
        found[0] = await broker.depth(queue)
        return found[0] == depth

    try:
        await _eventually(is_so)
    except TimeoutError:
        assert found[0] == depth


async def _all_confirmed(broker: Broker, messages: tuple[Message, ...]) -> bool:
    return all(await broker.publish(messages))


async def _eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await is_so():  # noqa: ASYNC110 - anything may be asked
            await asyncio.sleep(_POLL_S)
