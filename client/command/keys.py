"""API keys, and who did what with them."""

from itertools import islice
from typing import Annotated

import typer

from client.command import words
from client.command.queues import confirm
from client.command.session import Session, command

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="How its holder is called.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="API keys.")
    for name, function in (("create", create), ("list", list_), ("revoke", revoke)):
        command(keys, name)(function)
    app.add_typer(keys, name="keys")
    command(app, "audit")(audit)


def create(
    session: Session,
    name: KeyName,
    scope: Annotated[
        list[str] | None, typer.Option(help="submit, read or operate; may be repeated. Default: all three.")
    ] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="Its limit; default: that of the server.")] = None,
) -> None:
    """Make an API key; it is shown once.

    taskmill keys create billing --scope submit --scope read
    """
    made = session.client.create_key(name, scope, requests_per_minute=requests_per_minute)

    def print_it() -> None:
        print(made.key)
        session.output.note("keep it: it is not shown again")

    session.show(made.document(), print_it)


def list_(session: Session) -> None:
    """List the API keys, without the keys themselves."""
    found = [key.document() for key in session.client.api_keys()]
    columns = ["name", "scopes", "requests_per_minute", "source", "created_at", "revoked_at"]
    rows = [
        [" ".join(key["scopes"]) if column == "scopes" else key.get(column) for column in columns] for key in found
    ]
    session.show(found, lambda: session.output.table(columns, rows))


def revoke(session: Session, name: KeyName, yes: words.Yes = False) -> None:
    """Let a key open nothing from now on."""
    confirm(session, f"Revoke the key {name}?", yes=yes)
    session.client.revoke_key(name)
    session.done(f"key {name} is revoked", revoked=name)


def audit(
    session: Session,
    actor: Annotated[str | None, typer.Option(help="Only by this key.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this: queue.pause, …")] = None,
    target: Annotated[str | None, typer.Option(help="Only on this queue, task, schedule, …")] = None,
    limit: words.Limit = 20,
) -> None:
    """List what operators did, the latest first."""
    asked = session.client.audit(actor=actor, action=action, target=target, page_size=min(limit, 1000))
    found = list(islice(asked, limit))
    session.show(
        [entry.document() for entry in found],
        lambda: session.output.table(
            ["at", "actor", "action", "target", "details"],
            [[entry.at, entry.actor, entry.action, entry.target, entry.details or None] for entry in found],
        ),
    )
