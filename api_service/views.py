"""What answers look like. The task itself is written by `shared.domain.task.document`; its view only describes it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from shared.domain.status import TaskStatus


class AcceptedView(BaseModel):
    """A task that will reach a final status."""

    task_id: UUID
    status: TaskStatus
    type: str
    queue: str
    duplicate: bool = Field(description="Whether the task was there already")
    created_at: datetime


class BatchItemView(BaseModel):
    """One task of a batch."""

    task_id: UUID
    status: TaskStatus
    duplicate: bool


class BatchView(BaseModel):
    """The tasks of a batch, in its order."""

    items: list[BatchItemView]


class ProgressView(BaseModel):
    """How far a task has come; `percent` is null where the total is not known."""

    done: float
    total: float | None
    percent: float | None
    message: str


class FailureView(BaseModel):
    """What went wrong in one attempt."""

    kind: str
    message: str
    traceback: str | None


class ArtifactView(BaseModel):
    """A file that a task has made."""

    name: str
    size: int
    media_type: str
    href: str


class TaskView(BaseModel):
    """A task."""

    task_id: UUID
    type: str
    queue: str
    priority: Literal["normal", "high"]
    status: TaskStatus
    attempt: int = Field(description="Number of the latest attempt; 0 before the first")
    max_attempts: int
    progress: ProgressView | None
    result: Any
    error: FailureView | None
    errors: list[FailureView] = Field(description="One for each failed attempt")
    artifacts: list[ArtifactView]
    payload: Any
    tags: list[str]
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    worker: str | None
    cancel_requested: bool
    submitted_by: str | None = Field(None, description="Name of the API key that sent it, or `schedule:NAME`")


class CancelledView(BaseModel):
    """A task that had not started and never will."""

    status: Literal["cancelled"]


class CancelRequestedView(BaseModel):
    """A task that runs; its handler is being stopped."""

    status: Literal["running"]
    cancel_requested: bool


class RenewedView(BaseModel):
    """A task that runs again."""

    task_id: UUID
    status: TaskStatus
    type: str
    queue: str
    created_at: datetime


class ExplanationView(BaseModel):
    """Why a task is not running, or that it is."""

    code: Literal[
        "scheduled",
        "queue_paused",
        "no_worker_for_queue",
        "type_unknown_to_workers",
        "waiting_in_line",
        "broker_unreachable",
        "retrying",
        "running",
        "final",
    ]
    text: str
    since: datetime | None
    details: dict[str, Any]


class TaskDefaultsView(BaseModel):
    """What holds for a task that doesn't say otherwise. Durations in seconds."""

    queue: str
    max_attempts: int
    timeout: float
    soft_timeout: float | None


class TaskTypeView(BaseModel):
    """A type of task that a worker has announced."""

    name: str
    queue: str
    summary: str
    payload_schema: dict[str, Any]
    result_schema: dict[str, Any]
    defaults: TaskDefaultsView
    example: Any = Field(description="A payload that the schema accepts")
    live_workers: int


class RatesView(BaseModel):
    """Tasks per minute, over the last minutes."""

    submitted: float
    succeeded: float
    failed: float
    retried: float


class QueueView(BaseModel):
    """The figures of a queue."""

    name: str
    ready: int
    running: int
    scheduled: int
    retrying: int
    failed: int
    consumers: int
    paused: bool
    paused_at: datetime | None = Field(description="From when on no task of it was started")
    oldest_queued_seconds: float | None
    rates: RatesView


class WorkerView(BaseModel):
    """A worker process."""

    id: str
    host: str
    pid: int
    queues: dict[str, int] = Field(description="Tasks of each queue that it runs at once")
    running: int
    since: datetime
    heartbeat: datetime
    version: str
    healthy: bool
    stopping: bool
    draining: bool = Field(description="Whether it was told to take nothing more")
    stale: bool


class PurgedView(BaseModel):
    """How many tasks a purge has cancelled."""

    purged: int


class ReplayView(BaseModel):
    """The task that replays dead letters; its progress and result say what became of them."""

    task_id: UUID
    status: TaskStatus
    matching: int = Field(description="Dead letters that match now; those that can't be replayed are skipped")
    per_second: float
    before: datetime = Field(description="Those that die later are left alone")
    duplicate: bool = Field(description="Whether the Idempotency-Key named a replay that was asked for already")


class DeadLetterView(BaseModel):
    """A failed task, or a message that nobody could read."""

    id: UUID
    task_id: UUID | None
    type: str | None
    queue: str
    reason: str
    error: FailureView | None
    body: str | None = Field(description="The message, in base64, where there is no task")
    died_at: datetime


class ComponentView(BaseModel):
    """A server that the API stands on."""

    state: Literal["up", "down"]
    latency_ms: float
    detail: str | None = None


class ReadinessView(BaseModel):
    """Whether tasks are accepted. `degraded`: they are, but something is slower than usual."""

    status: Literal["ok", "degraded"]
    components: dict[str, ComponentView]


class HealthView(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
