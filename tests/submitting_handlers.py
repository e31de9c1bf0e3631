"""Handlers that submit tasks of their own."""

from typing import Any

from worker_service import TaskContext, task


@task("parent.loop")
async def parent_on_loop(payload: dict[str, Any], ctx: TaskContext) -> str:
    """Submit what the payload says."""
    return str(await ctx.submit(payload["type"], payload.get("payload"), **payload.get("options", {})))


@task("parent.thread")
def parent_in_thread(payload: dict[str, Any], ctx: TaskContext) -> str:
    """The same from a thread."""
    return str(ctx.submit_blocking(payload["type"], payload.get("payload"), **payload.get("options", {})))


@task("parent.process", cpu=True, max_attempts=1)
def parent_in_process(payload: dict[str, Any], ctx: TaskContext) -> str:
    """The same from a process, which can't."""
    return str(ctx.submit_blocking(payload["type"]))
