"""Checks of a schedule against what workers run, and a run that a person asks for."""

from collections import Counter

from api_service.services import Services
from api_service.submission import Submitter
from shared.accepting.catalogue import compile_type
from shared.accepting.planning import RequestFacts
from shared.accepting.scheduling import task_of
from shared.domain.schedule import Overlap, Schedule, ScheduleDefinition
from shared.domain.task import Accepted, NewTask
from shared.errors import (
    IdempotencyConflictError,
    InvalidInputError,
    ScheduleNotRunnableError,
    ScheduleOverlapError,
)
from shared.store.schedule_runs import Held


async def require_runnable(submitter: Submitter, definition: ScheduleDefinition) -> None:
    """Do nothing if the task of the schedule would be accepted now.

    Raises:
        InvalidInputError: No worker has announced the type, or its schema refuses the payload.
        DatabaseUnavailableError: The type is not known here, and PostgreSQL is away.
    """
    task_of(definition, await submitter.known_type(definition.type), RequestFacts(request_id=None))


async def run_now(services: Services, name: str, facts: RequestFacts) -> Accepted:
    """Submit the task of a schedule beside its ticks, or find the one that the request's key stands for.

    Raises:
        ScheduleNotFoundError: No such schedule.
        ScheduleOverlapError: It skips what overlaps, and its last task is not final.
        ScheduleNotRunnableError: Its task would not be accepted.
        IdempotencyConflictError: The key was used for another request.
    """
    async with services.store.schedule_runs.take(name) as held:
        [schedule] = held.schedules
        born = await held.run_now(schedule, _task(held, schedule, facts))
        [answer] = born.answers
        if isinstance(answer, IdempotencyConflictError):
            raise answer
        # After, not before: a request that is repeated gets its own task rather than a refusal because of it.
        if not answer.duplicate:
            _require_no_overlap(held, schedule)
    services.publisher.offer(born.rings)
    await services.news.count_submitted(Counter(ring.queue for ring in born.rings))
    return answer


def _require_no_overlap(held: Held, schedule: Schedule) -> None:
    open_task = held.open_tasks.get(schedule.name)
    if schedule.overlap == Overlap.SKIP and open_task is not None:
        raise ScheduleOverlapError(schedule.name, open_task)


def _task(held: Held, schedule: Schedule, facts: RequestFacts) -> NewTask:
    if schedule.type not in held.types:
        raise ScheduleNotRunnableError(schedule.name, f"no worker has announced the type {schedule.type!r}")
    try:
        return task_of(schedule, compile_type(held.types[schedule.type]), facts)
    except InvalidInputError as error:
        raise ScheduleNotRunnableError(schedule.name, str(error)) from error
