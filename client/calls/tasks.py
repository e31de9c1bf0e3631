"""Tasks that exist: read, end, repeat, explain."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from client.calls.call import Call, as_model, as_page, get, path, send
from client.models import Cancelled, Explanation, Page, Renewed, Task

#: Longest `wait` that the server takes, in seconds.
MAX_HOLD_S: Final = 60.0


def task(task_id: str, *, wait_s: float | None = None) -> Call[Task]:
    """A task as it is now, or as soon as it is final but after `wait_s` seconds (at most 60) at the latest."""
    held_s = min(wait_s or 0.0, MAX_HOLD_S)
    asked = get(path("tasks", task_id), as_model(Task), wait=f"{held_s:.3f}" if held_s > 0 else None)
    return replace(asked, held_s=held_s)


def tasks(
    *,
    status: str | None = None,
    type: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    created_after: datetime | str | None = None,
    created_before: datetime | str | None = None,
    page_size: int | None = None,
) -> Call[Page[Task]]:
    """Tasks, the newest first."""
    return get(
        path("tasks"),
        as_page(Task),
        status=status,
        type=type,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        limit=page_size,
    )


def cancel(task_id: str) -> Call[Cancelled]:
    """Cancel a task that has not started, or ask for the end of one that runs; ConflictError where it is final."""
    return send("DELETE", path("tasks", task_id), as_model(Cancelled), is_repeatable=False)


def retry(task_id: str) -> Call[Renewed]:
    """Run a failed, cancelled or expired task again, with its attempts renewed."""
    return send("POST", path("tasks", task_id, "retry"), as_model(Renewed), is_repeatable=False)


def explain(task_id: str) -> Call[Explanation]:
    """Why a task is not running, or that it is."""
    return get(path("tasks", task_id, "explain"), as_model(Explanation))
