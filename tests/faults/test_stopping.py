"""A worker is stopped: a deploy costs a task nothing."""

import asyncio
import signal
from time import monotonic

from tests.faults.conftest import Report
from tests.faults.stack import Stack

_LONG = {"seconds": 600, "only_first": True}


async def test_a_stopped_worker_hands_back_what_it_runs_with_its_attempt(
    stack: Stack, report_recovery: Report
) -> None:
    stack.returns_attempts = True
    await stack.start(WORKER_PROCESSES="2")
    ids = [
        task_id
        for kind in ("trail.sleep", "trail.thread", "trail.process")
        for task_id in await stack.submit_many(2, kind, _LONG)
    ]
    await stack.until(lambda: all(stack.starts(task_id) for task_id in ids), 60, "all to start")
    await stack.start_worker()

    stopped_at = monotonic()
    await stack.workers[0].terminate()
    report_recovery("the worker had stopped", stopped_at)

    await stack.audit()
    report_recovery("all tasks were done elsewhere", stopped_at)
    assert stack.workers[0].returncode() == 0
    assert await stack.attempts(ids) == {1: 6}


async def test_a_second_signal_hurries_the_stop(stack: Stack, report_recovery: Report) -> None:
    stack.returns_attempts = True
    await stack.start(SHUTDOWN_GRACE_SECONDS="600")
    ids = await stack.submit_many(5, "trail.sleep", _LONG)
    await stack.until_all(ids, "running")
    [worker] = stack.workers

    worker.signal(signal.SIGTERM)
    await stack.until(lambda: "worker_stopping" in worker.output(), 30, "the worker to begin to stop")
    worker.signal(signal.SIGINT)
    report_recovery("the worker had stopped", monotonic() - await worker.ended())
    await stack.start_worker()

    await stack.audit()
    assert worker.returncode() == 0
    assert await stack.attempts(ids) == {1: 5}


async def test_a_worker_stops_though_postgresql_hangs(stack: Stack, report_recovery: Report) -> None:
    stack.returns_attempts = True  # what it had sent off may still be written
    await stack.start()
    ids = await stack.submit_many(5, "trail.sleep", _LONG)
    await stack.until_all(ids, "running")

    stack.servers.postgres.pause()
    try:
        seconds = await stack.workers[0].terminate()
    finally:
        stack.servers.postgres.resume()
    report_recovery("the worker had stopped", monotonic() - seconds)
    await stack.start_worker()

    await asyncio.gather(*(stack.until_status(task_id, "succeeded") for task_id in ids))
    await stack.audit()
    assert seconds < 40
