"""GET /stats."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.cache.base import Minute
from shared.cache.memory import MemoryCache
from shared.domain.outcome import Failure, Outcome
from shared.domain.status import TaskStatus
from shared.errors import CacheUnavailableError
from tests.api import SUM, ApiUnderTest, open_api, pointers
from tests.builders import execute

RETRYING = Outcome(TaskStatus.RETRYING, failure=Failure("error", "once"), delay_s=0)


@pytest.fixture
async def api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url) as opened:
        yield opened


async def stats(api: ApiUnderTest, query: str = "") -> list[dict[str, Any]]:
    answer = await api.client.get(f"/stats{query}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["next"], body["available"]) == (None, True)
    items: list[dict[str, Any]] = body["items"]
    return items


def total(items: Sequence[dict[str, Any]], queue: str, what: str) -> int:
    return sum(item[what] for item in items if item["queue"] == queue)


async def test_what_happened_is_counted_by_queue(api: ApiUnderTest) -> None:
    ids = [await api.submit() for _ in range(3)]
    other = await api.submit(SUM.name, payload={"n": 1})
    await api.run(ids[0])
    await api.fail(ids[1])
    await api.claim(other)
    await api.finish(other, RETRYING)

    items = await stats(api, "?minutes=1")

    assert [total(items, "default", what) for what in ("submitted", "succeeded", "failed", "retried")] == [3, 1, 1, 0]
    assert [total(items, "numbers", what) for what in ("submitted", "succeeded", "failed", "retried")] == [1, 0, 0, 1]
    assert items == sorted(items, key=lambda item: (item["minute"], item["queue"]))
    for item in items:
        began = datetime.fromisoformat(item["minute"])
        assert began.second == 0
        assert abs((datetime.now(UTC) - began).total_seconds()) < 180


async def test_how_long_tasks_waited_and_ran_is_measured(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await execute(api.store, "UPDATE tasks SET queued_at = now() - interval '30 s' WHERE id = :id", id=task_id)
    await api.claim(task_id)
    await execute(api.store, "UPDATE tasks SET started_at = now() - interval '4 s' WHERE id = :id", id=task_id)
    await api.client.delete(f"/tasks/{task_id}")  # told of again, and measured once
    await api.finish(task_id, Outcome(TaskStatus.SUCCEEDED, result="1"))

    items = await stats(api)

    waited = next(item for item in items if item["waiting_p50"] is not None)
    ran = next(item for item in items if item["running_p50"] is not None)
    assert waited["waiting_p50"] == pytest.approx(30, rel=0.2)
    assert waited["waiting_p95"] == pytest.approx(30, rel=0.2)
    assert ran["running_p95"] == pytest.approx(4, rel=0.2)


async def test_where_nothing_happened_there_is_nothing(api: ApiUnderTest) -> None:
    assert await stats(api, "?minutes=1440") == []
    assert await stats(api, "?minutes=") == []


@pytest.mark.parametrize("minutes", ["0", "1441", "-1", "1.5", "abc", "9" * 400, "NaN", "%00", "60 OR 1=1"])
async def test_odd_minutes_are_refused(api: ApiUnderTest, minutes: str) -> None:
    answer = await api.client.get(f"/stats?minutes={minutes}")

    assert pointers(answer) == ["?minutes"]


class CacheAway(MemoryCache):
    """Counts nothing."""

    async def minutes(self, minutes: int) -> Sequence[Minute]:
        raise CacheUnavailableError("cut")


async def test_without_redis_it_says_that_there_are_no_figures(module_database_url: str) -> None:
    async with open_api(module_database_url, cache=CacheAway()) as api:
        answer = await api.client.get("/stats")

    assert answer.status_code == 200
    assert answer.json() == {"items": [], "next": None, "available": False}
