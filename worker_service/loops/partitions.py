"""Makes partitions of the tasks before there are tasks for them."""

import structlog

from shared.domain.partition import width
from shared.errors import PartitionsBusyError
from shared.store.partitions import Partitions as PartitionStore
from worker_service.loops.base import PeriodicLoop

log = structlog.get_logger(__name__)


class Partitions(PeriodicLoop):
    """Cuts the last partition, which takes whatever comes, days before anything does.

    Args:
        retention_days: For how long final tasks are kept: it says how much time one partition holds.
    """

    def __init__(self, partitions: PartitionStore, *, retention_days: float, interval_s: float = 600.0) -> None:
        super().__init__(interval_s=interval_s)
        self._partitions = partitions
        self._width = width(retention_days)

    async def run_once(self) -> int:
        """Make the next partition if it is time. Returns how many were made."""
        try:
            made = await self._partitions.extend(width=self._width)
        except PartitionsBusyError as error:  # there are days left for it
            log.info("partition_postponed", reason=str(error))
            return 0
        if made is None:
            return 0
        log.info("partition_made", partition=made.name)
        return 1
