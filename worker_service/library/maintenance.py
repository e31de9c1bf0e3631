"""Clearing up what nobody needs any more."""

from collections import Counter
from dataclasses import asdict

from pydantic import BaseModel, Field

from shared.domain.task_type import SYSTEM_QUEUE
from shared.errors import ArtifactsUnavailableError
from worker_service import TaskContext, task
from worker_service.forgetting import forget_old
from worker_service.orphans import sweep_orphans


class Age(BaseModel):
    """What counts as old."""

    older_than_days: float = Field(7, ge=0, le=36_600)


class Cleaned(BaseModel):
    """How many of each kind are no more."""

    tasks: int = 0
    uploads: int = 0
    unreadable_messages: int = 0
    schedule_runs: int = 0
    audit_entries: int = 0
    lost_workers: int = 0
    orphaned_files: int | None = Field(None, description="Files without a record; null: the store was not there")


@task("maintenance.cleanup", queue=SYSTEM_QUEUE, timeout=3600, example={"older_than_days": 7})
async def cleanup(payload: Age, ctx: TaskContext) -> Cleaned:
    """Delete final tasks of that age with their files, uploads, and old records of runs, workers and operators.

    It goes by the rules of RETENTION_DAYS, with an age of its own: what is not final or whose key is kept stays.
    """
    counts: Counter[str] = Counter()
    may_be_more = True
    while may_be_more:
        forgotten = await forget_old(ctx.system.store, ctx.system.artifacts, days=payload.older_than_days)
        counts.update({kind: number for kind, number in asdict(forgotten).items() if kind in Cleaned.model_fields})
        may_be_more = forgotten.may_be_more
        await ctx.progress(counts.total(), None, "deleting")
    return Cleaned(**counts, orphaned_files=await _sweep(ctx))


async def _sweep(ctx: TaskContext) -> int | None:
    try:
        return await sweep_orphans(ctx.system.artifacts, ctx.system.store)
    except ArtifactsUnavailableError as error:  # the next clean-up finds them
        ctx.log.warning("orphans_left", reason=str(error))
        return None
