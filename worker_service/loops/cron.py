"""Submits the tasks of schedules at their ticks."""

from collections import Counter
from typing import Final

import structlog

from shared.accepting.catalogue import compile_type
from shared.accepting.scheduling import settle
from shared.domain.schedule import RunOutcome, Schedule, Settlement
from shared.news import News
from shared.publisher import Publisher
from shared.store.schedule_runs import Held, ScheduleRuns
from shared.telemetry import metrics
from worker_service.loops.base import PeriodicLoop

log = structlog.get_logger(__name__)

_LIMIT: Final = 50


class Cron(PeriodicLoop):
    """Each tick once: the row of the schedule is held while its runs, their tasks and its next tick are written.

    Args:
        runs: Where the ticks are.
        publisher: Rings for the tasks.
        news: Counts them.
        built_in: Whether the schedules that come with Taskmill run here.
    """

    def __init__(
        self, runs: ScheduleRuns, *, publisher: Publisher, news: News, built_in: bool, interval_s: float = 0.5
    ) -> None:
        super().__init__(interval_s=interval_s)
        self._runs = runs
        self._publisher = publisher
        self._news = news
        self._built_in = built_in

    async def run_once(self) -> int:
        """Deal with what is due. Returns with how many schedules."""
        if not await self._runs.are_due(built_in=self._built_in):
            return 0
        async with self._runs.take_due(_LIMIT, built_in=self._built_in) as held:
            if not held.schedules:
                return 0
            settlements = [_settlement(held, schedule) for schedule in held.schedules]
            born = await held.settle(settlements)
        # Only now: before the commit nobody must hear of it.
        self._publisher.offer(born.rings)
        await self._news.count_submitted(Counter(ring.queue for ring in born.rings))
        _tell(settlements)
        return len(settlements)


def _settlement(held: Held, schedule: Schedule) -> Settlement:
    info = held.types.get(schedule.type)
    return settle(
        schedule,
        now=held.now,
        known=None if info is None else compile_type(info),
        open_task=held.open_tasks.get(schedule.name),
    )


def _tell(settlements: list[Settlement]) -> None:
    for settlement in settlements:
        for run in settlement.runs:
            metrics.SCHEDULE_RUNS.labels(outcome=run.outcome.value).inc()
            if run.outcome != RunOutcome.SUBMITTED:
                log.warning(
                    "tick_without_task",
                    schedule=settlement.schedule,
                    tick=run.tick.isoformat(),
                    outcome=run.outcome.value,
                    reason=run.reason,
                )
