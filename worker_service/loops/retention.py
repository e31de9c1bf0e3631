"""Forgets what is old: final tasks, unreadable messages, workers that are long gone, the audit trail."""

from typing import Final

import structlog

from shared.artifacts import ArtifactStore
from shared.errors import ArtifactsUnavailableError
from shared.store.store import Store
from worker_service.loops.base import PeriodicLoop

log = structlog.get_logger(__name__)

_LIMIT: Final = 1_000
#: Seconds after its last heartbeat that a lost worker is still shown.
_LOST_WORKERS_S: Final = 3600.0
#: Days that the audit trail is kept at the least.
_AUDIT_DAYS: Final = 90.0


class Retention(PeriodicLoop):
    """Deletes in small rounds, so that no lock is long.

    Args:
        days: How long final tasks and unreadable messages are kept. The audit trail is kept for 90 days, or for
            as long as those where that is longer: what it speaks of is still there.
    """

    def __init__(self, store: Store, artifacts: ArtifactStore, *, days: float, interval_s: float = 60.0) -> None:
        super().__init__(interval_s=interval_s)
        self._store = store
        self._artifacts = artifacts
        self._days = days

    async def run_once(self) -> int:
        """Delete at most a thousand tasks with their files, and what else is old. Returns how many tasks."""
        forgotten = await self._store.tasks.forget(older_than_days=self._days, limit=_LIMIT)
        await self._delete(forgotten.artifact_keys)
        uploads = await self._store.artifacts.forget_uploads(older_than_days=self._days, limit=_LIMIT)
        await self._delete([upload.key for upload in uploads])
        await self._store.dead_letters.forget_unreadable(older_than_days=self._days)
        await self._store.audit.forget(older_than_days=max(_AUDIT_DAYS, self._days), limit=_LIMIT)
        await self._store.workers.forget_lost(older_than_s=_LOST_WORKERS_S)
        if forgotten.tasks or uploads:
            log.info("tasks_forgotten", count=forgotten.tasks, uploads=len(uploads))
        return forgotten.tasks

    async def _delete(self, keys: list[str]) -> None:
        if not keys:
            return
        try:
            await self._artifacts.delete(keys)
        except ArtifactsUnavailableError as error:  # their records are gone: the sweep will find them
            log.warning("files_left_to_the_sweep", count=len(keys), reason=str(error))
