"""Tasks: submit, read, end, repeat, explain."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from client.command import words
from client.command.exits import FAILED, OK
from client.command.session import Session, command
from client.command.waiting import wait_visibly

if TYPE_CHECKING:
    from client.models import Task

_SECONDS: Final = "SECONDS"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (
        ("submit", submit),
        ("get", get),
        ("list", list_),
        ("cancel", cancel),
        ("retry", retry),
        ("explain", explain),
    ):
        command(app, name)(function)


def submit(
    session: Session,
    type: words.TypeName,
    payload: Annotated[
        str | None, typer.Argument(metavar="PAYLOAD", help="JSON (default: {}); - is standard input.")
    ] = None,
    file: words.PayloadFile = None,
    queue: Annotated[str | None, typer.Option(help="Instead of the type's own.")] = None,
    priority: Annotated[str | None, typer.Option(help="normal or high.")] = None,
    delay: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="Start no earlier: 30, 5m, 2h, 1d.")
    ] = None,
    run_at: Annotated[str | None, typer.Option(metavar="TIME", help="Or as a moment: 2030-01-31T08:00Z.")] = None,
    expires_in: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="Expire if not started by then.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="Hard limit of one attempt.")
    ] = None,
    soft_timeout: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="When its handler is told to hurry.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option(help="Attempts in all.")] = None,
    unique: Annotated[bool, typer.Option("--unique", help="Not two of this payload at a time.")] = False,
    unique_key: Annotated[str | None, typer.Option(metavar="KEY", help="Not two of this key at a time.")] = None,
    unique_for: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="With --unique-key: for so long.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="To find it again; may be repeated.")] = None,
    callback_url: Annotated[str | None, typer.Option(metavar="URL", help="Called once the task is final.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key again gives the same task, for 24 hours.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the result, and print it.")] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="Wait so long at most; exit 124.")
    ] = None,
) -> None:
    """Submit a task.

    taskmill submit demo.sleep '{"seconds": 3}' --wait
    """
    value = words.payload(payload, file)
    options = {
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "run_at": run_at,
        "expires_in": expires_in,
        "timeout": timeout,
        "soft_timeout": soft_timeout,
        "max_attempts": max_attempts,
        "unique": _unique(unique, unique_key, unique_for),
        "tags": tag,
        "callback_url": callback_url,
    }
    given: Any = {name: option for name, option in options.items() if option is not None}
    try:
        accepted = session.client.submit(type, value, idempotency_key=idempotency_key, **given)
    except ValueError as error:
        raise typer.BadParameter(f"the payload can't be sent as JSON: {error}") from error
    if wait or wait_timeout is not None:
        _show_outcome(session, wait_visibly(session, accepted.task_id, timeout_s=wait_timeout))
        return
    again = ", was there already" if accepted.duplicate else ""
    text = f"{accepted.task_id}  {accepted.type} on {accepted.queue}: {accepted.status}{again}"
    session.show(accepted.document(), lambda: session.output.say(text))


def get(
    session: Session,
    task_id: words.TaskId,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is final, and print its result.")] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(parser=words.seconds, metavar=_SECONDS, help="Wait so long at most; exit 124.")
    ] = None,
) -> None:
    """Show a task."""
    if wait or wait_timeout is not None:
        _show_outcome(session, wait_visibly(session, task_id, timeout_s=wait_timeout))
        return
    task = session.client.get(task_id)
    session.show(task.document(), lambda: _print_task(session, task))


def list_(
    session: Session,
    status: Annotated[str | None, typer.Option(help="queued, running, failed, …")] = None,
    type: words.OfType = None,
    queue: words.OfQueue = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    created_after: Annotated[str | None, typer.Option(metavar="TIME", help="2030-01-31T08:00Z")] = None,
    created_before: Annotated[str | None, typer.Option(metavar="TIME")] = None,
    limit: words.Limit = 20,
) -> None:
    """List tasks, the newest first."""
    from itertools import islice

    found = session.client.tasks(
        status=status,
        type=type,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        page_size=min(limit, 1000),
    )
    tasks = list(islice(found, limit))
    session.show(
        [task.document() for task in tasks],
        lambda: session.output.table(
            ["task_id", "type", "queue", "status", "attempt", "created", "progress"],
            [
                [
                    task.task_id,
                    task.type,
                    task.queue,
                    task.status,
                    f"{task.attempt}/{task.max_attempts}",
                    task.created_at,
                    _progress(task),
                ]
                for task in tasks
            ],
        ),
    )


def cancel(session: Session, task_id: words.TaskId) -> None:
    """Cancel a task, or end it where it runs."""
    answer = session.client.cancel(task_id)
    text = "it runs, and is told to end" if answer.cancel_requested else answer.status
    session.show(answer.document(), lambda: session.output.say(f"{task_id}: {text}"))


def retry(session: Session, task_id: words.TaskId) -> None:
    """Run a task again that has not succeeded."""
    answer = session.client.retry(task_id)
    session.show(answer.document(), lambda: session.output.say(f"{answer.task_id}: {answer.status} again"))


def explain(session: Session, task_id: words.TaskId) -> None:
    """Say why a task is not running, or that it is."""
    answer = session.client.explain(task_id)
    session.show(
        answer.document(),
        lambda: session.output.fields(
            {"code": answer.code, "text": answer.text, "since": answer.since, **answer.details}
        ),
    )


def _unique(unique: bool, key: str | None, for_s: float | None) -> Any:
    if key is None and for_s is not None:
        raise typer.BadParameter("--unique-for needs --unique-key")
    if key is None:
        return True if unique else None
    return {"key": key} if for_s is None else {"key": key, "for": for_s}


def _show_outcome(session: Session, task: "Task") -> None:
    from client.errors import TaskFailedError

    if session.output.as_json:
        session.output.json(task.document())
    elif task.status == "succeeded":
        session.output.value(task.result)
    else:
        session.output.note(f"taskmill: {TaskFailedError(task)}")
    raise typer.Exit(OK if task.status == "succeeded" else FAILED)


def _print_task(session: Session, task: "Task") -> None:
    session.output.fields(
        {
            "task": task.task_id,
            "type": task.type,
            "queue": task.queue if task.priority == "normal" else f"{task.queue} ({task.priority})",
            "status": task.status + (", end requested" if task.cancel_requested and not task.is_final else ""),
            "attempt": f"{task.attempt} of {task.max_attempts}",
            "progress": _progress(task),
            "tags": ", ".join(task.tags),
            "created": task.created_at,
            "run at": task.run_at,
            "started": task.started_at,
            "finished": task.finished_at,
            "expires": task.expires_at,
            "worker": task.worker,
            "artifacts": ", ".join(f"{file.name} ({file.size} bytes)" for file in task.artifacts),
            "payload": task.payload,
            "error": f"{task.error.kind}: {task.error.message}" if task.error else None,
        }
    )
    if task.result is not None:
        session.output.say("result")
        session.output.value(task.result)


def _progress(task: "Task") -> str:
    if task.progress is None:
        return ""
    percent = "" if task.progress.percent is None else f"{task.progress.percent:.0f}% "
    return f"{percent}{task.progress.message}".strip()
