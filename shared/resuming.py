"""The second half of resuming a queue: a doorbell for each task that was queued while the queue was paused."""

from collections.abc import Callable
from typing import Final

from shared.publisher import Publisher
from shared.store.queues import Resumed
from shared.store.store import Store

#: Tasks that one statement rings for.
_CHUNK: Final = 5_000


async def ring_resumed(
    store: Store, publisher: Publisher, resumed: Resumed, *, until: Callable[[], bool] = lambda: False
) -> int:
    """Ring for all queued tasks of a queue that was resumed, in chunks, and note that it is done.

    While a queue is paused, workers refuse its tasks and ack the messages, so nobody would ring again by himself.
    The end of the pause must be committed before the first doorbell: a message that came earlier could be refused
    by a claim that still sees the pause, and be lost. In this order every refused task is still queued when its
    chunk is read. Who dies half-way leaves `resumed_at` behind, and the reconcile loop of any worker rings anew.

    Args:
        store: What is stored.
        publisher: Takes the doorbells.
        resumed: What `Queues.resume` or `Queues.resumed` returned.
        until: Asked after each chunk; what is left when it says yes is left to the reconcile loop.

    Returns:
        How many doorbells there were.
    """
    rung, after = 0, None
    while rings := await store.outbox.ring_all(resumed.queue, after=after, limit=_CHUNK):
        publisher.offer(rings)
        rung += len(rings)
        after = max(ring.task_id for ring in rings)
        if until():
            return rung
    await store.queues.rung(resumed)
    return rung
