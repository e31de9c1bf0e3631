"""`taskmill artifacts`: files of tasks, and files for tasks."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from client.command.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands."""
    artifacts = typer.Typer(help="Files that tasks have made, and files for tasks to read.")
    for name, function in (("get", get), ("put", put)):
        command(artifacts, name)(function)
    app.add_typer(artifacts, name="artifacts")


def get(
    session: Session,
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a task, or of an uploaded file.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of the task's file.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to store it (default: its name); - prints it."),
    ] = None,
) -> None:
    """Download a file of a task, or an uploaded one.

    taskmill artifacts get TASK_ID report.pdf, taskmill artifacts get ARTIFACT_ID -o data.csv
    """
    if output is not None and str(output) == "-":
        if session.output.as_json:
            raise typer.BadParameter("the file and JSON can't share standard output")
        _download(session, id, name, sys.stdout.buffer)
        return
    # The last part only: a name leads to no other folder.
    target = output or Path(Path(name or id).name)
    size = _download(session, id, name, target)
    session.done(f"{target}: {size} bytes", path=str(target), size=size)


def put(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to upload; - is standard input.")],
    name: Annotated[str | None, typer.Option(help="What it is called; default: its name.")] = None,
    media_type: Annotated[str | None, typer.Option(help="text/csv; default: as its name says.")] = None,
) -> None:
    """Upload a file for tasks to read; payloads name it by its artifact_id."""
    source: Any = sys.stdin.buffer if str(file) == "-" else file
    made = session.client.upload(source, name=name, media_type=media_type)
    session.show(
        made.document(), lambda: session.output.say(f"{made.artifact_id}  {made.size} bytes, {made.media_type}")
    )


def _download(session: Session, id_: str, name: str | None, target: Any) -> int:
    if name is None:
        return session.client.download(id_, target)
    return session.client.download_of_task(id_, name, target)
