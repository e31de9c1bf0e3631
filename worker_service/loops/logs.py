"""Publishes what handlers have said, about four times a second."""

from worker_service.loops.base import PeriodicLoop
from worker_service.task_log import TaskLogs


class TellLogs(PeriodicLoop):
    """One write for the lines of all attempts."""

    def __init__(self, logs: TaskLogs, *, interval_s: float = 0.3) -> None:
        super().__init__(interval_s=interval_s)
        self._logs = logs

    async def run_once(self) -> int:
        """Publish what waits. Returns 0, so that rounds stay apart."""
        await self._logs.tell()
        return 0
