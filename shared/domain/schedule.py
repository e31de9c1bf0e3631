"""A schedule as it is stored, and what is to be done about its ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from shared.domain.cron import Cron, Every, Rhythm, last_tick, ticks_after
from shared.domain.task import NewTask

#: A tick that is noticed this late is still in time for a schedule that skips what it has missed: a worker has been
#: replaced, or PostgreSQL restarted.
GRACE: Final = timedelta(seconds=30)
#: Ticks that are noticed this late are not missed at all: rounds come when they come.
PROMPT: Final = timedelta(seconds=1.5)
#: Ticks of one schedule are not closer than this.
SHORTEST_STEP: Final = timedelta(seconds=1)
#: Missed ticks of one schedule that are made up for in one round.
MAX_MADE_UP: Final = 50


class CatchUp(StrEnum):
    """What becomes of ticks that nobody was there for. The values are stored and sent to clients."""

    SKIP = "skip"
    ONE = "one"  # one run for all of them
    ALL = "all"  # one run for each, the oldest first


class Overlap(StrEnum):
    """Whether a schedule runs while its last task is not final. The values are stored and sent to clients."""

    ALLOW = "allow"
    SKIP = "skip"


class RunOutcome(StrEnum):
    """What was done about a tick. The values are stored and sent to clients."""

    SUBMITTED = "submitted"
    MANUAL = "manual"  # submitted because a person asked for it, at another time than a tick
    SKIPPED = "skipped"  # it would have overlapped
    MISSED = "missed"  # too late by the time it was noticed
    REFUSED = "refused"  # the task would not have been accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDefinition:
    """What a person says about a schedule. `payload` is JSON text; one of `cron` and `every_s` is None."""

    name: str
    cron: str | None = None
    every_s: float | None = None
    timezone: str = "UTC"
    type: str
    payload: str = "{}"
    queue: str | None = None
    catch_up: str = CatchUp.SKIP
    overlap: str = Overlap.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(ScheduleDefinition):
    """One row of `schedules`."""

    paused: bool
    built_in: bool
    created_at: datetime
    updated_at: datetime
    next_run_at: datetime | None
    last_task_id: UUID | None
    version: int

    def rhythm(self) -> Rhythm:
        """Its ticks.

        Raises:
            RhythmError: They can't be known here, for lack of the time zone for one.
        """
        return rhythm_of(self, self.created_at)


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One row of `schedule_runs`, and the status of its task as it is now; None where there is none, or no longer."""

    schedule: str
    tick: datetime
    outcome: str
    reason: str | None
    task_id: UUID | None
    ran_at: datetime
    status: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """What a round is to do about a schedule.

    Attributes:
        ticks: Those to run, the oldest first.
        missed: The first of those that are passed over for good; None if there are none.
        following: The next tick to look at.
    """

    ticks: list[datetime]
    missed: datetime | None
    following: datetime | None


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What is to be done about one tick; `reason` says why there is no task."""

    tick: datetime
    outcome: RunOutcome
    task: NewTask | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be done about one schedule; `next_run_at` is None where it never ticks again."""

    schedule: str
    runs: Sequence[PlannedRun]
    next_run_at: datetime | None


def rhythm_of(definition: ScheduleDefinition, anchor: datetime) -> Rhythm:
    """The ticks that a definition stands for; `anchor` is when the schedule was created.

    Raises:
        RhythmError: It stands for none.
    """
    if definition.cron is not None:
        return Cron(definition.cron, definition.timezone)
    assert definition.every_s is not None
    return Every(definition.every_s, anchor)


def due(rhythm: Rhythm, *, first: datetime, now: datetime, catch_up: str) -> Due:
    """Decide which ticks to run.

    Args:
        rhythm: The ticks.
        first: The first tick that nobody has dealt with; not later than `now`.
        now: PostgreSQL's time.
        catch_up: What becomes of the ticks that are late. Of those that are in time `skip` runs all if they are
            prompt, else the last one.
    """
    if catch_up == CatchUp.ALL:
        ticks = [first, *(tick for tick in ticks_after(rhythm, first, MAX_MADE_UP - 1) if tick <= now)]
        return Due(ticks, None, rhythm.after(ticks[-1]))
    last = last_tick(rhythm, first, now)
    if catch_up == CatchUp.ONE:
        return Due([last], None, rhythm.after(last))
    ticks = [tick for tick in _prompt(rhythm, first, now) if tick <= now] or [last] * (now - last <= GRACE)
    missed = None if first in ticks else first
    return Due(ticks, missed, rhythm.after(last))


def _prompt(rhythm: Rhythm, first: datetime, now: datetime) -> list[datetime]:
    since = max(first, now - PROMPT)
    return ticks_after(rhythm, since - timedelta(microseconds=1), math.ceil(PROMPT / SHORTEST_STEP))
