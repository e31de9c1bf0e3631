"""Checks of a schedule against what workers run, and a run that a person asks for."""

from datetime import timedelta
from typing import Final

from api_service.services import Services
from api_service.submission import Submitter
from shared.accepting.catalogue import compile_type
from shared.accepting.planning import RequestFacts
from shared.accepting.scheduling import task_of
from shared.domain.schedule import Overlap, PlannedRun, RunOutcome, Schedule, ScheduleDefinition, Settlement
from shared.domain.task import Accepted, NewTask
from shared.errors import InvalidInputError, ScheduleNotRunnableError, ScheduleOverlapError
from shared.store.schedule_runs import Held
from shared.store.submissions import Born

_MICROSECOND: Final = timedelta(microseconds=1)


async def require_runnable(submitter: Submitter, definition: ScheduleDefinition) -> None:
    """Do nothing if the task of the schedule would be accepted now.

    Raises:
        InvalidInputError: No worker has announced the type, or its schema refuses the payload.
        DatabaseUnavailableError: The type is not known here, and PostgreSQL is away.
    """
    task_of(definition, await submitter.known_type(definition.type), RequestFacts(request_id=None))


async def run_now(services: Services, name: str, facts: RequestFacts) -> Accepted:
    """Submit the task of a schedule beside its ticks.

    Raises:
        ScheduleNotFoundError: No such schedule.
        ScheduleOverlapError: It skips what overlaps, and its last task is not final.
        ScheduleNotRunnableError: Its task would not be accepted.
    """
    async with services.store.schedule_runs.take(name) as held:
        [schedule] = held.schedules
        born = await _submit(held, schedule, _task(held, schedule, facts))
    services.publisher.offer(born.rings)
    await services.news.count_submitted([ring.queue for ring in born.rings])
    [accepted] = born.answers
    assert isinstance(accepted, Accepted)
    return accepted


def _task(held: Held, schedule: Schedule, facts: RequestFacts) -> NewTask:
    open_task = held.open_tasks.get(schedule.name)
    if schedule.overlap == Overlap.SKIP and open_task is not None:
        raise ScheduleOverlapError(schedule.name, open_task)
    if schedule.type not in held.types:
        raise ScheduleNotRunnableError(schedule.name, f"no worker has announced the type {schedule.type!r}")
    own = RequestFacts(facts.request_id, submitted_by=facts.submitted_by)
    try:
        return task_of(schedule, compile_type(held.types[schedule.type]), own)
    except InvalidInputError as error:
        raise ScheduleNotRunnableError(schedule.name, str(error)) from error


async def _submit(held: Held, schedule: Schedule, task: NewTask) -> Born:
    tick = held.now
    while True:
        run = PlannedRun(tick, RunOutcome.MANUAL, task)
        born = await held.settle([Settlement(schedule.name, [run], schedule.next_run_at)])
        if born.answers:
            return born
        tick += _MICROSECOND  # this very moment is taken by another run
