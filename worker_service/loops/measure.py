"""Shares what this worker has measured: how long attempts of each type run."""

from shared.pace import Pace
from worker_service.loops.base import PeriodicLoop


class Measure(PeriodicLoop):
    """One UPDATE for all types that have run here lately."""

    def __init__(self, pace: Pace, *, interval_s: float = 1.0) -> None:
        super().__init__(interval_s=interval_s)
        self._pace = pace

    async def run_once(self) -> int:
        """Share, and learn of the others. Returns 0: there is always something new, and no hurry."""
        await self._pace.share()
        await self._pace.refresh()
        return 0
