"""The loop that runs schedules, on a real database: each tick once, however many run it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from shared.accepting.catalogue import compile_type
from shared.accepting.scheduling import settle
from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.domain.message import decode
from shared.domain.schedule import Schedule, ScheduleDefinition, Settlement
from shared.errors import DatabaseUnavailableError
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.schedule_runs import Held
from shared.store.store import Store
from tests.api import ECHO, SUM
from tests.builders import doorbells, empty, eventually, execute, open_store
from worker_service.library.schedules import BUILT_IN_SCHEDULES
from worker_service.loops.cron import Cron


@dataclass
class Around:
    """What the loop works with."""

    store: Store
    broker: MemoryBroker
    publisher: Publisher
    news: News

    def cron(self, store: Store | None = None, *, built_in: bool = True) -> Cron:
        runs = (store or self.store).schedule_runs
        return Cron(runs, publisher=self.publisher, news=self.news, built_in=built_in)

    async def schedule(self, name: str = "s", *, due_s: float = 0.0, **fields: Any) -> Schedule:
        """A schedule whose first open tick is so long ago."""
        ordinary: dict[str, Any] = {"every_s": 60.0, "type": "demo.echo"}
        await self.store.schedules.create(ScheduleDefinition(name=name, **{**ordinary, **fields}))
        await self.fall_due(name, due_s)
        return await self.store.schedules.get(name)

    async def fall_due(self, name: str = "s", ago_s: float = 0.0) -> None:
        """Move the grid of a schedule so that its next tick was at the full second so long ago."""
        await execute(
            self.store,
            "UPDATE schedules SET next_run_at = d.at, created_at = d.at - make_interval(secs => every_s)"
            " FROM (SELECT date_trunc('second', now() - make_interval(secs => :s)) AS at) d WHERE name = :name",
            s=ago_s,
            name=name,
        )

    async def runs(self, name: str = "s") -> list[tuple[str, datetime, UUID | None]]:
        """What was done, the oldest first."""
        found = await self.store.schedule_runs.last_runs([name], limit=1000)
        return [(run.outcome, run.tick, run.task_id) for run in reversed(found[name])]

    async def tasks(self) -> list[Any]:
        return await execute(self.store, "SELECT id, type, queue, payload, tags, status FROM tasks ORDER BY id")


@pytest.fixture
async def around(module_database_url: str) -> AsyncIterator[Around]:
    async with open_store(module_database_url) as store:
        await empty(store)
        await store.task_types.announce([ECHO, SUM])
        broker = MemoryBroker()
        publisher = Publisher(broker, store.outbox, Pace(store.task_types))
        publisher.start()
        yield Around(store, broker, publisher, News(MemoryCache(), MemoryEvents(), result_ttl_s=60, failure_ttl_s=60))
        await publisher.close()


async def test_a_due_tick_is_a_task_that_is_rung_for(around: Around) -> None:
    before = await around.schedule(payload='{"a":1}', queue="special")

    assert await around.cron().run_once() == 1
    assert await around.cron().run_once() == 0

    [task] = await around.tasks()
    assert (task.type, task.queue, task.payload, task.tags, task.status) == (
        "demo.echo", "special", '{"a":1}', ["schedule:s"], "queued")  # fmt: skip
    assert await around.runs() == [("submitted", before.next_run_at, task.id)]
    after = await around.store.schedules.get("s")
    assert before.next_run_at is not None
    assert after.next_run_at == before.next_run_at + timedelta(seconds=60)
    assert after.last_task_id == task.id
    await around.publisher.close()
    rung = [due for letter in around.broker.queues.queue("special").ready for due in decode(letter.body)]
    assert [due.task_id for due in rung] == [task.id]
    assert await doorbells(around.store) == []


async def test_what_is_not_due_or_paused_is_left_alone(around: Around) -> None:
    await around.schedule("later", due_s=-30)
    await around.schedule("resting")
    await around.store.schedules.pause("resting")

    assert await around.cron().run_once() == 0

    assert await around.tasks() == []


async def test_many_loops_at_once_submit_each_tick_once(around: Around, module_database_url: str) -> None:
    for number in range(30):
        await around.schedule(f"s{number:02}", due_s=200, catch_up="all")
    stores = [open_store(module_database_url, pool_size=3) for _ in range(4)]
    opened = [await store.__aenter__() for store in stores]
    try:
        rounds = [around.cron(store).run_once() for store in opened for _ in range(3)]
        dealt_with = await asyncio.gather(*rounds)
    finally:
        for store in stores:
            await store.__aexit__(None, None, None)

    assert sum(dealt_with) == 30
    counts = Counter(task.tags[0] for task in await around.tasks())
    assert set(counts.values()) == {4}
    assert len(counts) == 30
    for number in range(30):
        runs = await around.runs(f"s{number:02}")
        assert [outcome for outcome, _, _ in runs] == ["submitted"] * 4
        assert {later[1] - run[1] for run, later in pairwise(runs)} == {timedelta(seconds=60)}


async def test_a_round_that_breaks_off_has_done_nothing_and_the_next_does_it(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await around.schedule()

    async def die_before_the_commit(held: Held, settlements: Sequence[Settlement]) -> None:
        await write(held, settlements)
        raise DatabaseUnavailableError("the worker was killed")

    write = Held.settle
    with monkeypatch.context() as patched:
        patched.setattr(Held, "settle", die_before_the_commit)
        with pytest.raises(DatabaseUnavailableError):
            await around.cron().run_once()

    assert await around.tasks() == []
    assert await around.runs() == []
    assert await doorbells(around.store) == []
    assert await around.store.schedules.get("s") == before
    assert await around.cron().run_once() == 1


async def test_a_clock_that_is_set_back_repeats_no_tick(around: Around) -> None:
    await around.schedule()
    await around.cron().run_once()
    # As if the schedule had been written anew in the repeated time.
    await execute(around.store, "UPDATE schedules SET next_run_at = next_run_at - interval '60 s'")

    assert await around.cron().run_once() == 1

    assert len(await around.tasks()) == 1
    assert len(await around.runs()) == 1


async def test_a_clock_that_leaps_ahead_is_made_up_for_by_the_policy(around: Around) -> None:
    for catch_up in ("skip", "one", "all"):
        await around.schedule(catch_up, catch_up=catch_up, due_s=10 * 60 + 5)

    await around.cron().run_once()

    tasks = {name: [run for run in await around.runs(name) if run[2]] for name in ("skip", "one", "all")}
    assert {name: len(runs) for name, runs in tasks.items()} == {"skip": 1, "one": 1, "all": 11}
    for name in tasks:
        following = (await around.store.schedules.get(name)).next_run_at
        [row] = await execute(around.store, "SELECT now() AS now")
        assert following is not None
        assert following > row.now


async def test_a_long_silence_is_made_up_for_in_rounds(around: Around) -> None:
    await around.schedule(every_s=1.0, due_s=119.5, catch_up="all")
    loop = around.cron()

    dealt_with = [await loop.run_once() for _ in range(4)]

    assert dealt_with[:3] == [1, 1, 1]
    ticks = [tick for _, tick, _ in await around.runs()]
    assert 120 <= len(ticks) <= 125
    assert {later - tick for tick, later in pairwise(ticks)} == {timedelta(seconds=1)}


async def test_what_overlaps_is_skipped_until_the_task_is_final(around: Around) -> None:
    await around.schedule(overlap="skip", due_s=20)
    loop = around.cron()
    await loop.run_once()
    await around.fall_due(ago_s=10)
    await loop.run_once()
    [first] = await around.tasks()
    await around.store.lifecycle.cancel(first.id)
    await around.fall_due()
    await loop.run_once()

    assert [outcome for outcome, _, _ in await around.runs()] == ["submitted", "skipped", "submitted"]
    assert len(await around.tasks()) == 2


async def test_what_is_refused_says_why_and_goes_on(around: Around) -> None:
    await around.schedule("unfit", type="demo.sum", payload='{"n": 1000}')
    await around.schedule("unknown", type="no.such")
    await around.schedule("fine")

    assert await around.cron().run_once() == 3

    runs = await around.store.schedule_runs.last_runs(["unfit", "unknown", "fine"], limit=5)
    seen = {name: [(run.outcome, run.status) for run in found] for name, found in runs.items()}
    assert seen == {
        "unfit": [("refused", None)], "unknown": [("refused", None)], "fine": [("submitted", "queued")]}  # fmt: skip
    assert "/payload/n" in (runs["unfit"][0].reason or "")
    assert "no.such" in (runs["unknown"][0].reason or "")
    [row] = await execute(around.store, "SELECT count(*) AS n FROM schedules WHERE next_run_at > now()")
    assert row.n == 3


async def test_a_schedule_that_is_deleted_while_it_runs_leaves_nothing_behind(around: Around) -> None:
    await around.schedule()
    async with around.store.schedule_runs.take_due(10, built_in=True) as held:
        deleting = asyncio.create_task(around.store.schedules.delete("s"))
        await eventually(lambda: _waits_for_a_lock(around.store))
        [schedule] = held.schedules
        await held.settle([settle(schedule, now=held.now, known=compile_type(ECHO), open_task=None)])
    await deleting

    assert len(await around.tasks()) == 1
    assert await execute(around.store, "SELECT 1 FROM schedules") == []
    assert await execute(around.store, "SELECT 1 FROM schedule_runs") == []


async def _waits_for_a_lock(store: Store) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await execute(store, f"{waiting} AND query LIKE 'DELETE FROM schedules%'"))


# Built-in ones ........................................................................


async def test_built_in_schedules_are_provided_once_and_what_a_person_made_of_them_stays(around: Around) -> None:
    await around.store.schedules.provide(BUILT_IN_SCHEDULES)
    await around.store.schedules.pause("maintenance.cleanup")
    changed = ScheduleDefinition(name="monitoring.health_check", cron="0 * * * *", type="monitoring.health_check")
    await around.store.schedules.put(changed)
    await around.store.schedules.delete("monitoring.daily_metrics")

    await asyncio.gather(*(around.store.schedules.provide(BUILT_IN_SCHEDULES) for _ in range(4)))

    found = {schedule.name: schedule for schedule in await around.store.schedules.page(limit=10)}
    assert found.keys() == {"maintenance.cleanup", "monitoring.health_check", "monitoring.daily_metrics"}
    assert all(schedule.built_in for schedule in found.values())
    assert found["maintenance.cleanup"].paused
    assert found["monitoring.health_check"].cron == "0 * * * *"
    assert found["monitoring.daily_metrics"].cron == "10 0 * * *"


async def test_a_worker_that_is_to_leave_built_in_schedules_alone_does(around: Around) -> None:
    await around.store.schedules.provide(BUILT_IN_SCHEDULES)
    await execute(around.store, "UPDATE schedules SET next_run_at = now()")

    assert await around.cron(built_in=False).run_once() == 0
    assert await around.cron().run_once() == 3


# Forgetting ...........................................................................


async def test_old_runs_are_forgotten_but_for_the_last_ones(around: Around) -> None:
    for name in ("old", "young"):
        await around.schedule(name, every_s=1.0, due_s=39.5, catch_up="all")
    await around.cron().run_once()
    await execute(around.store, "UPDATE schedule_runs SET ran_at = ran_at - interval '8 days' WHERE schedule = 'old'")
    ticks = [tick for _, tick, _ in await around.runs("old")]
    young = await around.runs("young")

    forgotten = await around.store.schedule_runs.forget(older_than_days=7, keep=20, limit=5)
    forgotten += await around.store.schedule_runs.forget(older_than_days=7, keep=20, limit=1000)

    assert forgotten == len(ticks) - 20
    assert [tick for _, tick, _ in await around.runs("old")] == ticks[-20:]
    assert await around.runs("young") == young
