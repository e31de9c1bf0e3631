"""Tasks, their news and their files."""

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from client.models.base import Answer

#: Statuses that only a person's retry ends.
FINAL: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})


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
    errors: list[Failure] = Field(default_factory=list)
    artifacts: list[TaskArtifact] = Field(default_factory=list)
    payload: Any = None
    tags: list[str] = Field(default_factory=list)
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
    details: dict[str, Any] = Field(default_factory=dict)


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
    artifacts: list[TaskArtifact] = Field(default_factory=list)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


class Artifact(Answer):
    """An uploaded file."""

    artifact_id: str
    size: int
    media_type: str
    href: str
    name: str | None = None
