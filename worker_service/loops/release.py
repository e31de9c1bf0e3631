"""Queues scheduled and retrying tasks when their time has come."""

from typing import Any, Final

from shared.store.lifecycle import Lifecycle
from shared.store.rows import Moved
from worker_service.loops.moving import MovingLoop

_LIMIT: Final = 1_000


class Release(MovingLoop):
    """A delayed task sits in nobody's memory and in no broker timer: it is a row with `run_at`."""

    def __init__(self, lifecycle: Lifecycle, *, interval_s: float = 0.5, **moving: Any) -> None:
        super().__init__(interval_s=interval_s, **moving)
        self._lifecycle = lifecycle

    async def move(self) -> Moved:
        """Queue what is due."""
        return await self._lifecycle.release(_LIMIT)
