"""Ends waiting tasks that were not started in time."""

from typing import Any, Final

from shared.store.lifecycle import Lifecycle
from shared.store.rows import Moved
from worker_service.loops.moving import MovingLoop

_LIMIT: Final = 1_000


class Expire(MovingLoop):
    """The claim refuses a task past its `expires_at`; this loop gives it its status."""

    def __init__(self, lifecycle: Lifecycle, *, interval_s: float = 1.0, **moving: Any) -> None:
        super().__init__(interval_s=interval_s, **moving)
        self._lifecycle = lifecycle

    async def move(self) -> Moved:
        """Expire what is late."""
        return await self._lifecycle.expire(_LIMIT)
