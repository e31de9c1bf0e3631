"""The moves of tasks: each from where the table allows it, under its guards, and from nowhere else."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.domain.message import Due
from shared.domain.outcome import Outcome
from shared.domain.status import CANCEL, CLAIM, EXPIRE, FINAL, FINISH, RELEASE, RENEW, RESCUE, WAITING, TaskStatus
from shared.domain.task import UniqueKey
from shared.errors import IllegalMoveError, TaskNotFoundError, UniqueConflictError
from shared.store.finishing import Ending
from shared.store.lifecycle import Progress
from shared.store.statement import text
from shared.store.store import Store
from tests.builders import (
    BOOM,
    CANCELLED,
    FAILED,
    IN_STATUS,
    RETRYING,
    RETURNED,
    STALE_S,
    SUCCEEDED,
    TYPE,
    at_once,
    beat,
    claim,
    doorbells,
    ended,
    execute,
    expired,
    failed,
    finish,
    gone_silent,
    held,
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

S = TaskStatus
OUTCOMES = [SUCCEEDED, FAILED, RETRYING, CANCELLED, RETURNED]


def named(outcome: Outcome) -> str:
    return outcome.status.value


def not_in(statuses: frozenset[TaskStatus]) -> list[TaskStatus]:
    return sorted(frozenset(S) - statuses)


# Claim ................................................................................


async def test_a_claim_starts_the_attempt_and_says_by_whom(store: Store) -> None:
    task_id = await queued(store)

    [task] = await claim(store, task_id, worker="a")

    assert (task.id, task.status, task.attempt, task.worker) == (task_id, "running", 1, "a")
    assert task.started_at is not None
    assert task.version == 2
    assert await store.tasks.get(task_id) == task


async def test_a_second_copy_of_a_message_claims_nothing(store: Store) -> None:
    task_id = await queued(store)

    first = await claim(store, task_id, worker="a")
    second = await claim(store, task_id, worker="b")

    assert (len(first), second) == (1, [])


async def test_a_claim_whose_answer_was_lost_gives_the_same_task_again(store: Store) -> None:
    task_id = await queued(store)
    [first] = await claim(store, task_id, worker="a")

    [again] = await claim(store, task_id, worker="a")

    assert (again.id, again.attempt, again.worker) == (first.id, 1, "a")


@pytest.mark.parametrize("attempt", [1, 3])
async def test_only_the_next_attempt_can_be_claimed(store: Store, attempt: int) -> None:
    task_id = await retrying(store)
    await pass_time(store, 61)
    await store.lifecycle.release(10)

    assert await claim(store, task_id, attempt=attempt) == []
    assert len(await claim(store, task_id, attempt=2)) == 1


async def test_an_old_message_can_not_start_an_attempt_of_its_own_worker_again(store: Store) -> None:
    task_id = await retrying(store)
    await pass_time(store, 61)
    await store.lifecycle.release(10)
    await claim(store, task_id, attempt=2, worker="a")

    assert await claim(store, task_id, attempt=1, worker="a") == []


@pytest.mark.parametrize("status", not_in(CLAIM.sources | {S.RUNNING}))
async def test_only_queued_tasks_can_be_claimed(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    attempt = (await store.tasks.get(task_id)).attempt

    assert await claim(store, task_id, attempt=attempt, worker="a") == []
    assert await claim(store, task_id, attempt=attempt + 1, worker="a") == []
    assert await status_of(store, task_id) == status


async def test_a_type_that_the_worker_does_not_know_is_left(store: Store) -> None:
    task_id = await queued(store)

    assert await claim(store, task_id, types=["another.type"]) == []
    assert await status_of(store, task_id) == "queued"


async def test_a_task_past_its_expiry_is_not_started(store: Store) -> None:
    task_id = await queued(store, expires_in_s=60.0)
    await pass_time(store, 61)

    assert await claim(store, task_id) == []
    assert await status_of(store, task_id) == "queued"


async def test_a_task_before_its_expiry_is_started(store: Store) -> None:
    assert len(await claim(store, await queued(store, expires_in_s=60.0))) == 1


async def test_a_new_attempt_begins_without_the_progress_of_the_last(store: Store) -> None:
    task_id = await running(store)
    await finish(store, task_id, Outcome(S.RETRYING, failure=BOOM), progress='{"done":1}')
    await store.lifecycle.release(10)

    [task] = await claim(store, task_id, attempt=2)

    assert task.progress is None


async def test_one_claim_takes_many_and_leaves_what_is_not_to_be_had(store: Store) -> None:
    ids = [await queued(store) for _ in range(5)]
    await store.lifecycle.cancel(ids[2])
    due = [Due(task_id, 1) for task_id in ids]

    claimed = await store.lifecycle.claim([*due, Due(uuid4(), 1), due[0]], worker="a", types=[TYPE])

    assert {task.id for task in claimed} == {*ids} - {ids[2]}
    assert len(claimed) == 4


async def test_nothing_to_claim_is_nothing_claimed(store: Store) -> None:
    assert await store.lifecycle.claim([], worker="a", types=[TYPE]) == []


async def test_of_many_workers_that_claim_at_once_one_gets_the_task(store: Store) -> None:
    ids = [await queued(store) for _ in range(10)]
    due = [Due(task_id, 1) for task_id in ids]

    claims = await at_once(*(store.lifecycle.claim(due, worker=name, types=[TYPE]) for name in "abcdef"))

    claimed = [task.id for tasks in claims for task in tasks]
    assert sorted(claimed) == sorted(ids)


# Finish ...............................................................................


async def test_a_success_is_stored_with_its_result(store: Store) -> None:
    task_id = await running(store)

    finished = await finish(store, task_id, SUCCEEDED, progress='{"percent":100.0}')

    [task] = finished.tasks
    assert (task.status, task.result, task.error, task.errors) == ("succeeded", '{"ok":true}', None, [])
    assert task.progress == '{"percent":100.0}'
    assert task.finished_at is not None
    assert (finished.rings, finished.refused) == ([], [])
    assert await store.tasks.get(task_id) == task


async def test_a_failure_is_stored_as_a_dead_letter_in_the_same_move(store: Store) -> None:
    task_id = await running(store)

    [task] = (await finish(store, task_id, FAILED)).tasks
    letter = await store.dead_letters.get(task_id)

    assert task.status == "failed"
    assert task.finished_at is not None
    assert task.error is not None
    assert json.loads(task.error) == {"kind": "OSError", "message": "connection reset", "traceback": "Traceback …"}
    assert task.errors == [task.error]
    assert (letter.task_id, letter.type, letter.queue, letter.reason, letter.error) == (
        task_id, TYPE, "default", "OSError", task.error,
    )  # fmt: skip


async def test_a_retry_waits_for_its_moment_and_is_no_dead_letter(store: Store) -> None:
    task_id = await running(store)

    finished = await finish(store, task_id, RETRYING)

    [task] = finished.tasks
    assert (task.status, task.attempt, task.finished_at) == ("retrying", 1, None)
    assert task.run_at is not None
    assert timedelta(seconds=50) < task.run_at - datetime.now(UTC) < timedelta(seconds=61)
    assert finished.rings == []
    assert await doorbells(store) == []


async def test_a_task_that_is_handed_back_has_its_attempt_and_a_doorbell_again(store: Store) -> None:
    task_id = await running(store)

    finished = await finish(store, task_id, RETURNED)

    [task], [ring] = finished.tasks, finished.rings
    assert (task.status, task.attempt, task.errors) == ("queued", 0, [])
    assert (ring.task_id, ring.attempt) == (task_id, 1)
    assert await doorbells(store) == [(task_id, 1)]
    assert len(await claim(store, task_id, attempt=1, worker="b")) == 1


async def test_errors_of_all_attempts_are_kept_and_the_last_success_shows_none(store: Store) -> None:
    task_id = await running(store)
    await finish(store, task_id, Outcome(S.RETRYING, failure=BOOM))
    await store.lifecycle.release(10)
    await claim(store, task_id, attempt=2)

    [task] = (await finish(store, task_id, SUCCEEDED, attempt=2)).tasks

    assert (task.error, len(task.errors)) == (None, 1)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_an_outcome_of_another_attempt_is_refused(store: Store, outcome: Outcome) -> None:
    task_id = await retrying(store)
    await pass_time(store, 61)
    await store.lifecycle.release(10)
    await claim(store, task_id, attempt=2, worker="a")

    finished = await finish(store, task_id, outcome, attempt=1, worker="a")

    assert (finished.tasks, finished.rings, finished.refused) == ([], [], [task_id])
    assert await status_of(store, task_id) == "running"


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_an_outcome_of_another_worker_is_refused(store: Store, outcome: Outcome) -> None:
    task_id = await running(store, worker="b")

    finished = await finish(store, task_id, outcome, worker="a")

    assert (finished.tasks, finished.rings, finished.refused) == ([], [], [task_id])
    assert await status_of(store, task_id) == "running"


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
@pytest.mark.parametrize("status", not_in(FINISH.sources))
async def test_only_a_running_task_can_be_finished(store: Store, status: TaskStatus, outcome: Outcome) -> None:
    task_id = await IN_STATUS[status](store)
    # As if it had been moved away from under its worker, which is the one that asks.
    await execute(store, "UPDATE tasks SET worker = 'a', attempt = 1 WHERE id = :id", id=task_id)
    before = await store.tasks.get(task_id)

    finished = await finish(store, task_id, outcome)

    assert finished.rings == []
    assert await store.tasks.get(task_id) == before


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
async def test_a_finish_whose_answer_was_lost_counts_as_done_when_repeated(store: Store, outcome: Outcome) -> None:
    task_id = await running(store)
    [first] = (await finish(store, task_id, outcome)).tasks

    again = await finish(store, task_id, outcome)

    assert (again.tasks, again.rings, again.refused) == ([first], [], [])
    assert await store.tasks.get(task_id) == first


async def test_an_end_of_a_later_attempt_does_not_count_as_that_of_an_earlier(store: Store) -> None:
    task_id = await running(store)
    await finish(store, task_id, Outcome(S.RETRYING, failure=BOOM))
    await store.lifecycle.release(10)
    await claim(store, task_id, attempt=2)
    await finish(store, task_id, SUCCEEDED, attempt=2)

    assert (await finish(store, task_id, SUCCEEDED, attempt=1)).refused == [task_id]


async def test_an_attempt_that_runs_does_not_count_as_one_that_was_handed_back(store: Store) -> None:
    task_id = await running(store)

    assert (await finish(store, task_id, RETURNED, attempt=2)).refused == [task_id]


async def test_a_task_that_is_gone_is_refused(store: Store) -> None:
    missing = uuid4()

    assert (await finish(store, missing, SUCCEEDED)).refused == [missing]


async def test_a_result_of_a_worker_given_up_for_dead_is_refused(store: Store) -> None:
    task_id = await running(store, worker="lost")
    await steady(store, "rescuer")
    await store.lifecycle.rescue(10, rescuer="rescuer")

    assert (await finish(store, task_id, SUCCEEDED, worker="lost")).refused == [task_id]
    assert await status_of(store, task_id) == "queued"


async def test_many_are_finished_together_each_in_its_own_way(store: Store) -> None:
    ids = [await running(store) for _ in OUTCOMES]
    stranger = await running(store, worker="b")
    endings = [Ending(await held(store, id_), outcome) for id_, outcome in zip(ids, OUTCOMES, strict=True)]
    endings.append(Ending(await held(store, stranger), SUCCEEDED))

    finished = await store.lifecycle.finish(endings, worker="a")

    by_id = {task.id: task.status for task in finished.tasks}
    assert [by_id[task_id] for task_id in ids] == ["succeeded", "failed", "retrying", "cancelled", "queued"]
    assert [ring.task_id for ring in finished.rings] == [ids[4]]
    assert finished.refused == [stranger]


async def test_two_finishes_of_one_attempt_at_once_write_it_once(store: Store) -> None:
    task_id = await running(store)

    await at_once(finish(store, task_id, SUCCEEDED), finish(store, task_id, FAILED))

    task = await store.tasks.get(task_id)
    assert task.version == 3
    assert task.status in {"succeeded", "failed"}


@pytest.mark.parametrize("outcome", [RETRYING, RETURNED], ids=named)
async def test_a_cancel_request_beats_going_back_to_waiting(store: Store, outcome: Outcome) -> None:
    task_id = await running(store)
    await store.lifecycle.cancel(task_id)

    finished = await finish(store, task_id, outcome)

    [task] = finished.tasks
    assert task.status == "cancelled"
    assert task.finished_at is not None
    assert finished.rings == []
    assert await doorbells(store) == []


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED], ids=named)
async def test_a_cancel_request_does_not_change_what_has_ended(store: Store, outcome: Outcome) -> None:
    task_id = await running(store)
    await store.lifecycle.cancel(task_id)

    [task] = (await finish(store, task_id, outcome)).tasks

    assert task.status == outcome.status


# Progress .............................................................................


async def report(store: Store, task_id: Any, *, attempt: int = 1, worker: str = "a") -> int:
    return len(await store.lifecycle.report_progress([Progress(task_id, attempt, '{"done":1}')], worker=worker))


async def test_progress_of_a_running_attempt_is_stored_as_a_new_version(store: Store) -> None:
    task_id = await running(store)
    before = await store.tasks.get(task_id)

    assert await report(store, task_id) == 1

    task = await store.tasks.get(task_id)
    assert (task.progress, task.version) == ('{"done":1}', before.version + 1)


async def test_progress_of_another_attempt_or_worker_or_after_the_end_is_ignored(store: Store) -> None:
    task_id, done = await running(store), await succeeded(store)

    assert await report(store, task_id, attempt=2) == 0
    assert await report(store, task_id, worker="b") == 0
    assert await report(store, done) == 0
    assert (await store.tasks.get(task_id)).progress is None


async def test_an_end_without_new_progress_keeps_what_was_stored(store: Store) -> None:
    task_id = await running(store)
    await report(store, task_id)

    [task] = (await finish(store, task_id, SUCCEEDED)).tasks

    assert task.progress == '{"done":1}'


# Release and expire ...................................................................


@pytest.mark.parametrize("status", sorted(RELEASE.sources))
async def test_what_is_due_is_queued_with_a_doorbell(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    assert (await store.lifecycle.release(10)).tasks == []
    await pass_time(store, 3601)

    moved = await store.lifecycle.release(10)

    [task], [ring] = moved.tasks, moved.rings
    assert (task.id, task.status) == (task_id, "queued")
    assert (ring.task_id, ring.attempt) == (task_id, task.attempt + 1)
    assert await doorbells(store) == [(task_id, task.attempt + 1)]


@pytest.mark.parametrize("status", not_in(RELEASE.sources))
async def test_nothing_else_is_released(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    await execute(store, "UPDATE tasks SET run_at = now() - interval '1 hour'")

    assert (await store.lifecycle.release(10)).tasks == []
    assert await status_of(store, task_id) == status


async def test_a_round_releases_no_more_than_its_limit_the_longest_due_first(store: Store) -> None:
    late, later = await scheduled(store, delay_s=20.0), await scheduled(store, delay_s=10.0)
    await pass_time(store, 21)

    assert [task.id for task in (await store.lifecycle.release(1)).tasks] == [later]
    assert [task.id for task in (await store.lifecycle.release(1)).tasks] == [late]


@pytest.mark.parametrize("status", sorted(EXPIRE.sources))
async def test_what_waits_past_its_expiry_expires(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store, expires_in_s=7200.0)
    assert (await store.lifecycle.expire(10)).tasks == []
    await pass_time(store, 7201)

    moved = await store.lifecycle.expire(10)

    [task] = moved.tasks
    assert (task.id, task.status, moved.rings) == (task_id, "expired", [])
    assert task.finished_at is not None


@pytest.mark.parametrize("status", not_in(EXPIRE.sources))
async def test_what_runs_or_has_ended_does_not_expire(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    await execute(store, "UPDATE tasks SET expires_at = now() - interval '1 hour'")

    assert (await store.lifecycle.expire(10)).tasks == []
    assert await status_of(store, task_id) == status


@pytest.mark.parametrize("move", ["release", "expire"])
async def test_two_replicas_of_a_loop_move_each_task_once(store: Store, move: str) -> None:
    ids = [await scheduled(store, expires_in_s=7200.0) for _ in range(20)]
    await pass_time(store, 7201)

    rounds = await at_once(*(getattr(store.lifecycle, move)(5) for _ in range(8)))

    moved = [task.id for round_ in rounds for task in round_.tasks]
    assert len(moved) == len(set(moved))
    assert set(moved) <= set(ids)
    assert len(await doorbells(store)) == (len(moved) if move == "release" else 0)


async def test_no_loop_waits_for_a_row_that_somebody_holds(store: Store) -> None:
    held = [
        await running(store, worker="lost"), await scheduled(store, delay_s=1.0), await succeeded(store),
        await queued(store, expires_in_s=1.0),
    ]  # fmt: skip
    await pass_time(store, 60)
    await steady(store, "rescuer")

    async with store.database.transaction() as connection, asyncio.timeout(5):
        await connection.execute(text("SELECT 1 FROM tasks FOR UPDATE"))
        for move in (store.lifecycle.release(10), store.lifecycle.expire(10)):
            assert (await move).tasks == []
        assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []
        assert (await store.tasks.forget(older_than_days=0, limit=10)).tasks == 0

    assert [await status_of(store, task_id) for task_id in held] == ["running", "scheduled", "succeeded", "queued"]


# Rescue ...............................................................................


async def test_the_tasks_of_a_silent_worker_are_queued_again_and_the_attempt_is_spent(store: Store) -> None:
    task_id = await running(store, worker="silent")
    await gone_silent(store, "silent")
    await steady(store, "rescuer")

    moved = await store.lifecycle.rescue(10, rescuer="rescuer")

    [task], [ring] = moved.tasks, moved.rings
    assert (task.id, task.status, task.attempt, task.worker) == (task_id, "queued", 1, None)
    assert [json.loads(error)["kind"] for error in task.errors] == ["worker_lost"]
    assert (ring.task_id, ring.attempt) == (task_id, 2)


async def test_the_tasks_of_a_worker_that_left_are_rescued_at_once(store: Store) -> None:
    task_id = await running(store, worker="left")
    await beat(store, "left")
    await store.workers.leave("left")
    await steady(store, "rescuer")

    assert [task.id for task in (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks] == [task_id]


async def test_the_tasks_of_a_worker_that_beats_are_left_to_it(store: Store) -> None:
    task_id = await running(store, worker="alive")
    await gone_silent(store, "alive", for_s=STALE_S - 2)
    await steady(store, "rescuer")

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []
    assert await status_of(store, task_id) == "running"


async def test_a_task_that_killed_its_worker_too_often_fails_as_a_dead_letter(store: Store) -> None:
    task_id = await running(store, worker="lost", max_attempts=1)
    await steady(store, "rescuer")

    moved = await store.lifecycle.rescue(10, rescuer="rescuer")

    [task] = moved.tasks
    assert (task.status, moved.rings) == ("failed", [])
    assert task.finished_at is not None
    assert (await store.dead_letters.get(task_id)).reason == "worker_lost"


async def test_attempts_before_a_renewal_do_not_count_for_a_rescue(store: Store) -> None:
    task_id = await failed(store, max_attempts=2)
    await store.lifecycle.renew(task_id)
    await claim(store, task_id, attempt=2, worker="lost")
    await steady(store, "rescuer")

    [task] = (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks

    assert task.status == "queued"


async def test_a_cancel_request_beats_a_rescue(store: Store) -> None:
    task_id = await running(store, worker="lost")
    await store.lifecycle.cancel(task_id)
    await steady(store, "rescuer")

    moved = await store.lifecycle.rescue(10, rescuer="rescuer")

    [task] = moved.tasks
    assert (task.status, moved.rings) == ("cancelled", [])
    assert task.finished_at is not None


@pytest.mark.parametrize("status", not_in(RESCUE.sources))
async def test_only_running_tasks_are_rescued(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    await execute(store, "UPDATE tasks SET worker = 'lost'")
    await steady(store, "rescuer")

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []
    assert await status_of(store, task_id) == status


async def test_a_worker_that_has_not_been_steady_long_enough_rescues_nothing(store: Store) -> None:
    task_id = await running(store, worker="lost")
    await beat(store, "rescuer")

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []
    assert await status_of(store, task_id) == "running"


async def test_a_worker_whose_own_heartbeat_is_stale_rescues_nothing(store: Store) -> None:
    await running(store, worker="lost")
    await steady(store, "rescuer")
    await execute(store, "UPDATE workers SET heartbeat_at = now() - interval '11 seconds'")

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []


async def test_nobody_without_a_heartbeat_rescues_anything(store: Store) -> None:
    await running(store, worker="lost")

    assert (await store.lifecycle.rescue(10, rescuer="stranger")).tasks == []


async def test_right_after_a_fault_nobody_is_rescued_though_the_rescuer_is_not_stale_itself(store: Store) -> None:
    """PostgreSQL hung for 9 of 10 seconds. A beat of the rescuer came just before, the other worker's was due."""
    task_id = await running(store, worker="other")
    await gone_silent(store, "other", STALE_S + 1)
    await steady(store, "rescuer")
    await execute(
        store,
        "UPDATE workers SET heartbeat_at = now() - make_interval(secs => :s) WHERE id = 'rescuer'",
        s=STALE_S - 1,
    )

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []
    assert await status_of(store, task_id) == "running"


async def test_who_knows_that_no_worker_is_alive_takes_everything_that_runs(store: Store) -> None:
    ids = [await running(store, worker="a"), await running(store, worker="b")]
    await steady(store, "a")

    moved = await store.lifecycle.rescue(10, rescuer=None)

    assert sorted(task.id for task in moved.tasks) == sorted(ids)
    assert {task.status for task in moved.tasks} == {"queued"}


async def test_a_worker_whose_own_heartbeat_has_become_old_waits_for_the_next(store: Store) -> None:
    """Right after a fault its own may look just young enough where that of another does not."""
    await running(store, worker="lost")
    await steady(store, "rescuer")
    await execute(store, "UPDATE workers SET heartbeat_at = now() - make_interval(secs => :s)", s=STALE_S * 0.6)

    assert (await store.lifecycle.rescue(10, rescuer="rescuer")).tasks == []


async def test_after_a_fault_that_silenced_everybody_nobody_is_rescued(store: Store) -> None:
    """All heartbeats are old, since PostgreSQL was away; the first to come back must not take the others' tasks."""
    task_id = await running(store, worker="a")
    await steady(store, "a")
    await steady(store, "b")
    await pass_time(store, 30)

    await beat(store, "b")

    assert (await store.lifecycle.rescue(10, rescuer="b")).tasks == []
    assert await status_of(store, task_id) == "running"


async def test_two_rescuers_rescue_each_task_once(store: Store) -> None:
    ids = [await running(store, worker="lost") for _ in range(10)]
    await steady(store, "b")
    await steady(store, "c")

    rounds = await at_once(*(store.lifecycle.rescue(10, rescuer=name) for name in "bcbc"))

    rescued = [task.id for round_ in rounds for task in round_.tasks]
    assert sorted(rescued) == sorted(ids)
    assert len(await doorbells(store)) == 10


# Cancel ...............................................................................


@pytest.mark.parametrize("status", sorted(CANCEL.sources))
async def test_what_waits_is_cancelled_at_once(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)

    [task] = (await store.lifecycle.cancel(task_id)).tasks

    assert task.status == "cancelled"
    assert task.finished_at is not None
    assert await store.tasks.get(task_id) == task


async def test_what_runs_is_asked_to_end(store: Store) -> None:
    task_id = await running(store)

    [task] = (await store.lifecycle.cancel(task_id)).tasks

    assert (task.status, task.cancel_requested, task.finished_at) == ("running", True, None)
    assert [here.cancel_requested for here in await beat(store, "a")] == [True]


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_what_is_final_can_not_be_cancelled(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    before = await store.tasks.get(task_id)

    with pytest.raises(IllegalMoveError, match=f"is {status}"):
        await store.lifecycle.cancel(task_id)
    assert await store.tasks.get(task_id) == before


async def test_what_does_not_exist_can_be_neither_cancelled_nor_renewed(store: Store) -> None:
    with pytest.raises(TaskNotFoundError):
        await store.lifecycle.cancel(uuid4())
    with pytest.raises(TaskNotFoundError):
        await store.lifecycle.renew(uuid4())


async def test_a_cancel_and_a_claim_at_once_agree_on_what_happened(store: Store) -> None:
    for _ in range(10):
        task_id = await queued(store)

        claimed, moved = await at_once(claim(store, task_id), store.lifecycle.cancel(task_id))

        [task] = moved.tasks
        assert bool(claimed) == (task.status == "running")
        assert task.cancel_requested


# Renew ................................................................................


@pytest.mark.parametrize("status", sorted(RENEW.sources))
async def test_a_renewed_task_starts_afresh_under_the_next_attempt_number(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)
    before = await store.tasks.get(task_id)

    moved = await store.lifecycle.renew(task_id)

    [task], [ring] = moved.tasks, moved.rings
    assert (task.status, task.attempts_used, task.attempt) == ("queued", 0, before.attempt)
    assert (task.cancel_requested, task.error, task.result, task.finished_at, task.expires_at) == (
        False, None, None, None, None,
    )  # fmt: skip
    assert task.errors == before.errors
    assert (ring.task_id, ring.attempt) == (task_id, before.attempt + 1)
    assert len(await claim(store, task_id, attempt=before.attempt + 1)) == 1


@pytest.mark.parametrize("status", not_in(RENEW.sources))
async def test_what_waits_runs_or_succeeded_can_not_be_renewed(store: Store, status: TaskStatus) -> None:
    task_id = await IN_STATUS[status](store)

    with pytest.raises(IllegalMoveError, match=f"is {status}"):
        await store.lifecycle.renew(task_id)
    assert await status_of(store, task_id) == status


async def test_a_renewed_task_is_no_longer_a_dead_letter(store: Store) -> None:
    task_id = await failed(store)

    await store.lifecycle.renew(task_id)

    assert await execute(store, "SELECT 1 FROM dead_letters") == []


async def test_an_old_message_stays_old_after_a_renewal(store: Store) -> None:
    task_id = await failed(store)
    await store.lifecycle.renew(task_id)

    assert await claim(store, task_id, attempt=1) == []
    assert (await finish(store, task_id, SUCCEEDED, attempt=1)).tasks != await claim(store, task_id, attempt=2)
    assert await status_of(store, task_id) == "running"


async def test_of_two_renewals_at_once_one_is_refused(store: Store) -> None:
    task_id = await failed(store)

    results = await at_once(store.lifecycle.renew(task_id), store.lifecycle.renew(task_id))

    assert sorted(type(result).__name__ for result in results) == ["IllegalMoveError", "Moved"]
    assert len(await doorbells(store)) == 1


async def test_a_task_can_not_be_renewed_while_another_holds_its_unique_key(store: Store) -> None:
    key = UniqueKey(b"k")
    task_id = await failed(store, unique=key)
    holder = await queued(store, unique=key)

    with pytest.raises(UniqueConflictError, match=str(holder)):
        await store.lifecycle.renew(task_id)
    assert await status_of(store, task_id) == "failed"
    assert (await store.dead_letters.get(task_id)).task_id == task_id


async def test_a_renewed_task_holds_its_unique_key_again(store: Store) -> None:
    key = UniqueKey(b"k")
    task_id = await failed(store, unique=key)

    await store.lifecycle.renew(task_id)
    [answer] = (await store.submissions.accept([new_task(unique=key)])).answers

    assert not isinstance(answer, Exception)
    assert (answer.task_id, answer.duplicate) == (task_id, True)


# Keys .................................................................................


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_every_final_status_releases_the_unique_key(store: Store, status: TaskStatus) -> None:
    key = UniqueKey(b"k")
    await IN_STATUS[status](store, unique=key)

    [answer] = (await store.submissions.accept([new_task(unique=key)])).answers

    assert not isinstance(answer, Exception)
    assert not answer.duplicate


@pytest.mark.parametrize("status", sorted(WAITING | {S.RUNNING}))
async def test_every_other_status_keeps_the_unique_key(store: Store, status: TaskStatus) -> None:
    key = UniqueKey(b"k")
    task_id = await IN_STATUS[status](store, unique=key)

    [answer] = (await store.submissions.accept([new_task(unique=key)])).answers

    assert not isinstance(answer, Exception)
    assert (answer.task_id, answer.duplicate) == (task_id, True)


async def test_a_rescue_that_fails_a_task_releases_its_key(store: Store) -> None:
    key = UniqueKey(b"k")
    await running(store, worker="lost", max_attempts=1, unique=key)
    await steady(store, "rescuer")
    await store.lifecycle.rescue(10, rescuer="rescuer")

    [answer] = (await store.submissions.accept([new_task(unique=key)])).answers

    assert not isinstance(answer, Exception)
    assert not answer.duplicate


async def test_a_task_releases_no_key_that_another_holds(store: Store) -> None:
    task_id = await running(store, unique=UniqueKey(b"k"))
    await execute(store, "UPDATE task_keys SET task_id = :id", id=uuid4())

    await finish(store, task_id, SUCCEEDED)

    assert [row.open for row in await execute(store, "SELECT open FROM task_keys")] == [True]


async def test_versions_grow_with_every_move(store: Store) -> None:
    task_id = await scheduled(store)
    versions = [(await store.tasks.get(task_id)).version]

    async def note() -> None:
        versions.append((await store.tasks.get(task_id)).version)

    await pass_time(store, 3601)
    await store.lifecycle.release(1)
    await note()
    await claim(store, task_id)
    await note()
    await store.lifecycle.cancel(task_id)
    await note()
    await finish(store, task_id, FAILED)
    await note()
    await store.lifecycle.renew(task_id)
    await note()

    assert versions == [1, 2, 3, 4, 5, 6]


async def test_an_expired_task_was_never_a_dead_letter(store: Store) -> None:
    await expired(store)
    await ended(store, CANCELLED)

    assert await execute(store, "SELECT 1 FROM dead_letters") == []
