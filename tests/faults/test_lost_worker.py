"""A worker dies or falls silent without a word."""

import signal
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import STALE_S, Stack


async def test_tasks_of_a_killed_worker_run_again_elsewhere(stack: Stack, report_recovery: Report) -> None:
    await stack.start()
    [victim] = stack.workers
    ids = await stack.submit_many(20, "trail.sleep", {"seconds": 8, "only_first": True})
    await stack.until_all(ids, "running")

    victim.kill()
    killed_at = monotonic()
    await stack.start_worker()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert await stack.attempts(ids) == {2: 20}


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
    task_id = await stack.submit("trail.sleep", {"seconds": 3})
    await stack.until_status(task_id, "running")

    victim.signal(signal.SIGSTOP)
    frozen_at = monotonic()
    await stack.start_worker()
    done = await stack.until_status(task_id, "succeeded")
    report_recovery("the task was done", frozen_at)
    victim.signal(signal.SIGCONT)

    await stack.until(lambda: "late_result_refused" in victim.output(), 30, "the late result to be refused")
    assert done["result"] == 2
    await stack.audit()
    assert (await stack.get(task_id))["worker"] == done["worker"]


async def test_a_handler_that_blocks_the_loop_is_not_robbed(stack: Stack) -> None:
    await stack.start()
    task_id = await stack.submit("trail.block", {"seconds": STALE_S * 1.75})
    await stack.until_status(task_id, "running")
    await stack.start_worker()

    await stack.audit()

    assert (await stack.get(task_id))["attempt"] == 1
