"""Tasks that leave a trail: each start and end of an attempt is a line in the file that TRAIL names."""

import asyncio
import json
import os
import time
from pathlib import Path

from pydantic import BaseModel

from worker_service import RetryPolicy, TaskContext, task

_QUICK = RetryPolicy(first_delay_s=0.1, max_delay_s=0.5)


class Work(BaseModel):
    """How long an attempt takes, and how."""

    seconds: float = 0.0


def _note(event: str, ctx: TaskContext) -> None:
    line = {"event": event, "task": str(ctx.task_id), "attempt": ctx.attempt, "pid": os.getpid(), "at": time.time()}
    # One short write to a file opened for appending: lines of several processes don't mix.
    with Path(os.environ["TRAIL"]).open("a") as trail:
        trail.write(json.dumps(line) + "\n")


@task("trail.sleep", max_attempts=10, retry=_QUICK)
async def trail_sleep(payload: Work, ctx: TaskContext) -> int:
    """Sleep on the event loop."""
    _note("start", ctx)
    await asyncio.sleep(payload.seconds)
    _note("end", ctx)
    return ctx.attempt


@task("trail.block", max_attempts=10, retry=_QUICK)
async def trail_block(payload: Work, ctx: TaskContext) -> int:
    """Block the event loop, as a careless handler does."""
    _note("start", ctx)
    time.sleep(payload.seconds)  # noqa: ASYNC251 - the fault under test
    _note("end", ctx)
    return ctx.attempt


@task("trail.thread", max_attempts=10, retry=_QUICK)
def trail_thread(payload: Work, ctx: TaskContext) -> int:
    """Sleep in a thread that nobody can interrupt."""
    _note("start", ctx)
    time.sleep(payload.seconds)
    _note("end", ctx)
    return ctx.attempt
