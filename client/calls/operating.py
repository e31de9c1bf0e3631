"""Queues, workers, dead letters, schedules, keys, and how it all goes."""

from collections.abc import Sequence
from typing import Any

from client.calls.call import Call, as_json, as_model, as_nothing, as_page, fresh_key, get, path, send
from client.models import (
    ApiKey,
    AuditEntry,
    BulkReplay,
    DeadLetter,
    Diagnosis,
    Page,
    Purged,
    Queue,
    Readiness,
    Renewed,
    Schedule,
    ScheduleStarted,
    Stats,
    TaskType,
    Worker,
)

# What there is .......................................................................


def task_types() -> Call[Page[TaskType]]:
    """Every type that a worker has announced, by name."""
    return get(path("task-types"), as_page(TaskType))


def queues() -> Call[Page[Queue]]:
    """Every queue that was ever named, with its figures."""
    return get(path("queues"), as_page(Queue))


def workers() -> Call[Page[Worker]]:
    """Every worker that has not left, the newest first."""
    return get(path("workers"), as_page(Worker))


def stats(*, minutes: int | None = None) -> Call[Stats]:
    """Figures per minute and queue, of the last so many minutes."""
    return get(path("stats"), as_model(Stats), minutes=minutes)


def health() -> Call[Any]:
    """`{"status": "ok"}`, from an API that lives."""
    return get(path("health"), as_json)


def diagnostics() -> Call[Diagnosis]:
    """What the API finds when it looks at its whole deployment."""
    return get(path("diagnostics"), as_model(Diagnosis))


# Queues and workers ..................................................................


def pause_queue(queue: str) -> Call[Queue]:
    """Let nothing of a queue start until it is resumed; what runs goes on."""
    return send("POST", path("queues", queue, "pause"), as_model(Queue), is_repeatable=True)


def resume_queue(queue: str) -> Call[Queue]:
    """Let a paused queue go on."""
    return send("POST", path("queues", queue, "resume"), as_model(Queue), is_repeatable=True)


def purge_queue(queue: str) -> Call[Purged]:
    """Cancel everything in a queue that has not started."""
    return send("DELETE", path("queues", queue, "purge"), as_model(Purged), is_repeatable=True)


def drain_worker(worker_id: str) -> Call[Worker]:
    """Let a worker take nothing more and finish what it runs; it stays, idle, until it is restarted."""
    return send("POST", path("workers", worker_id, "drain"), as_model(Worker), is_repeatable=True)


# Dead letters ........................................................................


def dead_letters(
    *, queue: str | None = None, type: str | None = None, reason: str | None = None, page_size: int | None = None
) -> Call[Page[DeadLetter]]:
    """What has failed for good, the latest first."""
    return get(path("dead-letters"), as_page(DeadLetter), queue=queue, type=type, reason=reason, limit=page_size)


def dead_letter(letter_id: str) -> Call[DeadLetter]:
    """One of them."""
    return get(path("dead-letters", letter_id), as_model(DeadLetter))


def replay(letter_id: str, **changes: Any) -> Call[Renewed]:
    """Run the task of a dead letter again, with its attempts renewed; `payload=…` puts another payload in place."""
    body = {"payload": changes["payload"]} if "payload" in changes else None
    return send("POST", path("dead-letters", letter_id, "replay"), as_model(Renewed), body, is_repeatable=False)


def replay_all(
    *,
    queue: str | None = None,
    type: str | None = None,
    reason: str | None = None,
    per_second: float | None = None,
) -> Call[BulkReplay]:
    """Replay all dead letters that match, at most so many a second; a task does it, whose id is the answer."""
    wanted = {"queue": queue, "type": type, "reason": reason, "per_second": per_second}
    body = {name: value for name, value in wanted.items() if value is not None}
    where = path("dead-letters", "replay")
    return send("POST", where, as_model(BulkReplay), body, headers=fresh_key(), is_repeatable=True)


def discard(letter_id: str) -> Call[None]:
    """Forget a dead letter. Its task, if it has one, stays failed."""
    return send("DELETE", path("dead-letters", letter_id), as_nothing, is_repeatable=False)


# Schedules ...........................................................................


def schedules() -> Call[Page[Schedule]]:
    """Every schedule, by name."""
    return get(path("schedules"), as_page(Schedule))


def schedule(name: str) -> Call[Schedule]:
    """One of them."""
    return get(path("schedules", name), as_model(Schedule))


def create_schedule(name: str, type: str, **fields: Any) -> Call[Schedule]:
    """Make a schedule.

    Args:
        name: How it is called from then on.
        type: Of the tasks that it submits.
        fields: `cron` or `every` (seconds), and `timezone`, `payload`, `queue`, `catch_up`, `overlap`.
    """
    body = {"name": name, "type": type, **fields}
    return send("POST", path("schedules"), as_model(Schedule), body, is_repeatable=False)


def put_schedule(name: str, type: str, **fields: Any) -> Call[Schedule]:
    """Make a schedule, or put another one in its place; arguments as those of `create_schedule`."""
    body = {"name": name, "type": type, **fields}
    return send("PUT", path("schedules", name), as_model(Schedule), body, is_repeatable=True)


def delete_schedule(name: str) -> Call[None]:
    """Remove a schedule; the tasks that it has submitted stay."""
    return send("DELETE", path("schedules", name), as_nothing, is_repeatable=False)


def run_schedule(name: str) -> Call[ScheduleStarted]:
    """Submit its task now, besides its ticks."""
    where = path("schedules", name, "run")
    return send("POST", where, as_model(ScheduleStarted), headers=fresh_key(), is_repeatable=True)


def pause_schedule(name: str) -> Call[Schedule]:
    """Let its ticks pass until it is resumed."""
    return send("POST", path("schedules", name, "pause"), as_model(Schedule), is_repeatable=True)


def resume_schedule(name: str) -> Call[Schedule]:
    """Let it tick again."""
    return send("POST", path("schedules", name, "resume"), as_model(Schedule), is_repeatable=True)


# Keys ................................................................................


def api_keys() -> Call[Page[ApiKey]]:
    """The API keys, without the keys themselves."""
    return get(path("keys"), as_page(ApiKey))


def create_key(
    name: str, scopes: Sequence[str] | None = None, *, requests_per_minute: float | None = None
) -> Call[ApiKey]:
    """Make an API key, by default of all scopes. The answer holds it, and nobody can ask for it again."""
    wanted = {"name": name, "scopes": scopes and list(scopes), "requests_per_minute": requests_per_minute}
    body = {field: value for field, value in wanted.items() if value is not None}
    return send("POST", path("keys"), as_model(ApiKey), body, is_repeatable=False)


def revoke_key(name: str) -> Call[None]:
    """Let a key open nothing from now on."""
    return send("DELETE", path("keys", name), as_nothing, is_repeatable=False)


def audit(
    *, actor: str | None = None, action: str | None = None, target: str | None = None, page_size: int | None = None
) -> Call[Page[AuditEntry]]:
    """What operators asked for, the latest first."""
    return get(path("audit"), as_page(AuditEntry), actor=actor, action=action, target=target, limit=page_size)


def readiness() -> Call[Readiness]:
    """Whether tasks are accepted, and each server that the API stands on; UnavailableError while they are not."""
    return get(path("health", "ready"), as_model(Readiness))
