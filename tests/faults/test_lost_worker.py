"""A worker dies or falls silent without a word."""

import asyncio
import signal
from pathlib import Path
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import STALE_S, Stack
from tests.servers.proxy import Proxy


async def test_tasks_of_a_killed_worker_run_again_elsewhere(stack: Stack, report_recovery: Report) -> None:
    await stack.start(WORKER_PROCESSES="2")
    [victim] = stack.workers
    ids = [
        task_id
        for kind in ("trail.sleep", "trail.thread", "trail.process")
        for task_id in await stack.submit_many(2, kind, {"seconds": 600, "only_first": True})
    ]
    await stack.until(lambda: all(stack.starts(task_id) for task_id in ids), 60, "all to start")
    pids = {step["pid"] for step in stack.steps()}

    victim.kill()
    killed_at = monotonic()
    await stack.until(lambda: not any(map(_lives, pids)), 30, "its processes to end with it")
    await stack.start_worker()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert await stack.attempts(ids) == {2: 6}


async def test_a_task_that_kills_its_workers_takes_no_innocent_one_with_it(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start()
    ids = await stack.submit_many(10, "trail.sleep", {"seconds": 3})
    await stack.until_all(ids, "running")

    killer = await stack.submit("demo.crash", {"times": 2})
    killed_at = monotonic()
    for number in (1, 2):
        await stack.until(lambda: stack.workers[-1].pid is None, 60, f"worker {number} to be killed")
        await stack.start_worker()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert (await stack.get(killer))["result"] == {"attempt": 3}


async def test_a_frozen_worker_is_given_up_and_its_late_result_refused(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    [victim] = stack.workers
    task_id = await stack.submit("trail.sleep", {"seconds": 4})
    await stack.until_status(task_id, "running")

    victim.signal(signal.SIGSTOP)
    frozen_at = monotonic()
    await stack.start_worker()
    await stack.until(lambda: stack.starts(task_id) == 2, 60, "the task to be started elsewhere")
    report_recovery("the task was started again", frozen_at)
    victim.signal(signal.SIGCONT)  # its attempt ends at once, while the other one runs

    await stack.until(lambda: "late_result_refused" in victim.output(), 30, "the late result to be refused")
    await stack.audit()
    assert (await stack.get(task_id))["result"] == 2


async def test_a_handler_that_blocks_the_loop_is_not_robbed(stack: Stack) -> None:
    await stack.start()
    task_id = await stack.submit("trail.block", {"seconds": STALE_S * 1.75})
    await stack.until_status(task_id, "running")
    await stack.start_worker()

    await stack.audit()

    assert (await stack.get(task_id))["attempt"] == 1


async def test_a_worker_that_alone_has_lost_postgresql_is_given_up_and_works_again_later(
    stack: Stack, report_recovery: Report
) -> None:
    async with Proxy(stack.servers.database_url) as line:
        await asyncio.gather(stack.start_api(), stack.start_worker(DATABASE_URL=line.url))
        [victim] = stack.workers
        ids = await stack.submit_many(10, "trail.sleep", {"seconds": 3})
        await stack.until_all(ids, "running")

        await line.cut()
        cut_at = monotonic()
        await stack.start_worker()
        await stack.audit()
        report_recovery("all tasks were done", cut_at)
        await line.heal()

        await stack.until(lambda: victim.output().count("late_result_refused") == 10, 30, "10 results to be refused")
        await stack.workers[1].terminate()
        await stack.submit_many(5, "trail.sleep")
        await stack.audit()
        assert await stack.attempts(ids) == {2: 10}


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
