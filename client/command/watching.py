"""`taskmill watch`: what happens, as it happens."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client.command import words
from client.command.exits import FAILED
from client.command.session import Session, command

if TYPE_CHECKING:
    from client.models import Event


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "watch")(watch)


def watch(
    session: Session,
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK_ID", help="A task, until it is final; without: all tasks.")
    ] = None,
    queue: words.OfQueue = None,
    type: words.OfType = None,
) -> None:
    """Print what happens to a task, or to all.

    Status, progress and log lines as they come; of a task until it is final.
    """
    if task_id is not None and (queue or type):
        raise typer.BadParameter("--queue and --type are for all tasks: leave out the TASK_ID")
    watched = session.client.watch_all(queue=queue, type=type) if task_id is None else session.client.watch(task_id)
    status = _print(session, watched, with_id=task_id is None)
    if task_id is not None and status != "succeeded":
        raise typer.Exit(FAILED)


def _print(session: Session, events: "Iterator[Event]", *, with_id: bool) -> str | None:
    status = None
    for event in events:
        if event.is_final:
            status = event.data["status"]
        if session.output.as_json:
            session.output.json_line({"event": event.kind, "id": event.id, "data": event.data})
        else:
            session.output.say(_line(event, with_id=with_id))
    return status


def _line(event: "Event", *, with_id: bool) -> str:
    data: dict[str, Any] = event.data if isinstance(event.data, dict) else {"message": event.data}
    whose = f"{data.get('task_id', '')}  {data.get('type', '')}  " if with_id else ""
    return f"{_time(data)}  {whose}{event.kind:8}  {_words(event.kind, data)}".rstrip()


def _words(kind: str, data: dict[str, Any]) -> str:
    match kind:
        case "snapshot" | "status":
            attempt, error = data.get("attempt"), data.get("error")
            tail = f", attempt {attempt}" if attempt else ""
            why = f": {error.get('kind')}: {error.get('message')}" if isinstance(error, dict) else ""
            return f"{data.get('status')}{tail}{why}"
        case "progress":
            progress = data.get("progress") if isinstance(data.get("progress"), dict) else data
            percent = progress.get("percent") if progress else None
            shown = "" if percent is None else f"{percent:.0f}% "
            return f"{shown}{(progress or {}).get('message') or ''}"
        case "log":
            fields = {name: value for name, value in data.items() if name not in _NOT_SHOWN}
            extra = " ".join(f"{name}={value}" for name, value in fields.items())
            return f"{data.get('level', '')} {data.get('event') or data.get('message') or ''} {extra}".strip()
    return str(data)


#: Said elsewhere in the line.
_NOT_SHOWN = frozenset({"level", "event", "message", "task_id", "type", "queue", "at", "timestamp", "time"})


def _time(data: dict[str, Any]) -> str:
    stamp = data.get("at") or data.get("timestamp") or data.get("time")
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        moment = datetime.now().astimezone()
    return f"{moment.astimezone():%H:%M:%S}"
