"""A worker dies without a word."""

import signal
from collections.abc import Callable
from time import monotonic

from tests.faults.stack import Stack

Report = Callable[[str, float], None]


async def test_tasks_of_a_killed_worker_run_again_elsewhere(stack: Stack, report_recovery: Report) -> None:
    await stack.start_api()
    victim = await stack.start_worker()
    ids = await stack.submit_many(20, "trail.sleep", {"seconds": 4})
    for task_id in ids:
        await stack.until_status(task_id, "running")

    victim.kill()
    killed_at = monotonic()
    await stack.start_worker()

    await stack.audit()
    report_recovery("all tasks were done", killed_at)
    assert {(await stack.get(task_id))["attempt"] for task_id in ids} == {2}


async def test_a_frozen_worker_is_given_up_and_its_late_result_refused(stack: Stack) -> None:
    await stack.start_api()
    victim = await stack.start_worker()
    task_id = await stack.submit("trail.sleep", {"seconds": 3})
    await stack.until_status(task_id, "running")

    victim.signal(signal.SIGSTOP)
    await stack.start_worker()
    done = await stack.until_status(task_id, "succeeded")
    victim.signal(signal.SIGCONT)

    await stack.until(lambda: "late_result_refused" in victim.output(), 20, "the late result to be refused")
    assert done["result"] == 2
    await stack.audit()
    assert (await stack.get(task_id))["worker"] == done["worker"]


async def test_a_handler_that_blocks_the_loop_is_not_robbed(stack: Stack) -> None:
    await stack.start_api()
    await stack.start_worker()
    task_id = await stack.submit("trail.block", {"seconds": 6})  # twice the staleness
    await stack.until_status(task_id, "running")
    await stack.start_worker()

    await stack.audit()

    assert (await stack.get(task_id))["attempt"] == 1
