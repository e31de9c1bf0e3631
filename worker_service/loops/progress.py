"""Stores the progress of running attempts, the latest of each, about twice a second."""

from shared.news import News
from shared.store.lifecycle import Lifecycle, Progress
from worker_service.executor import Executor
from worker_service.loops.base import PeriodicLoop


class ReportProgress(PeriodicLoop):
    """One UPDATE for all attempts that have something to say, under the fence."""

    def __init__(
        self, lifecycle: Lifecycle, executor: Executor, news: News, worker_id: str, *, interval_s: float = 0.5
    ) -> None:
        super().__init__(interval_s=interval_s)
        self._lifecycle = lifecycle
        self._executor = executor
        self._news = news
        self._worker_id = worker_id

    async def run_once(self) -> int:
        """Store what was reported since the last round. Returns 0, so that rounds stay apart."""
        reports = [
            Progress(running.task.id, running.task.attempt, running.progress)
            for running in self._executor
            if running.progress is not None and not running.reported
        ]
        if reports:
            stored = await self._lifecycle.report_progress(reports, worker=self._worker_id)
            self._forget(reports)
            await self._news.tell(stored, kind="progress")
        return 0

    def _forget(self, reports: list[Progress]) -> None:
        told = {report.task_id: report.progress for report in reports}
        for running in self._executor:
            if running.progress is told.get(running.task.id):
                running.progress = None
