"""How it all goes: status, figures, and checks of a deployment."""

from typing import TYPE_CHECKING, Annotated

import typer

from client.command.exits import FAILED, UNAVAILABLE
from client.command.queues import state_of
from client.command.session import Session, command

if TYPE_CHECKING:
    from client.models import Finding, Queue, Readiness, Stats, Worker

_MARKS = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for name, function in (("status", status), ("stats", stats), ("verify", verify), ("doctor", doctor)):
        command(app, name)(function)


def status(session: Session) -> None:
    """Show servers, queues, workers on one screen."""
    readiness = _readiness(session)
    is_ready = readiness.status in ("ok", "degraded")
    queues = list(session.client.queues()) if is_ready else []
    workers = list(session.client.workers()) if is_ready else []
    session.show(
        {
            "url": session.client.url,
            **readiness.document(),
            "queues": [queue.document() for queue in queues],
            "workers": [worker.document() for worker in workers],
        },
        lambda: _print_status(session, readiness, queues, workers),
    )
    if not is_ready:
        raise typer.Exit(UNAVAILABLE)


def stats(
    session: Session, minutes: Annotated[int, typer.Option(min=1, help="Over the last so many minutes.")] = 60
) -> None:
    """Show figures of the last minutes.

    Sums of each queue; --json has them per minute.
    """
    answer = session.client.stats(minutes=minutes)
    session.show(answer.document(), lambda: _print_stats(session, answer))


def verify(
    session: Session,
    timeout: Annotated[float, typer.Option(help="Seconds that any one thing may take to come about.")] = 60.0,
    start: Annotated[float, typer.Option(help="Seconds to wait until anything answers at all.")] = 0.0,
) -> None:
    """Check from outside that everything works.

    Step by step, in about half a minute; it harms nothing.
    """
    if session.output.as_json:
        raise typer.BadParameter("verify prints its steps as it makes them, and no JSON: use its exit status")
    from client import verify as verification

    if not start:
        session.client.health()
    words = ["--url", session.client.url, "--timeout", str(timeout), "--start", str(start)]
    if session.common.api_key is not None:
        words += ["--key", session.common.api_key]
    raise typer.Exit(verification.main(words))


def doctor(session: Session) -> None:
    """Look for what is wrong with a deployment.

    Each finding comes with its remedy; the exit status is 1 if one is bad.
    """
    from client.command.examining import examine

    diagnosis = examine(session.client)
    session.show(diagnosis.document(), lambda: _print_findings(session, diagnosis.findings))
    if diagnosis.status == "bad":
        raise typer.Exit(FAILED)


def _readiness(session: Session) -> "Readiness":
    from client.errors import UnavailableError, UnreachableError
    from client.models import Readiness

    try:
        return session.client.readiness()
    except UnreachableError:
        raise
    except UnavailableError as error:
        return Readiness(status="down", components={}, detail=error.detail)  # type: ignore[call-arg]


def _print_status(session: Session, readiness: "Readiness", queues: "list[Queue]", workers: "list[Worker]") -> None:
    output = session.output
    output.say(f"Taskmill at {session.client.url}: {readiness.status}")
    output.table(
        ["server", "state", "ms", "detail"],
        [[name, part.state, part.latency_ms, part.detail] for name, part in readiness.components.items()],
    )
    output.table(
        ["queue", "state", "ready", "running", "waiting", "failed", "consumers"],
        [
            [
                queue.name,
                "paused" if queue.paused else "open",
                queue.ready,
                queue.running,
                queue.scheduled + queue.retrying,
                queue.failed,
                queue.consumers,
            ]
            for queue in queues
        ],
    )
    output.table(
        ["worker", "state", "running"],
        [
            [
                worker.id,
                state_of(worker),
                worker.running,
            ]
            for worker in workers
        ],
    )


def _print_stats(session: Session, answer: "Stats") -> None:
    names = ("submitted", "succeeded", "failed", "retried")
    sums: dict[str, dict[str, int]] = {}
    for minute in answer.items:
        queue = sums.setdefault(minute.queue, dict.fromkeys(names, 0))
        for name in names:
            queue[name] += getattr(minute, name)
    if not answer.available:
        session.output.note("Redis, which counts, is away: there are no figures")
    session.output.table(["queue", *names], [[name, *figures.values()] for name, figures in sorted(sums.items())])


def _print_findings(session: Session, findings: "list[Finding]") -> None:
    for finding in findings:
        session.output.say(f"{_MARKS.get(finding.level, finding.level)}  {finding.check}: {finding.text}")
        if finding.remedy and finding.level != "ok":
            session.output.say(f"      → {finding.remedy}")
    bad = sum(finding.level == "bad" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    session.output.say(f"{len(findings)} findings: {bad} bad, {warned} to look at")
