"""Forgets what is old: final tasks, unreadable messages, workers that are long gone, the audit trail."""

import structlog

from shared.artifacts import ArtifactStore
from shared.store.store import Store
from worker_service.forgetting import forget_old
from worker_service.loops.base import PeriodicLoop

log = structlog.get_logger(__name__)


class Retention(PeriodicLoop):
    """Deletes in small rounds, so that no lock is long; whole partitions of tasks where it can.

    Args:
        days: How long final tasks and what belongs to them are kept.
    """

    def __init__(self, store: Store, artifacts: ArtifactStore, *, days: float, interval_s: float = 60.0) -> None:
        super().__init__(interval_s=interval_s)
        self._store = store
        self._artifacts = artifacts
        self._days = days

    async def run_once(self) -> int:
        """Delete a partition or a thousand tasks with their files, and what else is old. Returns 0 if that is all."""
        forgotten = await forget_old(self._store, self._artifacts, days=self._days)
        if forgotten.tasks or forgotten.uploads:
            log.info("tasks_forgotten", count=forgotten.tasks, uploads=forgotten.uploads)
        return forgotten.tasks or int(forgotten.may_be_more)
