"""Tasks for trying things out: they do nothing useful, visibly."""

import asyncio
import hashlib
import os
import signal
import time
from typing import Any

from pydantic import BaseModel, Field

from worker_service import RetryPolicy, TaskContext, task

#: Failures of a trial are not worth a long wait.
_SHORTLY = RetryPolicy(first_delay_s=0.2, max_delay_s=1.0)


class Seconds(BaseModel):
    """How long something takes."""

    seconds: float = Field(1.0, ge=0, le=86400)


class Times(BaseModel):
    """How many of the first attempts go wrong."""

    times: int = Field(1, ge=0, le=1000)


class Slept(BaseModel):
    """How long it took."""

    seconds: float


class Survived(BaseModel):
    """Which attempt went well."""

    attempt: int


@task("demo.echo", example={"hello": "world"})
async def echo(payload: Any, _ctx: TaskContext) -> Any:
    """Return the payload, whatever it is."""
    return payload


@task("demo.sleep", timeout=90_000)
async def sleep(payload: Seconds, ctx: TaskContext) -> Slept:
    """Wait so many seconds, and say how far it is at least each second."""
    ctx.log.info("fell_asleep", seconds=payload.seconds)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (left := began + payload.seconds - loop.time()) > 0:
        ctx.progress(round(payload.seconds - left, 3), payload.seconds, "sleeping")
        await asyncio.sleep(min(left, 0.9))
    ctx.progress(payload.seconds, payload.seconds, "awake")
    return Slept(seconds=payload.seconds)


@task("demo.fail", max_attempts=5, retry=_SHORTLY)
async def fail(payload: Times, ctx: TaskContext) -> Survived:
    """Fail at once in so many first attempts, then succeed."""
    if ctx.attempt <= payload.times:
        raise RuntimeError(f"failed on purpose, attempt {ctx.attempt}")
    return Survived(attempt=ctx.attempt)


@task("demo.crash", max_attempts=5, retry=_SHORTLY)
async def crash(payload: Times, ctx: TaskContext) -> Survived:
    """Kill the worker process with SIGKILL in so many first attempts, then succeed."""
    if ctx.attempt <= payload.times:
        ctx.log.warning("killing_the_worker", pid=os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)
    return Survived(attempt=ctx.attempt)


@task("demo.cpu", timeout=90_000, cpu=True)
def cpu(payload: Seconds, ctx: TaskContext) -> Slept:
    """Keep one core of the process pool busy for so many seconds."""
    began = time.monotonic()
    digest = b"taskmill"
    while (ran := time.monotonic() - began) < payload.seconds:
        for _ in range(20_000):
            digest = hashlib.sha256(digest).digest()
        ctx.progress(round(ran, 3), payload.seconds, "hashing")
        ctx.check_cancelled()
    return Slept(seconds=payload.seconds)
