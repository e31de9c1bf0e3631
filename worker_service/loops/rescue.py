"""Takes the running tasks of workers that are lost."""

from typing import Any, Final

import structlog

from shared.store.lifecycle import Lifecycle
from shared.store.rows import Moved
from worker_service.loops.moving import MovingLoop

log = structlog.get_logger(__name__)

_LIMIT: Final = 500


class Rescue(MovingLoop):
    """The attempt is spent: a task that kills its worker must not do so for ever."""

    def __init__(self, lifecycle: Lifecycle, worker_id: str, *, interval_s: float = 1.0, **moving: Any) -> None:
        super().__init__(interval_s=interval_s, **moving)
        self._lifecycle = lifecycle
        self._worker_id = worker_id

    async def move(self) -> Moved:
        """Queue again, or fail, what ran on lost workers."""
        moved = await self._lifecycle.rescue(_LIMIT, rescuer=self._worker_id)
        for task in moved.tasks:
            log.warning("task_rescued", task_id=str(task.id), attempt=task.attempt, status=task.status)
        return moved
