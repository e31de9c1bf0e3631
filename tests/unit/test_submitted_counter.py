"""What was accepted is counted, a little later."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from api_service import counting
from api_service.counting import SubmittedCounter
from shared.domain.task import Accepted
from shared.ids import new_task_id
from tests.listening import until


class SlowNews:
    """Takes counts, as slowly as it is told to."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.writes = 0
        self.may_write = asyncio.Event()

    async def count_submitted(self, numbers: Mapping[str, int]) -> None:
        self.writes += 1
        await self.may_write.wait()
        self.counted.update(numbers)


def accepted(queue: str = "default") -> Accepted:
    return Accepted(new_task_id(), "queued", "demo.echo", queue, datetime.now(UTC))


async def test_what_is_accepted_in_a_short_time_is_written_once() -> None:
    news = SlowNews()
    news.may_write.set()
    counter = SubmittedCounter(news)  # type: ignore[arg-type]

    for _ in range(3):
        counter.count([accepted(), accepted("other")])
        await asyncio.sleep(0)
    await until(lambda: news.writes > 0)

    assert news.counted == {"default": 3, "other": 3}
    assert news.writes == 1


async def test_the_end_loses_neither_what_is_being_written_nor_what_came_since() -> None:
    news = SlowNews()
    counter = SubmittedCounter(news)  # type: ignore[arg-type]
    counter.count([accepted()])
    await until(lambda: news.writes == 1)
    counter.count([accepted()])

    closing = asyncio.create_task(counter.close())
    await asyncio.sleep(0.01)
    news.may_write.set()
    await closing

    assert news.counted == {"default": 2}


async def test_the_end_does_not_wait_for_long() -> None:
    news = SlowNews()
    counter = SubmittedCounter(news)  # type: ignore[arg-type]
    counter.count([accepted()])

    async with asyncio.timeout(counting._CLOSE_S + 5):
        await counter.close()

    assert news.counted == {}
