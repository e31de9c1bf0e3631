"""Waiting for a task: with a bar that moves where a person looks, in silence elsewhere."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import typer

from client.command.exits import INTERRUPTED
from client.command.output import clean
from client.command.session import Session

if TYPE_CHECKING:
    from client.models import Task

#: Longest that one request asks to be held back, in seconds: how fresh the bar is.
_LOOK_S: Final = 0.5
#: The same where nobody looks.
_HOLD_S: Final = 20.0
#: Seconds that nobody may answer before the wait is given up.
_PATIENCE_S: Final = 60.0


def wait_visibly(session: Session, task_id: str, *, timeout_s: float | None) -> "Task":
    """The task once it is final. Ctrl-C ends the wait, not the task.

    Raises:
        WaitTimeoutError: It was not in time.
        UnavailableError: Nobody has answered for a minute.
    """
    from client.errors import UnavailableError

    is_seen = sys.stderr.isatty() and not session.output.as_json
    try:
        with _bar() if is_seen else nullcontext() as bar:
            return _wait(session, task_id, timeout_s, bar)
    except KeyboardInterrupt:
        _say_how_it_goes_on(task_id)
        raise typer.Exit(INTERRUPTED) from None
    except UnavailableError:
        if not session.output.as_json:
            _say_how_it_goes_on(task_id)
        raise


def _wait(session: Session, task_id: str, timeout_s: float | None, bar: Any) -> "Task":
    from client.errors import WaitTimeoutError

    heard_at = time.monotonic()
    until = None if timeout_s is None else time.monotonic() + timeout_s
    longest_s = _LOOK_S if bar is not None else _HOLD_S
    while True:
        left_s = longest_s if until is None else min(longest_s, max(0.0, until - time.monotonic()))
        asked = time.monotonic()
        task = _look(session, task_id, left_s, heard_at)
        if task is None:
            continue
        heard_at = time.monotonic()
        if bar is not None:
            _draw(bar, task)
        if task.is_final:
            return task
        if until is not None and time.monotonic() >= until:
            raise WaitTimeoutError(task, timeout_s or 0.0)
        # A server that is about to end answers at once.
        time.sleep(max(0.0, min(left_s, 0.2) - (time.monotonic() - asked)))


def _look(session: Session, task_id: str, wait_s: float, heard_at: float) -> "Task | None":
    """The task, or None for a while if nobody answers: the API is being replaced, say."""
    from client.errors import UnavailableError

    try:
        return session.client.get(task_id, wait_s=wait_s)
    except UnavailableError:
        if time.monotonic() - heard_at > _PATIENCE_S:
            raise
        return None


def _bar() -> AbstractContextManager[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.fields[status]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


def _draw(bar: Any, task: "Task") -> None:
    if not bar.tasks:
        bar.add_task("", total=None, status="", message="")
    progress = task.progress
    bar.update(
        bar.tasks[0].id,
        status=task.status if task.attempt < 2 else f"{task.status}, attempt {task.attempt}",
        completed=progress.done if progress else 0,
        total=progress.total if progress else None,
        message=clean(progress.message) if progress else "",
    )


def _say_how_it_goes_on(task_id: str) -> None:
    lines = (
        "stopped waiting; the task goes on",
        f"  see it     taskmill get {task_id} --wait",
        f"  watch it   taskmill watch {task_id}",
        f"  cancel it  taskmill cancel {task_id}",
    )
    print("\n".join(lines), file=sys.stderr)
