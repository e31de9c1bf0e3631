"""`taskmill schedules`: tasks that are submitted by the clock."""

from typing import Annotated, Any, Final

import typer

from client.command import words
from client.command.queues import confirm
from client.command.session import Session, command

Cron = Annotated[str | None, typer.Option(metavar="EXPRESSION", help="'0 3 * * *': five fields, in its time zone.")]
Every = Annotated[
    float | None, typer.Option(parser=words.seconds, metavar="SECONDS", help="Instead of --cron: 30, 5m, 2h, 1d.")
]
Timezone = Annotated[str | None, typer.Option(metavar="ZONE", help="Europe/Berlin; default UTC.")]
Payload = Annotated[str | None, typer.Option(metavar="JSON", help="Of its tasks.")]
Queue = Annotated[str | None, typer.Option(help="Instead of the type's own.")]
CatchUp = Annotated[str | None, typer.Option(help="skip, one or all: what is done about ticks that were missed.")]
Overlap = Annotated[str | None, typer.Option(help="allow or skip: while its last task is not final.")]

#: What a PUT takes, of what a GET shows.
_DEFINITION: Final = ("cron", "every", "timezone", "type", "payload", "queue", "catch_up", "overlap")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    schedules = typer.Typer(help="Tasks that are submitted by the clock.")
    for name, function in (
        ("list", list_),
        ("show", show),
        ("create", create),
        ("update", update),
        ("delete", delete),
        ("run", run),
        ("pause", pause),
        ("resume", resume),
    ):
        command(schedules, name)(function)
    app.add_typer(schedules, name="schedules")


def list_(session: Session) -> None:
    """List the schedules."""
    found = list(session.client.schedules())
    session.show(
        [schedule.document() for schedule in found],
        lambda: session.output.table(
            ["name", "type", "when", "time zone", "state", "next", "last"],
            [_row(schedule.document()) for schedule in found],
        ),
    )


def show(session: Session, name: words.ScheduleName) -> None:
    """Show a schedule with its next and its last runs."""
    found = session.client.schedule(name).document()
    session.show(found, lambda: session.output.fields(found))


def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="How it shall be called.")],
    type: Annotated[str, typer.Option(help="Type of its tasks.", autocompletion=words.complete_types)],
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    payload: Payload = None,
    queue: Queue = None,
    catch_up: CatchUp = None,
    overlap: Overlap = None,
) -> None:
    """Make a schedule.

    taskmill schedules create nightly --type demo.echo --cron '0 3 * * *'
    """
    if (cron is None) == (every is None):
        raise typer.BadParameter("say when: --cron or --every")
    fields = _given(cron, every, timezone, payload, queue, catch_up, overlap)
    made = session.client.create_schedule(name, type, **fields).document()
    session.show(made, lambda: session.output.fields(made))


def update(
    session: Session,
    name: words.ScheduleName,
    type: words.OfType = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    payload: Payload = None,
    queue: Queue = None,
    catch_up: CatchUp = None,
    overlap: Overlap = None,
) -> None:
    """Change a schedule; what is not named stays."""
    now = session.client.schedule(name).document()
    kept = {field: now[field] for field in _DEFINITION if now.get(field) is not None}
    given = _given(cron, every, timezone, payload, queue, catch_up, overlap)
    for field, other in (("cron", "every"), ("every", "cron")):
        if field in given:
            kept.pop(other, None)
    fields = {**kept, **given}
    fields["type"] = type or fields["type"]
    made = session.client.put_schedule(name, **fields).document()
    session.show(made, lambda: session.output.fields(made))


def delete(session: Session, name: words.ScheduleName, yes: words.Yes = False) -> None:
    """Remove a schedule; the tasks that it has submitted stay."""
    confirm(session, f"Remove schedule {name}?", yes=yes)
    session.client.delete_schedule(name)
    session.done(f"schedule {name} is removed", removed=name)


def run(session: Session, name: words.ScheduleName) -> None:
    """Submit its task now, besides its ticks."""
    answer = session.client.run_schedule(name)
    task_id = answer.get("task_id") if isinstance(answer, dict) else None
    session.show(answer, lambda: session.output.say(f"schedule {name} has run: task {task_id}"))


def pause(session: Session, name: words.ScheduleName) -> None:
    """Let its ticks pass until it is resumed."""
    answer = session.client.pause_schedule(name)
    session.show(answer, lambda: session.output.say(f"schedule {name} is paused"))


def resume(session: Session, name: words.ScheduleName) -> None:
    """Let it tick again."""
    answer = session.client.resume_schedule(name)
    session.show(answer, lambda: session.output.say(f"schedule {name} ticks again"))


def _given(
    cron: str | None,
    every: float | None,
    timezone: str | None,
    payload: str | None,
    queue: str | None,
    catch_up: str | None,
    overlap: str | None,
) -> dict[str, Any]:
    fields = {
        "cron": cron,
        "every": every,
        "timezone": timezone,
        "queue": queue,
        "catch_up": catch_up,
        "overlap": overlap,
    }
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if payload is not None:
        given["payload"] = words.json_value(payload, "--payload")
    return given


def _row(schedule: dict[str, Any]) -> list[Any]:
    when = schedule.get("cron") or f"every {schedule.get('every'):g} s"
    return [
        schedule["name"],
        schedule["type"],
        when,
        schedule.get("timezone"),
        "paused" if schedule.get("paused") else "on",
        _first(schedule, "next_runs", "next_run_at", "next_run"),
        _first(schedule, "last_runs", "last_run_at", "last_run"),
    ]


def _first(schedule: dict[str, Any], *names: str) -> Any:
    for name in names:
        value = schedule.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict):
            value = value.get("tick") or value.get("at")
        if value is not None:
            return value
    return None
