"""The broker on RabbitMQ, 3.10 to 4.3."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiormq import ChannelNotFoundEntity

from shared.broker.base import BrokerFacts, Depth, Message, OnDelivery
from shared.broker.rabbitmq_consumer import RabbitSubscription
from shared.broker.rabbitmq_inspection import inspect
from shared.broker.rabbitmq_link import Link, version
from shared.broker.rabbitmq_publisher import ConfirmingPublisher
from shared.broker.rabbitmq_topology import declare_dead_letters, declare_task_queue
from shared.broker.topology import QueueType, honours_priority, queue_name

_PUBLISH_TIMEOUT_S: Final = 5.0
_WATCHDOG_S: Final = 5.0


class RabbitBroker:
    """One connection publishes, another does everything else: the broker may stop reading from the first.

    Args:
        url: `amqp://user:password@host:port/vhost`, or `amqps`.
        queue_type: Of the queues that it declares.
        publish_timeout_s: The longest that a call of `publish` takes.
        watchdog_s: Seconds between two looks whether a subscription is deaf.
    """

    def __init__(
        self,
        url: str,
        *,
        queue_type: QueueType = "quorum",
        publish_timeout_s: float = _PUBLISH_TIMEOUT_S,
        watchdog_s: float = _WATCHDOG_S,
    ) -> None:
        self._url = url
        self._link = Link(url, name="taskmill")
        self._publishing_link = Link(url, name="taskmill publisher")
        self._publisher = ConfirmingPublisher(
            self._publishing_link, queue_type=queue_type, timeout_s=publish_timeout_s
        )
        self._queue_type: QueueType = queue_type
        self._watchdog_s = watchdog_s
        self._subscriptions: list[RabbitSubscription] = []

    def __repr__(self) -> str:
        return f"<RabbitBroker {self._link} subscriptions={self._subscriptions}>"

    async def open(self, queues: Sequence[str] = ()) -> None:
        """Connect and declare the dead letters and these task queues.

        Raises:
            BrokerUnavailableError: The broker can't be reached now; the connections keep trying by themselves.
            TopologyMismatchError: Something exists there with other arguments.
        """
        async with self._link.brief_channel() as channel:
            await declare_dead_letters(channel, self._queue_type)
            for queue in queues:
                await declare_task_queue(channel, queue, self._queue_type)
        await self._publishing_link.connection()

    async def close(self) -> None:
        """Send the acks that are due and disconnect, within a second or so; the rest is delivered again."""
        await asyncio.gather(*(subscription.end() for subscription in self._subscriptions))
        self._subscriptions.clear()
        await asyncio.gather(self._link.close(), self._publishing_link.close())

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Send messages and wait for the confirms; False at once for all while the broker is away."""
        return await self._publisher.publish(messages)

    async def subscribe(self, queue: str, *, prefetch: int, on_delivery: OnDelivery) -> RabbitSubscription:
        """Deliver messages of `queue`."""
        return self._subscribe(queue, prefetch, on_delivery)

    async def subscribe_dead(self, *, prefetch: int, on_delivery: OnDelivery) -> RabbitSubscription:
        """Deliver the dead letters of all queues."""
        return self._subscribe(None, prefetch, on_delivery)

    async def depth(self, queue: str) -> Depth:
        """What waits for `queue`; (0, 0) where it doesn't exist.

        Raises:
            BrokerUnavailableError: The broker can't be reached.
        """
        async with self._link.brief_channel() as channel:
            try:
                found = await channel.queue_declare(queue_name(queue), passive=True)
            except ChannelNotFoundEntity:
                return Depth(ready=0, consumers=0)
            return Depth(ready=found.message_count or 0, consumers=found.consumer_count or 0)

    async def honours_priority(self) -> bool:
        """Whether queues of this type do so on a broker of that version.

        Raises:
            BrokerUnavailableError: The broker can't be reached.
        """
        return honours_priority(self._queue_type, version(await self._link.connection()))

    async def ping(self) -> None:
        """Return when the broker has opened a channel.

        Raises:
            BrokerUnavailableError: It did not.
        """
        async with self._link.brief_channel():
            pass

    async def inspect(self, queues: Sequence[str]) -> BrokerFacts:
        """Look at the broker and at these queues, over a connection of its own.

        Raises:
            BrokerUnavailableError: The broker can't be reached.
        """
        return await inspect(self._url, self._queue_type, queues)

    def _subscribe(self, queue: str | None, prefetch: int, on_delivery: OnDelivery) -> RabbitSubscription:
        subscription = RabbitSubscription(
            self._link,
            queue,
            queue_type=self._queue_type,
            prefetch=prefetch,
            on_delivery=on_delivery,
            watchdog_s=self._watchdog_s,
        )
        self._subscriptions.append(subscription)
        return subscription
