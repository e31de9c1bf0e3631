"""What there is: types, queues, workers; and holding them up."""

from typing import TYPE_CHECKING, Annotated

import typer

from client.command import words
from client.command.exits import NOT_FOUND, CommandError
from client.command.session import Session, command

if TYPE_CHECKING:
    from client.models import Worker


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (
        ("types", types),
        ("queues", queues),
        ("pause", pause),
        ("resume", resume),
        ("purge", purge),
        ("workers", workers),
        ("drain", drain),
    ):
        command(app, name)(function)


def types(session: Session, name: words.SomeType = None) -> None:
    """List the types of tasks, or show one in full.

    A type is here as soon as a worker has announced it; NAME shows its schemas.
    """
    found = [type_ for type_ in session.client.task_types() if name in (None, type_.name)]
    if name is None:
        session.show(
            [type_.document() for type_ in found],
            lambda: session.output.table(
                ["name", "queue", "workers", "summary", "example"],
                [[type_.name, type_.queue, type_.live_workers, type_.summary, type_.example] for type_ in found],
            ),
        )
        return
    if not found:
        raise CommandError(
            f"no worker has announced the type {name!r}: see taskmill types", status=NOT_FOUND, code="not_found"
        )
    [one] = found
    session.show(one.document(), lambda: session.output.value(one.document()))


def queues(session: Session) -> None:
    """Show what waits and runs in each queue."""
    found = list(session.client.queues())
    session.show(
        [queue.document() for queue in found],
        lambda: session.output.table(
            ["name", "state", "ready", "running", "scheduled", "retrying", "failed", "consumers", "oldest s"],
            [
                [
                    queue.name,
                    "paused" if queue.paused else "open",
                    queue.ready,
                    queue.running,
                    queue.scheduled,
                    queue.retrying,
                    queue.failed,
                    queue.consumers,
                    None if queue.oldest_queued_seconds is None else round(queue.oldest_queued_seconds, 1),
                ]
                for queue in found
            ],
        ),
    )


def pause(session: Session, queue: words.QueueName) -> None:
    """Let nothing of a queue start until resumed."""
    answer = session.client.pause_queue(queue)
    session.show(answer.document(), lambda: session.output.say(f"{queue} is paused until: taskmill resume {queue}"))


def resume(session: Session, queue: words.QueueName) -> None:
    """Let a paused queue go on."""
    answer = session.client.resume_queue(queue)
    session.show(answer.document(), lambda: session.output.say(f"{queue} goes on"))


def purge(session: Session, queue: words.QueueName, yes: words.Yes = False) -> None:
    """Cancel everything in a queue that has not started."""
    confirm(session, f"Cancel everything in queue {queue} that has not started?", yes=yes)
    answer = session.client.purge_queue(queue)
    session.show(answer.document(), lambda: session.output.say(f"queue {queue}: {answer.purged} cancelled"))


def workers(session: Session) -> None:
    """Show the workers."""
    found = list(session.client.workers())
    session.show(
        [worker.document() for worker in found],
        lambda: session.output.table(
            ["id", "host", "pid", "state", "running", "queues", "since", "version"],
            [
                [
                    worker.id,
                    worker.host,
                    worker.pid,
                    state_of(worker),
                    worker.running,
                    " ".join(f"{name}:{number}" for name, number in worker.queues.items()),
                    worker.since,
                    worker.version,
                ]
                for worker in found
            ],
        ),
    )


def drain(session: Session, worker_id: Annotated[str, typer.Argument(metavar="WORKER_ID")]) -> None:
    """Let a worker finish what it runs, and take nothing more.

    It stays, idle, until it is stopped or restarted.
    """
    answer = session.client.drain_worker(worker_id)
    session.show(answer.document(), lambda: session.output.say(f"worker {worker_id} takes nothing more"))


def state_of(worker: "Worker") -> str:
    """How a worker is, in a word."""
    words = {"stale": worker.stale, "stopping": worker.stopping, "draining": worker.draining}
    return next((word for word, is_so in words.items() if is_so), "ok" if worker.healthy else "unhealthy")


def confirm(session: Session, question: str, *, yes: bool) -> None:
    """Return if a person agrees, or has agreed before; end the command otherwise.

    Raises:
        CommandError: There is nobody to ask.
    """
    import sys

    if yes:
        return
    if session.output.as_json or not sys.stdin.isatty():
        raise CommandError("there is nobody to ask here: say --yes")
    if not typer.confirm(question, err=True):
        raise CommandError("left as it is", status=1, code="declined")
