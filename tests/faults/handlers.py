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
    """How long an attempt takes. With `only_first`, it takes no time once the task has been started before."""

    seconds: float = 0.0
    only_first: bool = False


class Times(BaseModel):
    """How many of the first attempts fail."""

    times: int = 0


def _seconds(payload: Work, ctx: TaskContext) -> float:
    if not payload.only_first:
        return payload.seconds
    starts = [line for line in Path(os.environ["TRAIL"]).read_text().splitlines() if str(ctx.task_id) in line]
    return payload.seconds if len(starts) == 1 else 0.0


def _note(event: str, ctx: TaskContext) -> None:
    line = {"event": event, "task": str(ctx.task_id), "attempt": ctx.attempt, "pid": os.getpid(), "at": time.time()}
    # One short write to a file opened for appending: lines of several processes don't mix.
    with Path(os.environ["TRAIL"]).open("a") as trail:
        trail.write(json.dumps(line) + "\n")


@task("trail.sleep", max_attempts=10, retry=_QUICK)
async def trail_sleep(payload: Work, ctx: TaskContext) -> int:
    """Sleep on the event loop."""
    _note("start", ctx)
    await asyncio.sleep(_seconds(payload, ctx))
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
    time.sleep(_seconds(payload, ctx))
    _note("end", ctx)
    return ctx.attempt


@task("trail.process", max_attempts=10, retry=_QUICK, cpu=True)
def trail_process(payload: Work, ctx: TaskContext) -> int:
    """Sleep in a process, deaf to every wish."""
    _note("start", ctx)
    time.sleep(_seconds(payload, ctx))
    _note("end", ctx)
    return ctx.attempt


@task("trail.fail", max_attempts=10, retry=_QUICK)
async def trail_fail(payload: Times, ctx: TaskContext) -> int:
    """Fail so many times, then succeed."""
    _note("start", ctx)
    if ctx.attempt <= payload.times:
        raise RuntimeError("failed on purpose")
    _note("end", ctx)
    return ctx.attempt


@task("trail.file", max_attempts=10, retry=_QUICK)
async def trail_file(payload: Work, ctx: TaskContext) -> int:
    """Keep a file, leave another in the folder of the attempt, and only then begin to sleep."""
    await ctx.artifact("report.txt", f"attempt {ctx.attempt}".encode())
    (ctx.scratch / "left.txt").write_text("left")
    _note("start", ctx)
    await asyncio.sleep(_seconds(payload, ctx))
    _note("end", ctx)
    return ctx.attempt


@task("trail.file_process", max_attempts=10, retry=_QUICK, cpu=True)
def trail_file_process(payload: Work, ctx: TaskContext) -> int:
    """The same in a process of the pool."""
    ctx.artifact("report.txt", f"attempt {ctx.attempt}".encode())
    (ctx.scratch / "left.txt").write_text("left")
    _note("start", ctx)
    time.sleep(_seconds(payload, ctx))
    _note("end", ctx)
    return ctx.attempt
