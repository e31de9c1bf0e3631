"""What Taskmill answers, typed. Fields that a newer server adds are kept, and are no error."""

from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

#: Statuses that only a person's retry ends.
FINAL: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})


class Answer(BaseModel):
    """Base of all answers: frozen, tolerant of fields that it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def document(self) -> Any:
        """The same as the JSON value that the server sent, with what it left out filled in."""
        return self.model_dump(mode="json")


class Page(Answer, Generic[T]):
    """A page of a list, and the cursor of the one after it."""

    items: list[T]
    next: str | None = None


# Tasks ..............................................................................


class Accepted(Answer):
    """A task that will reach a final status. `duplicate`: it was there already."""

    task_id: str
    status: str
    type: str
    queue: str
    duplicate: bool = False
    created_at: datetime


class BatchItem(Answer):
    """One task of a batch."""

    task_id: str
    status: str
    duplicate: bool = False


class Batch(Answer):
    """The tasks of a batch, in its order."""

    items: list[BatchItem]


class Progress(Answer):
    """How far a task has come; `percent` is None where the total is not known."""

    done: float
    total: float | None = None
    percent: float | None = None
    message: str = ""


class Failure(Answer):
    """What went wrong in one attempt."""

    kind: str
    message: str
    traceback: str | None = None


class TaskArtifact(Answer):
    """A file that a task has made."""

    name: str
    size: int
    media_type: str
    href: str


class Task(Answer):
    """A task as it was when it was asked for."""

    task_id: str
    type: str
    queue: str
    priority: str = "normal"
    status: str
    attempt: int
    max_attempts: int
    progress: Progress | None = None
    result: Any = None
    error: Failure | None = None
    errors: list[Failure] = []
    artifacts: list[TaskArtifact] = []
    payload: Any = None
    tags: list[str] = []
    created_at: datetime
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    worker: str | None = None
    cancel_requested: bool = False

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


class Cancelled(Answer):
    """`cancelled` where it had not started; `running` with `cancel_requested` where its handler is being stopped."""

    status: str
    cancel_requested: bool = False


class Renewed(Answer):
    """A task that runs again."""

    task_id: str
    status: str
    type: str
    queue: str
    created_at: datetime


class Explanation(Answer):
    """Why a task is not running, or that it is."""

    code: str
    text: str
    since: datetime | None = None
    details: dict[str, Any] = {}


class Event(Answer):
    """Something that happened to a task.

    Attributes:
        kind: `snapshot`, `status`, `progress` or `log`.
        data: The JSON value that came with it.
        id: Its place in the stream, to resume from.
    """

    kind: str
    data: Any
    id: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether it tells of a final status."""
        return (
            self.kind in ("snapshot", "status") and isinstance(self.data, dict) and self.data.get("status") in FINAL
        )


# What there is to operate ............................................................


class TaskType(Answer):
    """A type of task that a worker has announced."""

    name: str
    queue: str
    summary: str = ""
    payload_schema: dict[str, Any] = {}
    result_schema: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
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
    rates: dict[str, float] = {}


class Purged(Answer):
    """How many tasks were cancelled."""

    purged: int


class Worker(Answer):
    """A worker process."""

    id: str
    host: str = ""
    pid: int = 0
    queues: dict[str, int] = {}
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
    next_runs: list[datetime] = []
    last_runs: list[ScheduleRun] = []


class ScheduleStarted(Answer):
    """A run that was asked for."""

    task_id: str
    schedule: str
    status: str


class Artifact(Answer):
    """An uploaded file."""

    artifact_id: str
    size: int
    media_type: str
    href: str
    name: str | None = None


class ApiKey(Answer):
    """An API key; `key` is told only when it is made."""

    name: str
    scopes: list[str] = []
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
    details: dict[str, Any] = {}


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

    items: list[Minute] = []
    available: bool = True


class ReportAccepted(Answer):
    """A report that will be made, or fail and say why."""

    job_id: str
    status: str
    duplicate: bool = False
    created_at: datetime


class ReportJob(Answer):
    """A report under way, or made."""

    job_id: str
    type: str
    status: str
    progress: Progress | None = None
    result: Any = None
    error: Failure | None = None
    artifacts: list[TaskArtifact] = []
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


class Component(Answer):
    """A server that the API stands on."""

    state: str
    latency_ms: float | None = None
    detail: str | None = None


class Readiness(Answer):
    """Whether tasks are accepted: `ok`, or `degraded` where something is slower than usual."""

    status: str
    components: dict[str, Component] = {}


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
    findings: list[Finding] = Field(default=[])
    facts: dict[str, Any] = {}
