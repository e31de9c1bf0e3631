"""Makes the topology exist at RabbitMQ."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiormq import ChannelPreconditionFailed
from aiormq.abc import AbstractChannel

from shared.broker.topology import DEAD_LETTERS, QueueSpec, QueueType, dead_letter_queue, task_queue
from shared.errors import TopologyMismatchError


async def declare_dead_letters(channel: AbstractChannel, queue_type: QueueType) -> None:
    """Make exchange and queue of the dead letters.

    Raises:
        TopologyMismatchError: One of them exists with other arguments; the channel is closed.
    """
    with _mismatch_of(DEAD_LETTERS):
        await channel.exchange_declare(DEAD_LETTERS, exchange_type="fanout", durable=True)
    await _declare(channel, dead_letter_queue(queue_type))
    await channel.queue_bind(DEAD_LETTERS, DEAD_LETTERS)


async def declare_task_queue(channel: AbstractChannel, queue: str, queue_type: QueueType) -> None:
    """Make a task queue. The dead letters come first: a broker that was wiped has lost them too.

    Raises:
        TopologyMismatchError: Something exists with other arguments; the channel is closed.
    """
    await declare_dead_letters(channel, queue_type)
    await _declare(channel, task_queue(queue, queue_type))


async def _declare(channel: AbstractChannel, spec: QueueSpec) -> None:
    with _mismatch_of(spec.name):
        await channel.queue_declare(spec.name, durable=True, arguments=dict(spec.arguments))


@contextmanager
def _mismatch_of(name: str) -> Iterator[None]:
    try:
        yield
    except ChannelPreconditionFailed as error:
        raise TopologyMismatchError(name, error) from error
