"""Queues, workers, dead letters, schedules, keys, and how it all goes."""

from datetime import datetime
from typing import Any

from pydantic import Field

from client.models.base import Answer
from client.models.tasks import Failure


class TaskType(Answer):
    """A type of task that a worker has announced."""

    name: str
    queue: str
    summary: str = ""
    payload_schema: dict[str, Any] = Field(default_factory=dict)
    result_schema: dict[str, Any] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    example: Any = None
    live_workers: int = 0


class Queue(Answer):
    """The figures of a queue."""

    name: str
    ready: int = 0
    running: int = 0
    scheduled: int = 0
    retrying: int = 0
    failed: int = 0
    consumers: int = 0
    paused: bool = False
    oldest_queued_seconds: float | None = None
    rates: dict[str, float] = Field(default_factory=dict)


class Purged(Answer):
    """How many tasks were cancelled."""

    purged: int


class Worker(Answer):
    """A worker process."""

    id: str
    host: str = ""
    pid: int = 0
    queues: dict[str, int] = Field(default_factory=dict)
    running: int = 0
    since: datetime
    heartbeat: datetime
    version: str = ""
    healthy: bool = True
    stopping: bool = False
    draining: bool = False
    stale: bool = False


class DeadLetter(Answer):
    """A failed task, or a message that nobody could read."""

    id: str
    task_id: str | None = None
    type: str | None = None
    queue: str
    reason: str
    error: Failure | None = None
    body: str | None = None
    died_at: datetime


class BulkReplay(Answer):
    """A replay of many dead letters, done by a task of Taskmill's own."""

    task_id: str
    matching: int | None = None


class ScheduleRun(Answer):
    """What was done about one tick of a schedule."""

    tick: datetime
    outcome: str
    reason: str | None = None
    task_id: str | None = None
    status: str | None = None


class Schedule(Answer):
    """Submits a task at each of its ticks."""

    name: str
    cron: str | None = None
    every: float | None = None
    timezone: str = "UTC"
    type: str
    payload: Any = None
    queue: str | None = None
    catch_up: str = "skip"
    overlap: str = "allow"
    paused: bool = False
    built_in: bool = False
    next_run_at: datetime | None = None
    next_runs: list[datetime] = Field(default_factory=list)
    last_runs: list[ScheduleRun] = Field(default_factory=list)


class ScheduleStarted(Answer):
    """A run that was asked for."""

    task_id: str
    schedule: str
    status: str


class ApiKey(Answer):
    """An API key; `key` is told only when it is made."""

    name: str
    scopes: list[str] = Field(default_factory=list)
    requests_per_minute: float | None = None
    key: str | None = None
    source: str | None = None
    created_at: datetime | None = None
    revoked_at: datetime | None = None


class AuditEntry(Answer):
    """An operator's action."""

    at: datetime
    actor: str = ""
    action: str
    target: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Minute(Answer):
    """One queue in one minute; durations in seconds, None where there was nothing to measure."""

    minute: datetime
    queue: str
    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    waiting_p50: float | None = None
    waiting_p95: float | None = None
    running_p50: float | None = None
    running_p95: float | None = None


class Stats(Answer):
    """Figures per minute and queue. `available`: False where nobody has counted them."""

    items: list[Minute] = Field(default_factory=list)
    available: bool = True


class Component(Answer):
    """A server that the API stands on."""

    state: str
    latency_ms: float | None = None
    detail: str | None = None


class Readiness(Answer):
    """Whether tasks are accepted: `ok`, or `degraded` where something is slower than usual."""

    status: str
    components: dict[str, Component] = Field(default_factory=dict)


class Finding(Answer):
    """One thing that was looked at.

    Attributes:
        check: What.
        level: `ok`, `warn` or `bad`.
        text: What was found.
        remedy: What to do about it.
    """

    check: str
    level: str
    text: str
    remedy: str | None = None


class Diagnosis(Answer):
    """What the API knows of its deployment."""

    status: str
    findings: list[Finding] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict)
