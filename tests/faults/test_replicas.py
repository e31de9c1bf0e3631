"""Several of each loop at the same work: everything happens once."""

from datetime import UTC, datetime, timedelta

from tests.faults.stack import Stack


async def test_many_replicas_start_each_attempt_once(stack: Stack) -> None:
    await stack.start(workers=3)
    due_at = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    ids = await stack.submit_many(150, "trail.sleep", {}, run_at=due_at)
    retried = await stack.submit_many(50, "trail.fail", {"times": 2}, run_at=due_at)
    await stack.submit_many(30, "trail.sleep", {}, queue="nobody", expires_in=2)

    await stack.audit(expect={"succeeded": 200, "expired": 30})

    assert await stack.attempts(ids) == {1: 150}
    assert await stack.attempts(retried) == {3: 50}
    assert sum(step["event"] == "start" for step in stack.steps()) == 150 + 3 * 50
    pids = {step["pid"] for step in stack.steps()}
    assert len(pids) > 1, "one worker did all the work, so nothing was shown"
