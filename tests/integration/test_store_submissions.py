"""How tasks are born: alone, in batches, repeated, and under keys."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from shared.domain.task import Accepted, IdempotencyKey, NewTask, UniqueKey
from shared.errors import IdempotencyConflictError
from shared.store.store import Store
from shared.store.submissions import IDEMPOTENCY_S, Born
from tests.builders import (
    SUCCEEDED,
    at_once,
    claim,
    doorbells,
    execute,
    finish,
    new_task,
    pass_time,
    status_of,
    succeeded,
)


def idempotent(key: bytes = b"k", body: bytes = b"body", **fields: Any) -> NewTask:
    return new_task(idempotency=IdempotencyKey(key, key + body), **fields)


def unique(key: bytes = b"u", for_s: float | None = None, **fields: Any) -> NewTask:
    return new_task(unique=UniqueKey(key, for_s), **fields)


async def accept(store: Store, *tasks: NewTask) -> Born:
    return await store.submissions.accept(tasks)


async def answer(store: Store, task: NewTask) -> Accepted:
    [only] = (await accept(store, task)).answers
    assert isinstance(only, Accepted)
    return only


async def stored(store: Store) -> set[Any]:
    return {row.id for row in await execute(store, "SELECT id FROM tasks")}


# Birth ................................................................................


async def test_a_task_that_is_due_is_queued_with_its_doorbell(store: Store) -> None:
    task = new_task(priority="high")

    born = await accept(store, task)

    [accepted], [ring] = born.answers, born.rings
    assert isinstance(accepted, Accepted)
    assert (accepted.task_id, accepted.status, accepted.duplicate) == (task.id, "queued", False)
    assert (ring.task_id, ring.attempt, ring.queue, ring.priority) == (task.id, 1, "default", "high")
    assert await doorbells(store) == [(task.id, 1)]


async def test_everything_about_a_task_is_stored(store: Store) -> None:
    parent = new_task()
    run_at = datetime.now(UTC) + timedelta(hours=1)
    task = new_task(
        type="billing.invoice", queue="billing", payload='{"a":"\\u0000"}', max_attempts=7, timeout_s=1.5,
        soft_timeout_s=0.5, priority="high", run_at=run_at, expires_in_s=7200.0, tags=('a"b', "c\\d", "{,}", "", "ü"),
        unique=UniqueKey(b"\x00\xff"), parent_id=parent.id, request_id="req-1",
    )  # fmt: skip

    await accept(store, task)

    record = await store.tasks.get(task.id)
    same = ("id", "type", "queue", "payload", "max_attempts", "timeout_s", "soft_timeout_s", "priority", "run_at",
            "parent_id", "request_id")  # fmt: skip
    assert {name: getattr(record, name) for name in same} == {name: getattr(task, name) for name in same}
    assert record.tags == list(task.tags)
    assert record.unique_key == b"\x00\xff"
    assert record.expires_at == record.created_at + timedelta(hours=2)
    assert (record.status, record.attempt, record.version, record.errors) == ("scheduled", 0, 1, [])


@pytest.mark.parametrize("when", [{"delay_s": 60.0}, {"run_at": datetime(2999, 1, 1, tzinfo=UTC)}], ids=str)
async def test_a_task_for_later_is_scheduled_without_a_doorbell(store: Store, when: dict[str, Any]) -> None:
    born = await accept(store, new_task(**when))

    assert [accepted.status for accepted in born.answers if isinstance(accepted, Accepted)] == ["scheduled"]
    assert (born.rings, await doorbells(store)) == ([], [])


@pytest.mark.parametrize("when", [{"delay_s": 0.0}, {"run_at": datetime(2020, 1, 1, tzinfo=UTC)}], ids=str)
async def test_a_moment_that_has_passed_means_now(store: Store, when: dict[str, Any]) -> None:
    assert (await answer(store, new_task(**when))).status == "queued"


async def test_a_moment_without_a_time_zone_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="aware"):
        await accept(store, new_task(run_at=datetime(2999, 1, 1)))  # noqa: DTZ001 - the fault under test


async def test_nothing_to_accept_is_nothing_accepted(store: Store) -> None:
    assert await accept(store) == Born()


async def test_a_batch_is_answered_in_its_order(store: Store) -> None:
    tasks = [new_task(queue=f"q{n % 3}", delay_s=60.0 if n % 2 else None) for n in range(50)]

    born = await accept(store, *tasks)

    assert [accepted.task_id for accepted in born.answers if isinstance(accepted, Accepted)] == [t.id for t in tasks]
    assert {ring.task_id for ring in born.rings} == {task.id for task in tasks[::2]}
    assert await stored(store) == {task.id for task in tasks}
    assert {row.name for row in await execute(store, "SELECT name FROM queues")} == {"q0", "q1", "q2"}


@pytest.mark.parametrize("poison", [{"tags": ("a\x00",)}, {"payload": "\x00"}, {"max_attempts": 2**40}], ids=str)
async def test_one_task_that_can_not_be_stored_stores_nothing_of_its_batch(
    store: Store, poison: dict[str, Any]
) -> None:
    with pytest.raises((asyncpg.DataError, asyncpg.InterfaceError)):
        await accept(store, new_task(), new_task(**poison), idempotent())

    assert await stored(store) == set()
    assert await execute(store, "SELECT 1 FROM task_keys") == []


async def test_a_batch_whose_answer_was_lost_is_found_again_not_stored_twice(store: Store) -> None:
    tasks = [new_task(), idempotent(), unique(), new_task(delay_s=60.0)]
    first = await accept(store, *tasks)

    again = await accept(store, *tasks)

    assert again.answers == first.answers
    assert again.rings == []
    assert len(await doorbells(store)) == 3


async def test_many_batches_at_once_are_all_stored(store: Store) -> None:
    batches = [[new_task(queue=f"new-{n}"), idempotent(b"%d" % n), unique(b"%d" % n)] for n in range(10)]

    results = await at_once(*(accept(store, *batch) for batch in batches))

    assert all(isinstance(result, Born) for result in results)
    assert await stored(store) == {task.id for batch in batches for task in batch}


# Idempotency ..........................................................................


async def test_the_same_key_and_body_is_answered_with_the_first_task(store: Store) -> None:
    first = await answer(store, idempotent())

    again = await answer(store, idempotent())

    assert (again.task_id, again.duplicate, first.duplicate) == (first.task_id, True, False)
    assert await stored(store) == {first.task_id}


async def test_a_repeat_shows_where_the_first_task_stands_even_when_it_is_done(store: Store) -> None:
    first = await answer(store, idempotent())
    await claim(store, first.task_id)
    await finish(store, first.task_id, SUCCEEDED)

    assert (await answer(store, idempotent())).status == "succeeded"


async def test_the_same_key_with_another_body_is_a_conflict_and_stores_nothing(store: Store) -> None:
    first = await answer(store, idempotent())

    [conflict] = (await accept(store, idempotent(body=b"other"))).answers

    assert isinstance(conflict, IdempotencyConflictError)
    assert await stored(store) == {first.task_id}
    assert (await answer(store, idempotent())).task_id == first.task_id


async def test_a_conflict_fails_none_of_its_neighbours(store: Store) -> None:
    await accept(store, idempotent())
    other, keyed = new_task(), idempotent(b"other")

    answers = (await accept(store, other, idempotent(body=b"changed"), keyed)).answers

    assert [type(one) for one in answers] == [Accepted, IdempotencyConflictError, Accepted]
    assert await stored(store) >= {other.id, keyed.id}


async def test_a_batch_that_conflicts_in_one_item_gives_back_the_keys_of_the_others(store: Store) -> None:
    await accept(store, idempotent(b"k0"))
    changed = [
        new_task(idempotency=IdempotencyKey(b"k0", b"changed")),
        new_task(idempotency=IdempotencyKey(b"k1", b"changed")),
    ]

    answers = (await accept(store, *changed)).answers

    assert [type(one) for one in answers] == [IdempotencyConflictError] * 2
    assert not (await answer(store, idempotent(b"k1"))).duplicate


async def test_a_key_is_forgotten_after_a_day(store: Store) -> None:
    await accept(store, idempotent())
    await pass_time(store, IDEMPOTENCY_S + 1)

    assert not (await answer(store, idempotent(body=b"other"))).duplicate


async def test_repeats_in_one_batch_give_one_task(store: Store) -> None:
    first, second = idempotent(), idempotent()

    answers = (await accept(store, first, second)).answers

    assert [(a.task_id, a.duplicate) for a in answers if isinstance(a, Accepted)] == [
        (first.id, False),
        (first.id, True),
    ]


async def test_concurrent_repeats_give_one_task(store: Store) -> None:
    results = await at_once(*(answer(store, idempotent()) for _ in range(10)))

    assert len({result.task_id for result in results}) == 1
    assert sorted(result.duplicate for result in results) == [False] + [True] * 9
    assert len(await stored(store)) == 1


async def test_a_repeat_of_a_task_that_retention_took_is_a_new_task(store: Store) -> None:
    first = await answer(store, idempotent())
    await claim(store, first.task_id)
    await finish(store, first.task_id, SUCCEEDED)
    assert (await store.tasks.forget(older_than_days=0, limit=10)).tasks == 1

    again = await answer(store, idempotent())

    assert not again.duplicate
    assert await stored(store) == {again.task_id}


# Uniqueness ...........................................................................


async def test_while_a_task_is_open_its_key_stands_for_it(store: Store) -> None:
    first = await answer(store, unique())

    again = await answer(store, unique())

    assert (again.task_id, again.duplicate) == (first.task_id, True)
    assert await stored(store) == {first.task_id}


async def test_other_keys_and_other_kinds_of_keys_do_not_meet(store: Store) -> None:
    tasks = [unique(b"k"), idempotent(b"k"), unique(b"l"), new_task()]

    assert not any(a.duplicate for a in (await accept(store, *tasks)).answers if isinstance(a, Accepted))


async def test_a_key_that_is_kept_outlives_its_task(store: Store) -> None:
    first = await succeeded(store, unique=UniqueKey(b"u", 300))
    await pass_time(store, 299)
    assert (await answer(store, unique(for_s=300))).task_id == first

    await pass_time(store, 2)
    assert (await answer(store, unique(for_s=300))).task_id != first


async def test_a_key_that_is_kept_is_held_by_its_open_task_even_longer(store: Store) -> None:
    first = await answer(store, unique(for_s=300))
    await pass_time(store, 301)

    assert (await answer(store, unique())).task_id == first.task_id


async def test_concurrent_tasks_with_one_key_give_one_task(store: Store) -> None:
    results = await at_once(*(answer(store, unique()) for _ in range(10)))

    assert len({result.task_id for result in results}) == 1
    assert len(await stored(store)) == 1


async def test_batches_with_the_same_keys_in_another_order_do_not_block_each_other(store: Store) -> None:
    names = [b"%d" % n for n in range(20)]
    batches = [[unique(name) for name in order] for order in (names, names[::-1])] * 5

    results = await at_once(*(accept(store, *[unique(t.unique.key) for t in b if t.unique]) for b in batches))

    assert all(isinstance(result, Born) for result in results)
    assert len(await stored(store)) == 20


async def test_a_repeat_of_a_task_that_was_itself_a_duplicate_finds_the_same_task(store: Store) -> None:
    holder = await answer(store, unique())
    await answer(store, idempotent(unique=UniqueKey(b"u")))

    again = await answer(store, idempotent(unique=UniqueKey(b"u")))

    assert (again.task_id, again.duplicate) == (holder.task_id, True)


async def test_keys_that_meet_within_one_batch_lead_to_the_one_task_that_is_stored(store: Store) -> None:
    holder = await answer(store, unique())
    batch = [idempotent(unique=UniqueKey(b"u")), idempotent(unique=UniqueKey(b"u")), unique(), idempotent(b"l")]

    answers = (await accept(store, *batch)).answers

    assert [a.task_id for a in answers if isinstance(a, Accepted)] == [holder.task_id] * 3 + [batch[3].id]
    assert await stored(store) == {holder.task_id, batch[3].id}


async def test_a_lost_answer_that_is_asked_for_after_the_task_has_ended_does_not_lock_its_key(store: Store) -> None:
    """The first commit happened, the task ran, and only then the submission is repeated."""
    task = unique()
    await accept(store, task)
    await claim(store, task.id)
    await finish(store, task.id, SUCCEEDED)

    repeated = await answer(store, task)

    assert (repeated.task_id, repeated.status) == (task.id, "succeeded")
    assert not (await answer(store, unique())).duplicate


async def test_a_lost_answer_is_repeated_with_the_status_of_now(store: Store) -> None:
    task = new_task()
    await accept(store, task)
    await claim(store, task.id)

    assert (await answer(store, task)).status == await status_of(store, task.id) == "running"
