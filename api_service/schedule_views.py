"""Schedules as answers show them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, Field

from api_service.services import Services
from shared import jsontext
from shared.domain.cron import ticks_after
from shared.domain.schedule import CatchUp, Overlap, RunOutcome, Schedule, ScheduleRun
from shared.domain.status import TaskStatus
from shared.errors import RhythmError

#: Runs that are shown of each schedule, those to come and those that were.
_NEXT_RUNS: Final = 5
_LAST_RUNS: Final = 10


class ScheduleRunView(BaseModel):
    """What was done about one tick."""

    tick: datetime = Field(description="The time it stands for; of a manual run, when it was asked for")
    outcome: RunOutcome
    reason: str | None = Field(description="Why there is no task")
    task_id: UUID | None
    status: TaskStatus | None = Field(description="The task's status now; null where there is none, or no longer")
    ran_at: datetime = Field(description="When it was dealt with")


class ScheduleView(BaseModel):
    """A schedule."""

    name: str
    cron: str | None
    every: float | None
    timezone: str
    type: str
    payload: Any
    queue: str | None
    catch_up: CatchUp
    overlap: Overlap
    paused: bool
    built_in: bool
    created_at: datetime
    updated_at: datetime
    next_run_at: datetime | None = Field(description="null while it is paused")
    next_runs: list[datetime] = Field(description="Empty while it is paused")
    last_runs: list[ScheduleRunView] = Field(description="The latest first")


class ScheduleRunAcceptedView(BaseModel):
    """A run that was asked for."""

    task_id: UUID
    schedule: str
    status: TaskStatus


async def view_of(services: Services, schedule: Schedule) -> ScheduleView:
    """The schedule with its next and last runs."""
    [view] = await views_of(services, [schedule])
    return view


async def views_of(services: Services, schedules: Sequence[Schedule]) -> list[ScheduleView]:
    """Each schedule with its next and last runs."""
    names = [schedule.name for schedule in schedules]
    runs = await services.store.schedule_runs.last_runs(names, limit=_LAST_RUNS)
    views: list[ScheduleView] = []
    for schedule in schedules:
        views.append(_view(schedule, runs[schedule.name]))
        await asyncio.sleep(0)  # a rare tick, like a leap day's, takes milliseconds to find
    return views


def _view(schedule: Schedule, runs: Sequence[ScheduleRun]) -> ScheduleView:
    next_runs = _next_runs(schedule)
    return ScheduleView(
        name=schedule.name,
        cron=schedule.cron,
        every=schedule.every_s,
        timezone=schedule.timezone,
        type=schedule.type,
        payload=jsontext.loads(schedule.payload),
        queue=schedule.queue,
        catch_up=CatchUp(schedule.catch_up),
        overlap=Overlap(schedule.overlap),
        paused=schedule.paused,
        built_in=schedule.built_in,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
        next_run_at=next_runs[0] if next_runs else None,
        next_runs=next_runs,
        last_runs=[_run_view(run) for run in runs],
    )


def _run_view(run: ScheduleRun) -> ScheduleRunView:
    return ScheduleRunView(
        tick=run.tick,
        outcome=RunOutcome(run.outcome),
        reason=run.reason,
        task_id=run.task_id,
        status=None if run.status is None else TaskStatus(run.status),
        ran_at=run.ran_at,
    )


def _next_runs(schedule: Schedule) -> list[datetime]:
    if schedule.paused or schedule.next_run_at is None:
        return []
    try:
        return [schedule.next_run_at, *ticks_after(schedule.rhythm(), schedule.next_run_at, _NEXT_RUNS - 1)]
    except RhythmError:  # a time zone that only the worker knows
        return [schedule.next_run_at]
