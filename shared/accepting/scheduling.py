"""What a client may write about a schedule, and the tasks that come of it. Pure but for the ids of tasks."""

import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from shared import jsontext
from shared.accepting.catalogue import KnownType
from shared.accepting.envelope import TaskSubmission
from shared.accepting.planning import RequestFacts, plan
from shared.accepting.strict import Strict, read_strict
from shared.domain.cron import Cron, zone_of
from shared.domain.schedule import (
    CatchUp,
    Overlap,
    PlannedRun,
    RunOutcome,
    Schedule,
    ScheduleDefinition,
    Settlement,
    due,
)
from shared.domain.task import NewTask
from shared.domain.task_type import QUEUE_PATTERN
from shared.errors import InvalidInputError, RhythmError, TaskmillError

_YEAR_S: Final = 366 * 86400.0
#: Characters that are kept of why a task was refused.
_MAX_REASON: Final = 1000

#: The names of schedules look like those of queues. A path can't end in `/.` or `/..`.
_NAME: Final = re.compile(r"(?!\.{1,2}$)[a-z0-9._-]{1,64}")


def is_schedule_name(name: str) -> bool:
    """Whether a schedule may have this name."""
    return _NAME.fullmatch(name) is not None


def _a_name(name: str) -> str:
    if not is_schedule_name(name):
        raise PydanticCustomError("name", "must be 1 to 64 of a-z 0-9 . _ - and neither '.' nor '..'")
    return name


_Name = Annotated[str, AfterValidator(_a_name)]


class _ScheduleFields(Strict):
    cron: Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="Minute, hour, day of month, month, day of week; not together with `every`",
        examples=["30 6 * * MON-FRI"],
    )
    every: Annotated[float, Field(ge=1, le=_YEAR_S)] | None = Field(
        None, description="Seconds from one run to the next; not together with `cron`"
    )
    timezone: Annotated[str, Field(max_length=100)] = Field(
        "UTC", description="What `cron` is meant in: a name of the IANA database, like Europe/Berlin"
    )
    type: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="A type that a worker has announced"
    )
    payload: Any = Field(default_factory=dict, description="Any JSON value that the type's schema accepts")
    queue: Annotated[str, Field(pattern=QUEUE_PATTERN)] | None = Field(None, description="Default: the type's own")
    catch_up: Annotated[CatchUp, Field(strict=False)] = Field(
        CatchUp.SKIP,
        description="What becomes of ticks that no worker was there for: `skip` them, make `one` run of them, or run"
        " them `all`",
    )
    overlap: Annotated[Overlap, Field(strict=False)] = Field(
        Overlap.ALLOW, description="`skip`: no new task while the last one is not final"
    )


class NewSchedule(_ScheduleFields):
    """A schedule to create."""

    name: _Name


class ScheduleReplacement(_ScheduleFields):
    """What a schedule is to be from now on."""

    name: _Name | None = Field(None, description="The same as in the path, if it is given")


def read_new_schedule(body: Any) -> ScheduleDefinition:
    """The schedule that a JSON value describes; its type and payload are still to be checked.

    Raises:
        InvalidInputError: It describes none.
    """
    fields = read_strict(NewSchedule, body)
    return _definition(fields, fields.name)


def read_replacement(body: Any, name: str) -> ScheduleDefinition:
    """The same for a schedule whose name is known.

    Raises:
        InvalidInputError: It describes none, or another one.
    """
    if not is_schedule_name(name):
        raise InvalidInputError([("/name", "must be 1 to 64 of a-z 0-9 . _ - and neither '.' nor '..'")])
    fields = read_strict(ScheduleReplacement, body)
    if fields.name not in (None, name):
        raise InvalidInputError([("/name", f"must be {name!r} as in the path, or left out")])
    return _definition(fields, name)


def _definition(fields: _ScheduleFields, name: str) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=name,
        cron=_checked_rhythm(fields),
        every_s=fields.every,
        timezone=fields.timezone,
        type=fields.type,
        payload=jsontext.dumps(fields.payload),
        queue=fields.queue,
        catch_up=fields.catch_up,
        overlap=fields.overlap,
    )


def _checked_rhythm(fields: _ScheduleFields) -> str | None:
    """The cron expression as it is stored, if there is one."""
    if fields.cron is not None and fields.every is not None:
        raise InvalidInputError([("/every", "can't be given together with 'cron'")])
    if fields.cron is None and fields.every is None:
        raise InvalidInputError([("/cron", "is required, or else 'every'")])
    try:
        if fields.cron is not None:
            return Cron(fields.cron, fields.timezone).expression
        zone_of(fields.timezone)
    except RhythmError as error:
        raise InvalidInputError([(f"/{error.field}", error.fault)]) from error
    return None


# Tasks ..............................................................................


def task_of(schedule: ScheduleDefinition, known: KnownType, facts: RequestFacts) -> NewTask:
    """The task of one run: what a client would get who submits the schedule's type and payload.

    Raises:
        InvalidInputError: The type's schema refuses the payload.
    """
    submission = TaskSubmission(
        type=schedule.type,
        payload=jsontext.loads(schedule.payload),
        queue=schedule.queue,
        tags=[f"schedule:{schedule.name}"],
    )
    return plan(submission, known, facts)


def settle(schedule: Schedule, *, now: datetime, known: KnownType | None, open_task: UUID | None) -> Settlement:
    """Decide about the ticks of a schedule that are due.

    Args:
        schedule: Its `next_run_at` is not later than `now`.
        now: PostgreSQL's time.
        known: The type of its tasks; None if no worker has announced it.
        open_task: Its last task, if that is not final.
    """
    assert schedule.next_run_at is not None
    try:
        decided = due(schedule.rhythm(), first=schedule.next_run_at, now=now, catch_up=schedule.catch_up)
    except RhythmError as error:
        refused = PlannedRun(schedule.next_run_at, RunOutcome.REFUSED, reason=f"it can't go on: {error}")
        return Settlement(schedule.name, [refused], None)
    runs: list[PlannedRun] = []
    if decided.missed is not None:
        late_s = (now - decided.missed).total_seconds()
        runs.append(PlannedRun(decided.missed, RunOutcome.MISSED, reason=f"noticed {late_s:.0f} s after its time"))
    for tick in decided.ticks:
        run = _planned(schedule, tick, known, open_task)
        open_task = open_task if run.task is None else run.task.id
        runs.append(run)
    return Settlement(schedule.name, runs, decided.following)


def _planned(schedule: Schedule, tick: datetime, known: KnownType | None, open_task: UUID | None) -> PlannedRun:
    if schedule.overlap == Overlap.SKIP and open_task is not None:
        return PlannedRun(tick, RunOutcome.SKIPPED, reason=f"task {open_task} is not final")
    if known is None:
        return PlannedRun(tick, RunOutcome.REFUSED, reason=f"no worker has announced the type {schedule.type!r}")
    facts = RequestFacts(request_id=None, submitted_by=f"schedule:{schedule.name}")
    try:
        return PlannedRun(tick, RunOutcome.SUBMITTED, task_of(schedule, known, facts))
    except TaskmillError as error:
        return PlannedRun(tick, RunOutcome.REFUSED, reason=jsontext.printable(str(error), _MAX_REASON))
