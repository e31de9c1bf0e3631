"""`taskmill schedules`: tasks that are submitted by the clock."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from client.command import words
from client.command.queues import confirm
from client.command.session import Session, command

if TYPE_CHECKING:
    from client.models import Schedule

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
            [_row(schedule) for schedule in found],
        ),
    )


def show(session: Session, name: words.ScheduleName) -> None:
    """Show a schedule with its next and its last runs."""
    _show(session, session.client.schedule(name))


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
    _show(session, session.client.create_schedule(name, type, **fields))


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
    kept = {field: now[field] for field in _DEFINITION if now[field] is not None or field == "payload"}
    given = _given(cron, every, timezone, payload, queue, catch_up, overlap)
    for field, other in (("cron", "every"), ("every", "cron")):
        if field in given:
            kept.pop(other, None)
    fields = {**kept, **given}
    fields["type"] = type or fields["type"]
    _show(session, session.client.put_schedule(name, **fields))


def delete(session: Session, name: words.ScheduleName, yes: words.Yes = False) -> None:
    """Remove a schedule; the tasks that it has submitted stay."""
    confirm(session, f"Remove schedule {name}?", yes=yes)
    session.client.delete_schedule(name)
    session.done(f"schedule {name} is removed", removed=name)


def run(session: Session, name: words.ScheduleName) -> None:
    """Submit its task now, besides its ticks."""
    answer = session.client.run_schedule(name)
    session.show(answer.document(), lambda: session.output.say(f"schedule {name} has run: task {answer.task_id}"))


def pause(session: Session, name: words.ScheduleName) -> None:
    """Let its ticks pass until it is resumed."""
    answer = session.client.pause_schedule(name)
    session.show(answer.document(), lambda: session.output.say(f"schedule {name} is paused"))


def resume(session: Session, name: words.ScheduleName) -> None:
    """Let it tick again."""
    answer = session.client.resume_schedule(name)
    session.show(answer.document(), lambda: session.output.say(f"schedule {name} ticks again"))


def _show(session: Session, schedule: "Schedule") -> None:
    shown = {**schedule.model_dump(exclude={"last_runs"}), "last_run": _last_run(schedule)}
    session.show(schedule.document(), lambda: session.output.fields(shown))


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


def _row(schedule: "Schedule") -> list[Any]:
    return [
        schedule.name,
        schedule.type,
        schedule.cron or f"every {schedule.every or 0:g} s",
        schedule.timezone,
        "paused" if schedule.paused else "on",
        schedule.next_run_at,
        _last_run(schedule),
    ]


def _last_run(schedule: "Schedule") -> str | None:
    if not schedule.last_runs:
        return None
    last = schedule.last_runs[0]
    return f"{last.tick.astimezone():%Y-%m-%d %H:%M:%S} {last.status or last.outcome}"
