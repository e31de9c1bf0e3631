"""Counts what was accepted: for the metrics at once, for the rates of the queues in the background."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from shared.domain.task import Accepted
from shared.news import News
from shared.telemetry import metrics

#: Seconds that the last counts may take when the process ends.
_CLOSE_S: Final = 1.0


class SubmittedCounter:
    """One write at a time: what is accepted meanwhile is counted by the next."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._uncounted: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def count(self, answers: Iterable[object]) -> None:
        """Count the new tasks among the answers to submissions. Returns at once."""
        numbers = Counter((answer.queue, answer.duplicate) for answer in answers if isinstance(answer, Accepted))
        for (queue, is_duplicate), number in numbers.items():
            if is_duplicate:
                metrics.TASKS_DUPLICATE.labels(queue).inc(number)
            else:
                metrics.TASKS_ACCEPTED.labels(queue).inc(number)
                self._uncounted += [queue] * number
        if self._uncounted and self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="submitted-counter")

    async def close(self) -> None:
        """Write what is still to be counted, if that is quickly done."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_CLOSE_S)

    async def _write(self) -> None:
        try:
            while self._uncounted:
                queues, self._uncounted = self._uncounted, []
                await self._news.count_submitted(queues)
        finally:
            self._writing = None
