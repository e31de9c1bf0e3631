"""Decide, then act: outcomes into one guarded UPDATE, then acks; cache and events learn of it meanwhile."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

import structlog

from shared.domain.outcome import Failure, Outcome, Report, decide
from shared.domain.status import TaskStatus
from shared.jsontext import printable
from shared.publisher import Publisher
from shared.store.finishing import Ending, Finished
from shared.store.store import Store
from shared.telemetry import metrics
from worker_service.running import Running
from worker_service.task_log import TaskLogs

log = structlog.get_logger(__name__)

#: Outcomes written by one statement.
_MAX_BATCH: Final = 500
#: Outcomes that wait to be written before no more attempts are begun.
_MAX_WAITING: Final = 1_000


class Finisher:
    """Writes the outcomes of attempts; one flush runs while the next gathers.

    A fault of PostgreSQL is retried for as long as it lasts: the messages stay unacked meanwhile, and the fence
    refuses what has become somebody else's.
    """

    def __init__(
        self, *, store: Store, logs: TaskLogs, publisher: Publisher, worker_id: str, random: Random | None = None
    ) -> None:
        self._store = store
        self._logs = logs
        self._publisher = publisher
        self._worker_id = worker_id
        self._random = random or Random()
        self._waiting: list[tuple[Running, Ending]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<Finisher waiting={len(self._waiting)} idle={self._idle.is_set()}>"

    def has_room(self) -> bool:
        """Whether more attempts may begin: not while PostgreSQL is away or far behind."""
        return len(self._waiting) < _MAX_WAITING

    def add(self, running: Running, report: Report) -> None:
        """Decide the outcome of an attempt and write it soon. Returns at once."""
        if (ran_s := running.ran_s) is not None:
            self._publisher.pace.note(running.task.type, ran_s)
        outcome = decide(
            report,
            used=running.task.attempts_used,
            max_attempts=running.task.max_attempts,
            policy=running.type.info.retry,
            random=self._random,
        )
        ending = Ending(running.task, outcome, running.progress, running.artifacts)
        self._waiting.append((running, ending))
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write outcomes until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._waiting[:_MAX_BATCH]
                del self._waiting[:_MAX_BATCH]
                await self._write(batch)
            self._idle.set()

    async def drained(self) -> None:
        """Return when nothing waits to be written."""
        await self._idle.wait()

    async def _write(self, batch: Sequence[tuple[Running, Ending]]) -> None:
        finished = await self._finish([ending for _, ending in batch])
        self._publisher.offer(finished.rings)
        self._log_refused(finished)
        for running, _ in batch:
            running.mark_written()
        try:
            await self._logs.tell(finished.tasks)
        except Exception:
            log.exception("news_failed")

    async def _finish(self, endings: Sequence[Ending]) -> Finished:
        try:
            return await self._persist(endings)
        except Exception:
            # Something in the batch can't be stored. Alone, each shows whether it was its own fault.
            log.exception("finish_failed", count=len(endings))
            return await self._finish_one_by_one(endings)

    async def _finish_one_by_one(self, endings: Sequence[Ending]) -> Finished:
        together = Finished(refused=[])
        for ending in endings:
            finished = await self._finish_alone(ending)
            together.tasks += finished.tasks
            together.rings += finished.rings
            together.refused += finished.refused
        return together

    async def _finish_alone(self, ending: Ending) -> Finished:
        try:
            return await self._persist([ending])
        except Exception as error:  # noqa: BLE001 - becomes the task's own error
            failure = Failure("invalid_result", printable(f"the outcome can't be stored: {error}"))
            outcome = Outcome(TaskStatus.FAILED, failure=failure)
        try:
            return await self._persist([Ending(ending.task, outcome)])
        except Exception:
            log.exception("outcome_lost_until_rescue", task_id=str(ending.task.id), attempt=ending.task.attempt)
            return Finished(refused=[])

    async def _persist(self, endings: Sequence[Ending]) -> Finished:
        return await self._store.database.persist(
            lambda: self._store.lifecycle.finish(endings, worker=self._worker_id)
        )

    def _log_refused(self, finished: Finished) -> None:
        for task_id in finished.refused:
            metrics.RESULTS_REFUSED.inc()
            log.warning("late_result_refused", task_id=str(task_id), worker=self._worker_id)
