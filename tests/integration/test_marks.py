"""Marks in PostgreSQL, and handlers that leave out what is marked."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.store.store import Store
from tests.builders import SUCCEEDED, at_once, ended, execute, open_store, queued
from tests.workers import Neighbours, run_worker
from worker_service import RetryPolicy, TaskContext, task

STEPS = ["a", "b", "c"]
done: list[str] = []


@task("marks.loop", max_attempts=5, retry=RetryPolicy(first_delay_s=0.01))
async def on_loop(payload: Any, ctx: TaskContext) -> list[str]:
    """Fail after each step but the last."""
    marked = await ctx.marks()
    for step in STEPS:
        if step not in marked:
            done.append(step)
            await ctx.mark(step)
            if step != STEPS[-1]:
                raise RuntimeError("failed on purpose")
    return sorted(await ctx.marks())


@task("marks.thread")
def in_thread(payload: Any, ctx: TaskContext) -> list[str]:
    """The same calls from a thread."""
    ctx.mark_blocking("x")
    return sorted(ctx.marks_blocking())


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


async def test_marks_are_the_task_s_own_and_each_is_kept_once(store: Store) -> None:
    task_id, other = await queued(store), await queued(store)

    await at_once(*(store.marks.add(task_id, mark) for mark in ("a", "b", "a", "a")))

    assert await store.marks.of(task_id) == {"a", "b"}
    assert await store.marks.of(other) == frozenset()


async def test_marks_are_forgotten_with_their_task(store: Store) -> None:
    gone, kept = await ended(store, SUCCEEDED), await queued(store)
    for task_id in (gone, kept):
        await store.marks.add(task_id, "a")

    await store.tasks.forget(older_than_days=0, limit=10)

    assert [row.task_id for row in await execute(store, "SELECT task_id FROM task_marks")] == [kept]


async def test_marks_outlast_a_renewal(store: Store) -> None:
    task_id = await queued(store)
    await store.marks.add(task_id, "a")

    await store.lifecycle.cancel(task_id)
    await store.lifecycle.renew(task_id)

    assert await store.marks.of(task_id) == {"a"}


async def test_the_next_attempt_leaves_out_what_is_marked(database_url: str) -> None:
    done.clear()
    async with run_worker(Neighbours(database_url)) as worker:
        record = await worker.final(await worker.submit("marks.loop"))

    assert done == STEPS
    assert (record.status, record.attempt) == ("succeeded", 3)
    assert json.loads(record.result or "null") == STEPS


async def test_a_handler_in_a_thread_marks_too(database_url: str) -> None:
    async with run_worker(Neighbours(database_url)) as worker:
        record = await worker.final(await worker.submit("marks.thread"))

    assert (record.status, record.result) == ("succeeded", '["x"]')
