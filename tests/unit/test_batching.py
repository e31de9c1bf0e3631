"""Group commit: who shares a flush, and who gets which error."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from shared.batching import Batcher


class BadItemError(Exception):
    pass


class AwayError(Exception):
    pass


class Flusher:
    """Doubles numbers. Holds a flush while it is `held`; refuses batches with a number in `bad`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.bad: set[int] = set()
        self.away = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    def hold(self) -> None:
        self.go_on.clear()

    async def flush(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        await self.go_on.wait()
        if self.away:
            raise AwayError
        if self.bad & set(items):
            raise BadItemError
        return [ValueError(item) if item < 0 else item * 2 for item in items]


async def settled(*tasks: asyncio.Task[int]) -> list[int | BaseException]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


def batcher_of(flusher: Flusher, max_items: int = 100) -> Batcher[int, int]:
    return Batcher(flusher.flush, max_items=max_items, splits_on=(BadItemError,))


async def submitted(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_item_is_flushed_at_once() -> None:
    flusher = Flusher()

    assert await batcher_of(flusher).submit(21) == 42
    assert flusher.batches == [[21]]


async def test_items_gather_while_a_flush_is_in_flight() -> None:
    flusher = Flusher()
    batcher = batcher_of(flusher)

    flusher.hold()
    first = await submitted(batcher, 1)
    others = await submitted(batcher, 2, 3, 4)
    flusher.go_on.set()

    assert await settled(*first, *others) == [2, 4, 6, 8]
    assert flusher.batches == [[1], [2, 3, 4]]


async def test_no_flush_is_given_more_than_its_limit() -> None:
    flusher = Flusher()

    results = await settled(*await submitted(batcher_of(flusher, max_items=2), 1, 2, 3, 4, 5))

    assert results == [2, 4, 6, 8, 10]
    assert max(map(len, flusher.batches)) == 2


async def test_each_item_gets_its_own_error() -> None:
    results = await settled(*await submitted(batcher_of(Flusher()), 1, -2, 3))

    assert results[0] == 2
    assert isinstance(results[1], ValueError)
    assert results[2] == 6


async def test_a_bad_item_fails_none_of_its_neighbours() -> None:
    flusher = Flusher()
    flusher.bad = {3}

    results = await settled(*await submitted(batcher_of(flusher), 1, 2, 3, 4))

    assert [type(result) for result in results] == [int, int, BadItemError, int]


async def test_an_error_that_is_no_items_fault_fails_the_batch_without_trying_each() -> None:
    flusher = Flusher()
    batcher = batcher_of(flusher)
    flusher.away = True

    results = await settled(*await submitted(batcher, 1, 2, 3))

    assert [type(result) for result in results] == [AwayError] * 3
    assert len(flusher.batches) <= 2


async def test_it_goes_on_after_a_failed_flush() -> None:
    flusher = Flusher()
    batcher = batcher_of(flusher)
    flusher.away = True
    await settled(*await submitted(batcher, 1))

    flusher.away = False

    assert await batcher.submit(2) == 4


async def test_a_caller_that_leaves_takes_nothing_with_it() -> None:
    flusher = Flusher()
    batcher = batcher_of(flusher)

    flusher.hold()
    leaver, stayer = await submitted(batcher, 1, 2)
    leaver.cancel()
    with suppress(asyncio.CancelledError):
        await leaver
    flusher.go_on.set()

    assert await settled(stayer) == [4]
    assert sorted(item for batch in flusher.batches for item in batch) == [1, 2]


async def test_closing_waits_for_what_was_submitted() -> None:
    flusher = Flusher()
    batcher = batcher_of(flusher, max_items=1)

    flusher.hold()
    tasks = await submitted(batcher, 1, 2)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    flusher.go_on.set()
    await asyncio.wait_for(closing, 5)

    assert await settled(*tasks) == [2, 4]


async def test_closing_an_idle_one_returns_at_once() -> None:
    await asyncio.wait_for(batcher_of(Flusher()).close(), 1)


async def test_a_flush_that_answers_too_little_fails_its_callers_instead_of_leaving_them() -> None:
    async def answers_too_little(items: Sequence[int]) -> Sequence[int | Exception]:
        return [1]

    batcher: Batcher[int, int] = Batcher(answers_too_little, max_items=10)

    results = await settled(*await submitted(batcher, 1, 2))

    assert [type(result) for result in results] == [ValueError, ValueError]


@pytest.mark.parametrize("max_items", [1, 7, 1000])
async def test_many_callers_each_get_their_own_answer(max_items: int) -> None:
    batcher = batcher_of(Flusher(), max_items=max_items)

    results = await settled(*(asyncio.create_task(batcher.submit(number)) for number in range(500)))

    assert results == [number * 2 for number in range(500)]


async def test_nobody_waits_longer_than_promised_and_the_work_goes_on() -> None:
    flusher = Flusher()
    batcher: Batcher[int, int] = Batcher(flusher.flush, max_items=1, within_s=0.05)
    flusher.hold()

    flushed, waiting = await submitted(batcher, 1, 2)
    results = await settled(flushed, waiting)
    flusher.go_on.set()

    assert [type(result) for result in results] == [TimeoutError, TimeoutError]
    assert await batcher.submit(3) == 6
    assert flusher.batches == [[1], [2], [3]]


async def test_who_comes_late_to_a_slow_flush_has_all_of_the_time() -> None:
    flusher = Flusher()
    batcher: Batcher[int, int] = Batcher(flusher.flush, max_items=10, within_s=0.2)
    flusher.hold()

    [first] = await submitted(batcher, 1)
    await asyncio.sleep(0.1)
    [second] = await submitted(batcher, 2)
    [answer] = await settled(first)
    flusher.go_on.set()

    assert isinstance(answer, TimeoutError)
    assert await settled(second) == [4]
