"""Counts what was accepted: for the metrics at once, for the rates of the queues a little later."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from shared.domain.task import Accepted
from shared.news import News
from shared.telemetry import metrics

#: Seconds for which counts are gathered: a write for each request costs more than the counting.
_GATHER_S: Final = 0.25
#: Seconds that the last counts may take when the process ends.
_CLOSE_S: Final = 1.0


class SubmittedCounter:
    """Gathers counts and writes them together."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._uncounted: Counter[str] = Counter()
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def count(self, answers: Iterable[object]) -> None:
        """Count the new tasks among the answers to submissions. Returns at once."""
        numbers = Counter((answer.queue, answer.duplicate) for answer in answers if isinstance(answer, Accepted))
        for (queue, is_duplicate), number in numbers.items():
            if is_duplicate:
                metrics.TASKS_DUPLICATE.labels(queue).inc(number)
            else:
                metrics.TASKS_ACCEPTED.labels(queue).inc(number)
                self._uncounted[queue] += number
        if self._uncounted and self._writing is None:
            self._writing = asyncio.create_task(self._write_soon(), name="submitted-counter")

    async def flush(self) -> None:
        """Write what is counted until now, for whoever wants to read it."""
        if self._uncounted:
            counted, self._uncounted = self._uncounted, Counter()
            await self._news.count_submitted(counted)

    async def close(self) -> None:
        """Write what is still to be counted, if that is quickly done."""
        self._closing.set()
        if self._writing is not None:
            _, late = await asyncio.wait([self._writing], timeout=_CLOSE_S)
            for writing in late:
                writing.cancel()

    async def _write_soon(self) -> None:
        try:
            while self._uncounted:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GATHER_S):
                        await self._closing.wait()
                await self.flush()
        finally:
            self._writing = None
