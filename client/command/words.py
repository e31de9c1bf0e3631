"""Values as people write them on a command line."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    pass

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
#: Seconds that a completion may take: whoever presses Tab does not wait longer.
_COMPLETION_S: Final = 1.5


def seconds(text: str) -> float:
    """`90`, `90s`, `1.5m`, `2h` or `1d` in seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration: write seconds, or 30s, 5m, 2h, 1d")
    return float(found[1]) * _UNITS[found[2]]


def json_value(text: str, what: str) -> Any:
    """A JSON value."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{what} is not JSON: {error}; quote it for the shell: '{{\"n\": 1}}'") from error


def payload(argument: str | None, file: Path | None) -> Any:
    """The payload that the command line names, and `{}` if it names none; `-` is standard input.

    Raises:
        OSError: The file can't be read.
    """
    if argument is not None and file is not None:
        raise typer.BadParameter("give the payload as an argument or by --file, not both")
    if file is not None and str(file) != "-":
        return json_value(_decoded(file.read_bytes(), str(file)), str(file))
    if argument == "-" or file is not None:
        return json_value(_decoded(sys.stdin.buffer.read(), "standard input"), "standard input")
    return {} if argument is None else json_value(argument, "PAYLOAD")


def _decoded(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{what} is not JSON in UTF-8: {error}") from error


# What is completed by asking Taskmill ..................................................


def complete_types(ctx: typer.Context, incomplete: str) -> list[str]:
    """The types that begin so."""
    return _starting(ctx, incomplete, lambda client: [type_.name for type_ in client.task_types()])


def _queues(ctx: typer.Context, incomplete: str) -> list[str]:
    return _starting(ctx, incomplete, lambda client: [queue.name for queue in client.queues()])


def _schedules(ctx: typer.Context, incomplete: str) -> list[str]:
    return _starting(ctx, incomplete, lambda client: [schedule.name for schedule in client.schedules()])


def _starting(ctx: typer.Context, incomplete: str, names: Any) -> list[str]:
    from client.blocking import Taskmill
    from client.errors import TaskmillError

    url, api_key = ctx.params.get("url"), ctx.params.get("api_key")
    try:
        with Taskmill(url, api_key=api_key, timeout_s=_COMPLETION_S, retries=0) as client:
            return [name for name in names(client) if name.startswith(incomplete)]
    except TaskmillError:
        return []  # whoever presses Tab wants no error


# Kinds of arguments and options .......................................................

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="Id of the task.")]
QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="Name of the queue.", autocompletion=_queues)]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="Of the schedule.", autocompletion=_schedules)]
TypeName = Annotated[str, typer.Argument(metavar="TYPE", help="Type of the task.", autocompletion=complete_types)]
SomeType = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Only this one, in full.", autocompletion=complete_types)
]
OfQueue = Annotated[str | None, typer.Option("--queue", help="Only of this queue.", autocompletion=_queues)]
OfType = Annotated[str | None, typer.Option("--type", help="Only of this type.", autocompletion=complete_types)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")]
PayloadFile = Annotated[Path | None, typer.Option("--file", "-f", help="File with the payload; - is standard input.")]
