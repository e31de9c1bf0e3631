"""Handlers that behave and misbehave, for the tests of the worker. Its processes import them by this name."""

import asyncio
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from worker_service import Permanent, Retry, RetryPolicy, TaskContext, task
from worker_service.library import demo

#: A type that only some workers know is announced and registered by the test that needs it.
_AT_ONCE: Final = RetryPolicy(first_delay_s=0)

#: What handlers on the loop and in threads have seen, for tests in the same process to look at.
seen: Final[list[Any]] = []
#: Set to let handlers end that end for nothing else.
released: Final = threading.Event()


class Count(BaseModel):
    """A payload with a rule."""

    n: int


@task("probe.echo")
async def echo(payload: Any, ctx: TaskContext) -> Any:
    """Return the payload."""
    return payload


@task("probe.count")
async def count(payload: Count, ctx: TaskContext) -> int:
    """Take only what fits."""
    return payload.n


@task("probe.attempts", max_attempts=3, retry=_AT_ONCE)
async def attempts(payload: int, ctx: TaskContext) -> int:
    """Fail in so many first attempts."""
    if ctx.attempt <= payload:
        raise OSError(f"attempt {ctx.attempt}")
    return ctx.attempt


@task("probe.permanent")
async def permanent(payload: Any, ctx: TaskContext) -> None:
    """Fail for good."""
    raise Permanent("no such order")


@task("probe.retry_after")
async def retry_after(payload: float, ctx: TaskContext) -> None:
    """Ask for another attempt in so many seconds."""
    raise Retry("not yet", after=payload)


_BAD_RESULTS: Final[dict[str, Callable[[], Any]]] = {
    "nan": lambda: math.nan,
    "surrogate": lambda: "\ud800",
    "object": object,
    "huge": lambda: "x" * 5_000_000,
    "deep": lambda: _nested(5000),
}


def _nested(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@task("probe.bad_result")
async def bad_result(payload: str, ctx: TaskContext) -> Any:
    """Return what can't be kept."""
    return _BAD_RESULTS[payload]()


@task("probe.bad_words", max_attempts=1)
async def bad_words(payload: Any, ctx: TaskContext) -> None:
    """Raise what can't be stored as it is."""
    raise ValueError("NUL \x00 and half a pair \ud800")


@task("probe.poison")
async def poison(payload: Any, ctx: TaskContext) -> None:
    """Ask for a wait that no interval holds, past the check of its own class."""
    asked = Retry("later")
    asked.after = 1e300
    raise asked


@task("probe.cancels_itself", max_attempts=1)
async def cancels_itself(payload: Any, ctx: TaskContext) -> None:
    """Raise CancelledError though nobody asked for it."""
    raise asyncio.CancelledError


@task("probe.exits", max_attempts=1)
async def exits(payload: Any, ctx: TaskContext) -> None:
    """Try to end the interpreter."""
    sys.exit(3)


@task("probe.exits_in_thread", max_attempts=1)
def exits_in_thread(payload: Any, ctx: TaskContext) -> None:
    """Try to end the interpreter from a thread."""
    sys.exit(3)


# Those that wait ......................................................................


@task("probe.loop", max_attempts=1)
async def on_loop(payload: float, ctx: TaskContext) -> str:
    """Wait so long, as a well-behaved coroutine does."""
    ctx.progress(1, 2)
    await asyncio.sleep(payload)
    return "done"


@task("probe.thread", max_attempts=1)
def in_thread(payload: float, ctx: TaskContext) -> str:
    """Wait so long in a thread, asking now and then whether to go on."""
    ctx.progress(1, 2)
    end = time.monotonic() + payload
    while time.monotonic() < end:
        ctx.check_cancelled()
        time.sleep(0.01)
    return "done"


@task("probe.process", max_attempts=1, cpu=True)
def in_process(payload: float, ctx: TaskContext) -> str:
    """Wait so long in a process, asking now and then whether to go on."""
    ctx.progress(1, 2)
    end = time.monotonic() + payload
    while time.monotonic() < end:
        ctx.check_cancelled()
        time.sleep(0.01)
    return "done"


@task("probe.stubborn_process", max_attempts=1, cpu=True)
def stubborn_process(payload: float, ctx: TaskContext) -> str:
    """Wait so long in a process and ask nobody."""
    ctx.progress(1, 2)
    time.sleep(payload)
    return "done"


@task("probe.stubborn_thread", max_attempts=1)
def stubborn_thread(payload: Any, ctx: TaskContext) -> str:
    """Wait in a thread until a test lets go."""
    ctx.progress(1, 2)
    released.wait(60)
    return "too late"


@task("probe.stubborn_loop", max_attempts=1)
async def stubborn_loop(payload: Any, ctx: TaskContext) -> str:
    """Swallow every cancellation until a test lets go."""
    ctx.progress(1, 2)
    while not released.is_set():
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            seen.append("swallowed")
    return "too late"


@task("probe.finishes_anyway", max_attempts=1)
async def finishes_anyway(payload: Any, ctx: TaskContext) -> str:
    """Swallow the cancellation and finish the work."""
    ctx.progress(1, 2)
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "finished"


@task("probe.soft_loop", max_attempts=1)
async def soft_loop(payload: Any, ctx: TaskContext) -> str:
    """Wait for the soft timeout, then end in good order."""
    while not ctx.soft_timed_out:  # noqa: ASYNC110 - that is how a handler learns it
        await asyncio.sleep(0.01)
    return "in good order"


@task("probe.soft_thread", max_attempts=1)
def soft_thread(payload: Any, ctx: TaskContext) -> str:
    """Let the soft timeout end the attempt."""
    while True:
        ctx.check_cancelled()
        time.sleep(0.01)


@task("probe.soft_process", max_attempts=1, cpu=True)
def soft_process(payload: Any, ctx: TaskContext) -> str:
    """Wait for the soft timeout in a process, then end in good order."""
    while not ctx.soft_timed_out:
        time.sleep(0.01)
    return "in good order"


# Processes that die ...................................................................


@task("probe.dies", max_attempts=1, cpu=True)
def dies(payload: str, ctx: TaskContext) -> None:
    """End the process in one of several ways."""
    match payload:
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sys.exit":
            sys.exit(3)


@task("probe.pid", cpu=True)
def pid(payload: Any, ctx: TaskContext) -> int:
    """Say which process this is, and be done at 100 %."""
    for done in range(101):
        ctx.progress(done, 100, "counting")
    return os.getpid()


# What handlers see ....................................................................


@task("probe.says")
async def says(payload: Any, ctx: TaskContext) -> None:
    """Write a line, then another after a pause."""
    ctx.log.info("said", number=payload)
    await asyncio.sleep(0.01)
    ctx.log.info("said", number=payload)


@task("probe.says_in_thread")
def says_in_thread(payload: Any, ctx: TaskContext) -> None:
    """Write a line in a thread."""
    ctx.log.info("said", number=payload)


@task("probe.says_in_process", cpu=True)
def says_in_process(payload: int, ctx: TaskContext) -> None:
    """Write so many lines in a process, the last just before the end."""
    for number in range(payload):
        ctx.log.warning("said", number=number, odd=object)


@task("probe.says_and_waits", max_attempts=1)
async def says_and_waits(payload: Any, ctx: TaskContext) -> None:
    """Write a line, report progress, and wait to be released."""
    ctx.log.info("said", number=payload)
    await ctx.progress(1, 4, "waiting")
    while not released.is_set():  # noqa: ASYNC110 - a flag for threads too
        await asyncio.sleep(0.01)


@task("probe.progress")
async def progress(payload: Any, ctx: TaskContext) -> None:
    """Report up to 100 % and end at once."""
    for done in range(1, 11):
        await ctx.progress(done, 10, f"step {done}")


@task("probe.counts_calls", max_attempts=1)
async def counts_calls(payload: Any, ctx: TaskContext) -> None:
    """Leave a trace of each call."""
    seen.append((ctx.task_id, ctx.attempt))
    await asyncio.sleep(0.05)


# Files ................................................................................


class Files(BaseModel):
    """What a handler is to do with files: make those, fetch one, and use its folder."""

    make: dict[str, str] = {}
    source: str | None = None
    fails: bool = False


def _noted(ctx: TaskContext, fetched: Path | None) -> dict[str, Any]:
    (ctx.scratch / "left.txt").write_text("left behind")
    return {
        "scratch": str(ctx.scratch),
        "fetched": fetched and fetched.read_text(),
        "fetched_name": fetched and fetched.name,
    }


@task("probe.files_on_loop", max_attempts=1)
async def files_on_loop(payload: Files, ctx: TaskContext) -> dict[str, Any]:
    """Make and fetch files on the event loop; of those that it makes, await none."""
    fetched = await ctx.fetch(payload.source) if payload.source else None
    for name, text in payload.make.items():
        ctx.artifact(name, text.encode())
    if payload.fails:
        raise Permanent("failed on purpose")
    return _noted(ctx, fetched)


@task("probe.files_in_thread", max_attempts=1)
def files_in_thread(payload: Files, ctx: TaskContext) -> dict[str, Any]:
    """Make and fetch files in a thread."""
    return _files_blocking(payload, ctx)


@task("probe.files_in_process", max_attempts=1, cpu=True)
def files_in_process(payload: Files, ctx: TaskContext) -> dict[str, Any]:
    """Make and fetch files in a process of the pool."""
    return _files_blocking(payload, ctx)


def _files_blocking(payload: Files, ctx: TaskContext) -> dict[str, Any]:
    fetched = ctx.fetch_blocking(payload.source) if payload.source else None
    for name, text in payload.make.items():
        path = ctx.scratch / "made"
        path.write_text(text)
        ctx.artifact(name, path)
    if payload.fails:
        raise Permanent("failed on purpose")
    return _noted(ctx, fetched)


@task("probe.same_name", max_attempts=1)
async def same_name(payload: Any, ctx: TaskContext) -> None:
    """Keep two files of one name, the first of which takes longer to store."""
    ctx.artifact("report.csv", b"x" * 3_000_000)
    ctx.artifact("report.csv", b"two")


@task("probe.litters_and_hangs", max_attempts=1, cpu=True)
def litters_and_hangs(payload: Any, ctx: TaskContext) -> None:
    """Say where the folder is, fill it, and never end."""
    ctx.progress(1, message=str(ctx.scratch))
    while True:
        (ctx.scratch / f"{time.monotonic_ns()}").write_text("litter")
        time.sleep(0.01)


# Made a task here, but a function of a module that knows nothing of it.
borrowed: Final = task("probe.borrowed", cpu=True)(demo.cpu)
