"""Each loop's round, called directly; and two replicas of it at the same moment."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

import pytest

from shared.artifacts import ArtifactStore
from shared.broker.base import Message
from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.domain.message import Due, decode
from shared.domain.task import TaskRecord
from shared.errors import BrokerUnavailableError
from shared.events.base import Event
from shared.events.memory import MemoryEvents
from shared.news import News
from shared.pace import Pace
from shared.publisher import Publisher
from shared.store.store import Store
from tests.builders import (
    STALE_S,
    at_once,
    beat,
    doorbells,
    execute,
    expired,
    gone_silent,
    new_task,
    pass_time,
    queued,
    retrying,
    running,
    scheduled,
    status_of,
    steady,
    succeeded,
)
from worker_service.loops.base import PeriodicLoop
from worker_service.loops.expire import Expire
from worker_service.loops.progress import ReportProgress
from worker_service.loops.reconcile import Reconcile
from worker_service.loops.relay import Relay
from worker_service.loops.release import Release
from worker_service.loops.rescue import Rescue
from worker_service.loops.retention import Retention
from worker_service.running import Running


class DeafBroker(MemoryBroker):
    """Confirms nothing and cannot be asked while it is away."""

    away = False

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        return [False] * len(messages) if self.away else await super().publish(messages)

    async def ping(self) -> None:
        if self.away:
            raise BrokerUnavailableError("it is away")


class Recorder(MemoryEvents):
    """Keeps what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, UUID, str]] = []

    async def publish(self, events: Sequence[Event]) -> None:
        self.told += [(event.kind, event.task_id, event.data["status"]) for event in events]


@dataclass
class Around:
    """What a loop works with."""

    store: Store
    broker: DeafBroker
    events: Recorder
    news: News
    publisher: Publisher

    async def rung(self, queue: str = "default") -> list[Due]:
        """What was published and nobody has taken."""
        await self.publisher.close()
        return [due for letter in sorted(self.broker.queues.queue(queue).ready) for due in decode(letter.body)]

    def release(self) -> Release:
        return Release(self.store.lifecycle, publisher=self.publisher, news=self.news)

    def expire(self) -> Expire:
        return Expire(self.store.lifecycle, publisher=self.publisher, news=self.news)

    def rescue(self, worker: str = "rescuer") -> Rescue:
        return Rescue(self.store.lifecycle, worker, publisher=self.publisher, news=self.news)

    def relay(self) -> Relay:
        return Relay(self.store.outbox, self.publisher)

    def reconcile(self) -> Reconcile:
        return Reconcile(self.store, self.broker, self.publisher, older_than_s=60, interval_s=5)


@pytest.fixture
async def around(store: Store) -> AsyncIterator[Around]:
    broker, events = DeafBroker(), Recorder()
    publisher = Publisher(broker, store.outbox, Pace(store.task_types))
    publisher.start()
    news = News(MemoryCache(), events, result_ttl_s=60, failure_ttl_s=60)
    yield Around(store, broker, events, news, publisher)
    await publisher.close()


# Release, expire, rescue ..............................................................


async def test_release_rings_for_what_is_due_and_tells(around: Around) -> None:
    due = await retrying(around.store)
    await pass_time(around.store, 61)
    await scheduled(around.store)

    assert await around.release().run_once() == 1

    assert await around.rung() == [Due(due, 2)]
    assert around.events.told == [("status", due, "queued")]
    assert await doorbells(around.store) == []


async def test_release_without_anything_due_does_nothing(around: Around) -> None:
    await scheduled(around.store)

    assert await around.release().run_once() == 0
    assert await around.rung() == []


async def test_two_releases_at_once_ring_once_for_each_task(around: Around) -> None:
    ids = [await scheduled(around.store, delay_s=10.0) for _ in range(20)]
    await pass_time(around.store, 11)

    moved = await at_once(*(around.release().run_once() for _ in range(4)))

    assert sum(moved) == 20
    assert sorted(await around.rung()) == sorted(Due(task_id, 1) for task_id in ids)


async def test_a_broker_that_is_away_leaves_the_doorbell_to_the_relay(around: Around) -> None:
    task_id = await scheduled(around.store, delay_s=10.0)
    await pass_time(around.store, 11)
    around.broker.away = True

    await around.release().run_once()

    assert await around.rung() == []
    assert await doorbells(around.store) == [(task_id, 1)]


async def test_expire_ends_what_is_late_and_tells(around: Around) -> None:
    late = await queued(around.store, expires_in_s=60.0)
    await queued(around.store, expires_in_s=7200.0)
    await pass_time(around.store, 61)

    assert await around.expire().run_once() == 1

    assert around.events.told == [("status", late, "expired")]
    assert await around.rung() == []


async def test_rescue_rings_for_the_tasks_of_a_lost_worker(around: Around) -> None:
    lost = await running(around.store, worker="lost")
    kept = await running(around.store, worker="alive")
    await beat(around.store, "alive")
    await gone_silent(around.store, "lost")
    await steady(around.store, "rescuer")

    assert await around.rescue().run_once() == 1

    assert await around.rung() == [Due(lost, 2)]
    assert await status_of(around.store, kept) == "running"


async def test_rescue_waits_until_its_own_heartbeats_were_steady(around: Around) -> None:
    task_id = await running(around.store, worker="lost")
    await beat(around.store, "rescuer")
    assert await around.rescue().run_once() == 0

    for _ in range(5):  # heartbeats go on without a gap for longer than it takes to be stale
        await pass_time(around.store, STALE_S / 4, tables=["workers"])
        await beat(around.store, "rescuer")

    assert await around.rescue().run_once() == 1
    assert await status_of(around.store, task_id) == "queued"


async def test_two_rescuers_at_once_rescue_each_task_once(around: Around) -> None:
    ids = [await running(around.store, worker="lost") for _ in range(10)]
    await steady(around.store, "b")
    await steady(around.store, "c")

    moved = await at_once(*(around.rescue(name).run_once() for name in "bcbc"))

    assert sum(moved) == 10
    assert sorted(await around.rung()) == sorted(Due(task_id, 2) for task_id in ids)


# Relay and reconcile ..................................................................


async def test_relay_rings_what_was_not_rung_in_time_and_forgets_it(around: Around) -> None:
    [ring] = (await around.store.submissions.accept([new_task()])).rings
    assert await around.relay().run_once() == 0
    await pass_time(around.store, 6)

    assert await around.relay().run_once() == 1

    assert await around.rung() == [ring.due]
    assert await doorbells(around.store) == []


async def test_relay_keeps_what_the_broker_did_not_confirm(around: Around) -> None:
    [ring] = (await around.store.submissions.accept([new_task()])).rings
    await pass_time(around.store, 6)
    around.broker.away = True

    assert await around.relay().run_once() == 0
    assert await doorbells(around.store) == [ring.due]

    around.broker.away = False
    assert await around.relay().run_once() == 1


async def test_two_relays_at_once_ring_each_doorbell_once(around: Around) -> None:
    rings = (await around.store.submissions.accept([new_task() for _ in range(50)])).rings
    await pass_time(around.store, 6)

    sent = await at_once(*(around.relay().run_once() for _ in range(4)))

    assert sum(sent) == 50
    assert sorted(await around.rung()) == sorted(ring.due for ring in rings)


async def test_reconcile_rings_again_where_the_broker_has_lost_everything(around: Around) -> None:
    lost = await queued(around.store)
    await pass_time(around.store, 61)
    await queued(around.store)

    assert await around.reconcile().run_once() == 0  # it never runs without a pause

    assert await around.rung() == [Due(lost, 1)]


async def test_reconcile_leaves_a_queue_alone_that_still_has_messages(around: Around) -> None:
    task_id = await queued(around.store)
    await pass_time(around.store, 61)
    await around.broker.publish([Message("default", "normal", (Due(task_id, 1),))])

    await around.reconcile().run_once()

    assert await around.rung() == [Due(task_id, 1)]


async def test_reconcile_rings_nothing_for_young_tasks_or_those_in_the_outbox(around: Around) -> None:
    await queued(around.store)
    await around.store.submissions.accept([new_task()])
    await execute(around.store, "UPDATE tasks SET queued_at = now() - interval '61 s' WHERE id IN"
                  " (SELECT task_id FROM outbox)")  # fmt: skip

    await around.reconcile().run_once()

    assert await around.rung() == []


async def test_reconcile_without_a_broker_fails_its_round_and_rings_nothing(around: Around) -> None:
    await queued(around.store)
    await pass_time(around.store, 61)
    around.broker.away = True

    with pytest.raises(BrokerUnavailableError):
        await around.reconcile().run_once()
    assert await doorbells(around.store) == []


async def test_reconcile_sends_messages_that_a_second_reconciler_may_send_again(around: Around) -> None:
    task_id = await queued(around.store)
    await pass_time(around.store, 61)

    await at_once(around.reconcile().run_once(), around.reconcile().run_once())

    assert set(await around.rung()) == {Due(task_id, 1)}


# Retention ............................................................................


async def test_retention_forgets_what_is_old_of_every_kind(store: Store) -> None:
    await succeeded(store)
    await expired(store)
    waiting = await queued(store)
    await store.dead_letters.record_unreadable(b"x", queue="default", reason="malformed")
    await gone_silent(store, "long gone", for_s=7200)

    assert await Retention(store, ArtifactStore("file:///dev/null/artifacts"), days=1e-9).run_once() == 2

    assert [row.id for row in await execute(store, "SELECT id FROM tasks")] == [waiting]
    assert await execute(store, "SELECT 1 FROM dead_letters") == []
    assert await store.workers.all() == []


# Progress .............................................................................


class SomeRunning:
    """As much of an executor as the loop asks for."""

    def __init__(self, *running: Running) -> None:
        self._running = running

    def __iter__(self) -> Iterator[Running]:
        return iter(self._running)


def at_work(task: TaskRecord, progress: str | None) -> Running:
    running_ = Running(task, None, 60, on_settled=lambda: None, on_free=lambda: None)  # type: ignore[arg-type]
    running_.progress = progress
    return running_


async def test_progress_is_stored_once_and_told(around: Around) -> None:
    task = await around.store.tasks.get(await running(around.store))
    executor = SomeRunning(at_work(task, '{"done":1}'))
    loop = ReportProgress(around.store.lifecycle, executor, around.news, "a")  # type: ignore[arg-type]

    assert [await loop.run_once(), await loop.run_once()] == [0, 0]

    stored = await around.store.tasks.get(task.id)
    assert (stored.progress, stored.version) == ('{"done":1}', task.version + 1)
    assert around.events.told == [("progress", task.id, "running")]


async def test_progress_of_an_attempt_whose_outcome_is_decided_is_left_to_its_end(around: Around) -> None:
    task = await around.store.tasks.get(await running(around.store))
    decided = at_work(task, '{"done":1}')
    decided.reported = True

    await ReportProgress(around.store.lifecycle, SomeRunning(decided), around.news, "a").run_once()  # type: ignore[arg-type]

    assert (await around.store.tasks.get(task.id)).progress is None
    assert decided.progress == '{"done":1}'


# The base of all ......................................................................


class Counting(PeriodicLoop):
    """Runs rounds that do as they are told."""

    def __init__(self, *rounds: int | Exception) -> None:
        super().__init__(interval_s=0.01, random=Random(1))
        self.rounds = list(rounds)
        self.done = asyncio.Event()

    async def run_once(self) -> int:
        if not self.rounds:
            self.done.set()
            return 0
        now = self.rounds.pop(0)
        if isinstance(now, Exception):
            raise now
        return now


async def test_a_loop_survives_the_rounds_that_fail() -> None:
    loop = Counting(OSError("a bug"), BrokerUnavailableError("away"), 3)
    task = asyncio.create_task(loop.run())

    await asyncio.wait_for(loop.done.wait(), 5)
    loop.stop()
    await asyncio.wait_for(task, 1)


async def test_a_loop_that_pauses_stops_at_once() -> None:
    loop = Counting()
    loop._interval_s = 3600
    task = asyncio.create_task(loop.run())
    await asyncio.wait_for(loop.done.wait(), 5)

    loop.stop()

    await asyncio.wait_for(task, 1)
