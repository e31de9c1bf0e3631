"""What is read: tasks, pages, figures, announcements, workers, dead letters; and what is forgotten."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from shared.domain.retry import RetryPolicy
from shared.domain.status import FINAL, TaskStatus
from shared.domain.task import Accepted, UniqueKey
from shared.domain.task_type import TaskTypeInfo
from shared.errors import DeadLetterNotFoundError, TaskNotFoundError
from shared.ids import first_id_at
from shared.store.dead_letters import DeadLetterFilter
from shared.store.store import Store
from shared.store.tasks import TaskFilter
from tests.builders import (
    IN_STATUS,
    STALE_S,
    at_once,
    beat,
    execute,
    failed,
    gone_silent,
    new_task,
    pass_time,
    queued,
    retrying,
    running,
    scheduled,
    succeeded,
)

# Tasks ................................................................................


async def test_a_task_that_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(TaskNotFoundError):
        await store.tasks.get(uuid4())


async def page_of(store: Store, limit: int = 50, before: UUID | None = None, **wanted: object) -> list[UUID]:
    filter_ = TaskFilter(**wanted)  # type: ignore[arg-type]
    return [task.id for task in await store.tasks.page(filter_, limit=limit, before=before)]


async def test_pages_run_from_the_newest_to_the_oldest_without_a_gap(store: Store) -> None:
    ids = [await queued(store) for _ in range(5)][::-1]

    assert await page_of(store, limit=2) == ids[:2]
    assert await page_of(store, limit=2, before=ids[1]) == ids[2:4]
    assert await page_of(store, before=ids[3]) == ids[4:]
    assert await page_of(store, before=ids[4]) == []


async def test_every_filter_shows_what_it_names_and_nothing_else(store: Store) -> None:
    plain = await queued(store)
    other = await running(store, type="probe.echo", queue="other", tags=("red", "blue"))
    named = await queued(store, type="another.type")

    assert await page_of(store) == [named, other, plain]
    assert await page_of(store, status="running") == [other]
    assert await page_of(store, queue="other") == [other]
    assert await page_of(store, type="another.type") == [named]
    assert await page_of(store, tag="blue") == [other]
    assert await page_of(store, tag="green") == []
    assert await page_of(store, queue="other", status="queued") == []


async def test_tasks_are_found_by_when_they_were_made(store: Store) -> None:
    task_id = await queued(store)
    made_at = (await store.tasks.get(task_id)).created_at
    second = timedelta(seconds=1)

    assert await page_of(store, created_after=made_at, created_before=made_at + second) == [task_id]
    assert await page_of(store, created_after=made_at + second) == []
    assert await page_of(store, created_before=made_at) == []


async def test_a_queued_task_is_explained_by_what_it_waits_for(store: Store) -> None:
    await queued(store)
    task = await store.tasks.get(await queued(store))
    await queued(store, queue="other")

    alone = await store.facts.of(task)
    await beat(store, "a")
    served = await store.facts.of(task)
    await store.queues.pause(task.queue)
    await queued(store, priority="high")
    paused = await store.facts.of(task)

    assert (alone.consumers, alone.knowing, alone.live_workers, alone.paused, alone.older, alone.in_outbox_since) == (
        0, 0, 0, False, 1, None,
    )  # fmt: skip
    assert (served.consumers, served.knowing, served.live_workers) == (1, 1, 1)
    assert paused.paused
    assert paused.paused_at is not None
    assert (paused.older, paused.older_high, paused.younger_high) == (1, 0, 1)


async def test_a_message_that_is_still_to_be_sent_explains_a_wait(store: Store) -> None:
    [answer] = (await store.submissions.accept([new_task()])).answers
    assert isinstance(answer, Accepted)

    facts = await store.facts.of(await store.tasks.get(answer.task_id))

    assert facts.in_outbox_since is not None
    assert facts.in_outbox_since <= facts.now


async def test_only_workers_that_take_from_the_queue_can_know_its_types(store: Store) -> None:
    task = await store.tasks.get(await queued(store))
    await beat(store, "elsewhere", queues={"other": 1})
    await beat(store, "ignorant", types=["another.type"])

    facts = await store.facts.of(task)

    assert (facts.consumers, facts.knowing, facts.knowing_elsewhere) == (1, 0, 1)


@pytest.mark.parametrize("state", ["beating", "silent", "gone"])
async def test_the_silence_of_a_worker_explains_its_tasks(store: Store, state: str) -> None:
    task = await store.tasks.get(await running(store, worker="a"))
    if state != "gone":
        await beat(store, "a")
    if state == "silent":
        await pass_time(store, STALE_S + 1, tables=["workers"])

    facts = await store.facts.of(task)

    assert facts.worker_silent == (state != "beating")
    assert (facts.heartbeat is None) == (state == "gone")


@pytest.mark.parametrize("state", ["stale", "stopping", "draining"])
async def test_workers_that_will_take_nothing_explain_nothing(store: Store, state: str) -> None:
    task = await store.tasks.get(await queued(store))
    await beat(store, "a", stopping=state == "stopping")
    if state == "stale":
        await pass_time(store, STALE_S + 1)
    if state == "draining":
        await store.workers.drain("a")

    facts = await store.facts.of(task)

    assert (facts.consumers, facts.knowing, facts.draining) == (0, 0, int(state == "draining"))
    assert await store.task_types.live_workers() == {}


# Forgetting ...........................................................................


def made_days_ago(days: float) -> UUID:
    return UUID(int=first_id_at(datetime.now(UTC) - timedelta(days=days)).int | uuid4().int & ((1 << 62) - 1))


@pytest.mark.parametrize("status", TaskStatus)
async def test_only_what_is_final_is_forgotten(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store, id=made_days_ago(9))
    await pass_time(store, 9 * 86400)

    forgotten = (await store.tasks.forget(older_than_days=7, limit=10)).tasks

    assert forgotten == (1 if status in FINAL else 0)
    assert (await page_of(store) == []) == (status in FINAL)
    assert await execute(store, "SELECT 1 FROM dead_letters WHERE task_id = :id", id=task_id) == []


async def test_what_ended_lately_is_kept_however_old_it_is(store: Store) -> None:
    await succeeded(store, id=made_days_ago(9))

    assert (await store.tasks.forget(older_than_days=7, limit=10)).tasks == 0


async def test_no_more_is_forgotten_than_the_limit(store: Store) -> None:
    for _ in range(3):
        await succeeded(store)

    assert [(await store.tasks.forget(older_than_days=0, limit=2)).tasks for _ in range(3)] == [2, 1, 0]


async def test_a_task_is_kept_while_its_unique_key_still_stands_for_it(store: Store) -> None:
    task_id = await succeeded(store, unique=UniqueKey(b"u", 300))

    assert (await store.tasks.forget(older_than_days=0, limit=10)).tasks == 0
    assert await page_of(store) == [task_id]
    await pass_time(store, 301)
    assert (await store.tasks.forget(older_than_days=0, limit=10)).tasks == 1
    assert await execute(store, "SELECT 1 FROM task_keys") == []


async def test_the_key_of_an_open_task_is_never_swept_away(store: Store) -> None:
    await queued(store, unique=UniqueKey(b"u"))
    await pass_time(store, 9 * 86400)

    await store.tasks.forget(older_than_days=7, limit=10)

    assert len(await execute(store, "SELECT 1 FROM task_keys")) == 1


async def test_two_replicas_forget_each_task_once(store: Store) -> None:
    for _ in range(10):
        await succeeded(store)

    counts = await at_once(*(store.tasks.forget(older_than_days=0, limit=5) for _ in range(4)))
    assert sum(forgotten.tasks for forgotten in counts) == 10


# Queues ...............................................................................


async def test_the_figures_of_a_queue_count_every_kind_of_task(store: Store) -> None:
    for make in (queued, queued, running, scheduled, retrying, failed, succeeded):
        await make(store)
    await queued(store, queue="other")
    await beat(store, "a")
    await beat(store, "b", stopping=True)
    await pass_time(store, 5, tables=["tasks"])

    default, other = await store.queues.figures()

    assert (default.name, default.ready, default.running, default.scheduled, default.retrying, default.failed) == (
        "default", 2, 1, 1, 1, 1,
    )  # fmt: skip
    assert (default.consumers, default.paused) == (1, False)
    assert default.oldest_queued_seconds is not None
    assert 5 <= default.oldest_queued_seconds < 60
    assert (other.name, other.ready, other.running, other.consumers) == ("other", 1, 0, 0)


async def test_an_empty_queue_has_nothing_old(store: Store) -> None:
    await succeeded(store)

    [figures] = await store.queues.figures()

    assert (figures.ready, figures.oldest_queued_seconds) == (0, None)


async def test_queues_with_old_queued_tasks_are_named(store: Store) -> None:
    await queued(store, queue="old")
    await running(store, queue="busy")
    await pass_time(store, 61)
    await queued(store, queue="young")

    assert await store.queues.with_queued(older_than_s=60) == ["old"]


# Types ................................................................................

INFO = TaskTypeInfo(
    name="billing.invoice",
    queue="billing",
    summary="Send it",
    payload_schema={"type": "object"},
    result_schema={},
    max_attempts=5,
    timeout_s=1.5,
    soft_timeout_s=1.0,
    retry=RetryPolicy(first_delay_s=1, max_delay_s=9, jitter=0.25),
    example={"order_id": 1},
)


async def test_what_a_worker_announces_comes_back_as_it_was(store: Store) -> None:
    await store.task_types.announce([INFO])

    assert await store.task_types.all() == {"billing.invoice": INFO}


async def test_the_newest_announcement_of_a_type_wins_and_others_stay(store: Store) -> None:
    other = TaskTypeInfo(name="other", payload_schema={}, result_schema={})
    newer = TaskTypeInfo(name="billing.invoice", payload_schema={}, result_schema={})
    await store.task_types.announce([INFO, other])

    await store.task_types.announce([newer])

    assert await store.task_types.all() == {"billing.invoice": newer, "other": other}


async def test_many_workers_may_start_at_once(store: Store) -> None:
    types = [TaskTypeInfo(name=f"t{n}", payload_schema={}, result_schema={}) for n in range(20)]

    results = await at_once(*(store.task_types.announce(types[::step]) for step in (1, -1) * 4))

    assert results == [None] * 8


async def test_live_workers_are_counted_by_type(store: Store) -> None:
    await beat(store, "a", types=["x", "y"])
    await beat(store, "b", types=["y"])

    assert await store.task_types.live_workers() == {"x": 1, "y": 2}


# Workers ..............................................................................


async def test_a_heartbeat_shows_a_worker_and_what_runs_there(store: Store) -> None:
    task_id = await running(store, worker="a")
    await running(store, worker="b")
    await succeeded(store)

    rows = await beat(store, "a", queues={"default": 5, "reports": 2})

    [view] = await store.workers.all()
    assert [(row.task_id, row.attempt, row.cancel_requested) for row in rows] == [(task_id, 1, False)]
    assert (view.id, view.queues, view.healthy, view.stopping, view.stale) == (
        "a", {"default": 5, "reports": 2}, True, False, False,
    )  # fmt: skip


async def test_a_worker_without_heartbeats_becomes_stale(store: Store) -> None:
    await gone_silent(store, "a")

    assert [view.stale for view in await store.workers.all()] == [True]


async def steady_for_s(store: Store, worker: str) -> float:
    [row] = await execute(
        store, "SELECT extract(epoch FROM now() - steady_since)::float8 AS s FROM workers WHERE id = :id", id=worker
    )
    return float(row.s)


async def test_heartbeats_without_a_gap_keep_a_worker_steady(store: Store) -> None:
    await beat(store, "a")
    await pass_time(store, STALE_S / 2 - 1)

    await beat(store, "a")

    assert await steady_for_s(store, "a") >= STALE_S / 2 - 1


async def test_a_gap_between_heartbeats_begins_the_steadiness_anew(store: Store) -> None:
    await beat(store, "a")
    await pass_time(store, STALE_S / 2 + 1)

    await beat(store, "a")

    assert await steady_for_s(store, "a") < STALE_S / 2


async def test_a_worker_that_leaves_is_forgotten(store: Store) -> None:
    await beat(store, "a")
    await beat(store, "b")

    await store.workers.leave("a")

    assert [view.id for view in await store.workers.all()] == ["b"]
    await store.workers.leave("a")


async def test_a_lost_worker_is_shown_for_a_while_and_as_long_as_it_holds_a_task(store: Store) -> None:
    await running(store, worker="holder")
    await gone_silent(store, "holder", for_s=7200)
    await gone_silent(store, "long gone", for_s=7200)
    await gone_silent(store, "just gone", for_s=60)

    assert await store.workers.forget_lost(older_than_s=3600) == 1
    assert {view.id for view in await store.workers.all()} == {"holder", "just gone"}


# Dead letters .........................................................................


async def test_an_unreadable_message_is_kept_for_a_person(store: Store) -> None:
    letter_id = await store.dead_letters.record_unreadable(b"\x00\xff" * 40_000, queue="default", reason="malformed")

    letter = await store.dead_letters.get(letter_id)

    assert (letter.task_id, letter.type, letter.queue, letter.reason) == (None, None, "default", "malformed")
    assert letter.body == (b"\x00\xff" * 40_000)[: 64 * 1024]


async def test_dead_letters_are_listed_the_latest_first_by_what_is_wanted(store: Store) -> None:
    first = await failed(store, queue="other")
    second = await failed(store)
    third = await store.dead_letters.record_unreadable(b"x", queue="default", reason="malformed")

    async def page(limit: int = 9, before: tuple[datetime, UUID] | None = None, **wanted: str) -> list[UUID]:
        letters = await store.dead_letters.page(DeadLetterFilter(**wanted), limit=limit, before=before)
        return [letter.id for letter in letters]

    assert await page() == [third, second, first]
    assert await page(limit=1) == [third]
    latest = await store.dead_letters.get(third)
    assert await page(before=(latest.died_at, latest.id)) == [second, first]
    assert await page(queue="other") == [first]
    assert await page(type="probe.echo") == [second, first]
    assert await page(reason="malformed") == [third]


async def test_a_discarded_dead_letter_is_gone_and_its_task_stays_failed(store: Store) -> None:
    task_id = await failed(store)

    await store.dead_letters.discard(task_id)

    for gone in (store.dead_letters.get, store.dead_letters.discard):
        with pytest.raises(DeadLetterNotFoundError):
            await gone(task_id)
    assert (await store.tasks.get(task_id)).status == "failed"


async def test_old_unreadable_messages_are_forgotten_but_no_failed_task(store: Store) -> None:
    await failed(store)
    await store.dead_letters.record_unreadable(b"x", queue="default", reason="malformed")
    await pass_time(store, 8 * 86400)
    await store.dead_letters.record_unreadable(b"x", queue="default", reason="malformed")

    assert await store.dead_letters.forget_unreadable(older_than_days=7) == 1
    assert len(await execute(store, "SELECT 1 FROM dead_letters")) == 2
