"""Forgetting what is old: the statements that the retention loop and `maintenance.cleanup` share."""

from dataclasses import dataclass, replace
from typing import Final

import structlog

from shared.artifacts import ArtifactStore
from shared.errors import ArtifactsUnavailableError
from shared.store.retiring import Cleared
from shared.store.store import Store

log = structlog.get_logger(__name__)

#: What one round takes of each kind at most, so that no lock is long. Tasks may go by whole partitions besides.
LIMIT: Final = 1_000
#: Seconds after its last heartbeat that a lost worker is still shown.
_LOST_WORKERS_S: Final = 3600.0
#: Days that the audit trail is kept at the least.
_AUDIT_DAYS: Final = 90.0
#: Runs of each schedule that are kept however old they are.
_KEPT_RUNS: Final = 20


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many of each kind are no more."""

    tasks: int
    uploads: int
    unreadable_messages: int
    schedule_runs: int
    audit_entries: int
    lost_workers: int
    may_be_more: bool


async def forget_old(store: Store, artifacts: ArtifactStore, *, days: float) -> Forgotten:
    """Delete some of what is older than `days`: final tasks with their files, uploads, unreadable messages, runs.

    Of each schedule the last runs are kept whatever their age. The audit trail is kept for 90 days, or for as long
    as the rest where that is longer: what it speaks of is still there. Lost workers go after an hour.
    """
    whole = await _forget_whole(store, artifacts, days=days)
    single = await store.tasks.forget(older_than_days=days, limit=LIMIT)
    await _delete(artifacts, single.artifact_keys)
    uploads = await store.artifacts.forget_uploads(older_than_days=days, limit=LIMIT)
    await _delete(artifacts, [upload.key for upload in uploads])
    runs = await store.schedule_runs.forget(older_than_days=days, keep=_KEPT_RUNS, limit=LIMIT)
    audit = await store.audit.forget(older_than_days=max(_AUDIT_DAYS, days), limit=LIMIT)
    return Forgotten(
        tasks=whole.tasks + single.tasks,
        uploads=len(uploads),
        unreadable_messages=await store.dead_letters.forget_unreadable(older_than_days=days),
        schedule_runs=runs,
        audit_entries=audit,
        lost_workers=await store.workers.forget_lost(older_than_s=_LOST_WORKERS_S),
        may_be_more=whole.may_be_more or LIMIT in (single.tasks, len(uploads), runs, audit),
    )


async def _forget_whole(store: Store, artifacts: ArtifactStore, *, days: float) -> Cleared:
    retired = await store.retiring.retire(older_than_days=days)
    if retired is not None:
        log.info("partition_retired", partition=retired.name)
    cleared = await store.retiring.clear()
    if cleared is None:
        return Cleared(0, [], may_be_more=False)
    await _delete(artifacts, cleared.artifact_keys)
    # The next oldest may be old enough as well.
    return replace(cleared, may_be_more=cleared.may_be_more or retired is not None)


async def _delete(artifacts: ArtifactStore, keys: list[str]) -> None:
    if not keys:
        return
    try:
        await artifacts.delete(keys)
    except ArtifactsUnavailableError as error:  # their records are gone: the sweep will find them
        log.warning("files_left_to_the_sweep", count=len(keys), reason=str(error))
