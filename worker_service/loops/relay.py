"""Rings doorbells that were not rung in time."""

from typing import Final

from shared.publisher import Publisher
from shared.store.outbox import Outbox
from worker_service.loops.base import PeriodicLoop

_LIMIT: Final = 1_000


class Relay(PeriodicLoop):
    """Drains the outbox: after the broker was away, after a process died between commit and publish."""

    def __init__(self, outbox: Outbox, publisher: Publisher, *, interval_s: float = 1.0) -> None:
        super().__init__(interval_s=interval_s)
        self._outbox = outbox
        self._publisher = publisher

    async def run_once(self) -> int:
        """Publish a chunk that no other relay holds; delete what the broker confirmed. Returns how many."""
        async with self._outbox.take_due(_LIMIT) as batch:
            if not batch.rings:
                return 0
            confirmed = await self._publisher.publish(batch.rings)
            await batch.rung(confirmed)
        return len(confirmed)
