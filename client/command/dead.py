"""`taskmill dead`: what has failed for good."""

from typing import Annotated, Any

import typer

from client.command import words
from client.command.queues import confirm
from client.command.session import Session, command

LetterId = Annotated[str, typer.Argument(metavar="ID", help="Of the dead letter; a failed task has its own id.")]
Reason = Annotated[str | None, typer.Option(help="Only of this reason: ValueError, worker_lost, …")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dead = typer.Typer(help="What has failed for good: list, show, replay, discard.")
    for name, function in (("list", list_), ("show", show), ("replay", replay), ("discard", discard)):
        command(dead, name)(function)
    app.add_typer(dead, name="dead")


def list_(
    session: Session,
    queue: words.OfQueue = None,
    type: words.OfType = None,
    reason: Reason = None,
    limit: words.Limit = 20,
) -> None:
    """List dead letters, the latest first."""
    from itertools import islice

    found = session.client.dead_letters(queue=queue, type=type, reason=reason, page_size=min(limit, 1000))
    letters = list(islice(found, limit))
    session.show(
        [letter.document() for letter in letters],
        lambda: session.output.table(
            ["id", "type", "queue", "reason", "died", "error"],
            [
                [
                    letter.id,
                    letter.type,
                    letter.queue,
                    letter.reason,
                    letter.died_at,
                    f"{letter.error.kind}: {letter.error.message}" if letter.error else None,
                ]
                for letter in letters
            ],
        ),
    )


def show(session: Session, letter_id: LetterId) -> None:
    """Show a dead letter, with its traceback."""
    letter = session.client.dead_letter(letter_id)

    def print_it() -> None:
        fields = letter.document()
        error = fields.pop("error") or {}
        session.output.fields({**fields, "error": f"{error['kind']}: {error['message']}" if error else None})
        for line in (error.get("traceback") or "").splitlines():
            session.output.say(line)

    session.show(letter.document(), print_it)


def replay(
    session: Session,
    letter_id: Annotated[str | None, typer.Argument(metavar="ID", help="One dead letter.")] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="Run it with another payload.")] = None,
    file: words.PayloadFile = None,
    all_: Annotated[bool, typer.Option("--all", help="All that match the filters.")] = False,
    queue: words.OfQueue = None,
    type: words.OfType = None,
    reason: Reason = None,
    per_second: Annotated[float | None, typer.Option(help="With --all: at most so many a second.")] = None,
    yes: words.Yes = False,
) -> None:
    """Run a dead letter again, or --all that match.

    With their attempts renewed; they are no dead letters then.
    """
    filters = {"queue": queue, "type": type, "reason": reason}
    if all_ == (letter_id is not None):
        raise typer.BadParameter("name one dead letter by its ID, or say --all")
    if all_:
        if payload is not None or file is not None:
            raise typer.BadParameter("a payload is for one dead letter, not for --all")
        _replay_all(session, filters, per_second, yes=yes)
        return
    if per_second is not None or any(filters.values()):
        raise typer.BadParameter("--queue, --type, --reason and --per-second go with --all")
    changes: dict[str, Any] = {}
    if payload is not None or file is not None:
        changes["payload"] = words.payload(payload, file)
    answer = session.client.replay(letter_id or "", **changes)
    session.show(answer.document(), lambda: session.output.say(f"{answer.task_id}: {answer.status} again"))


def discard(session: Session, letter_id: LetterId, yes: words.Yes = False) -> None:
    """Forget a dead letter; its task, if it has one, stays failed."""
    confirm(session, f"Forget dead letter {letter_id}?", yes=yes)
    session.client.discard(letter_id)
    session.done(f"dead letter {letter_id} is discarded", discarded=letter_id)


def _replay_all(session: Session, filters: dict[str, Any], per_second: float | None, *, yes: bool) -> None:
    named = ", ".join(f"{name} {value}" for name, value in filters.items() if value)
    confirm(session, f"Replay all dead letters{f' of {named}' if named else ''}?", yes=yes)
    answer = session.client.replay_all(**filters, per_second=per_second)
    number = "" if answer.matching is None else f" ({answer.matching} match)"
    session.show(
        answer.document(),
        lambda: session.output.say(f"a task replays them{number}: taskmill watch {answer.task_id}"),
    )
