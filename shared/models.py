"""The tables. Every statement on them lives in `shared.store`."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, LargeBinary, MetaData, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.domain.status import EXPIRE, RELEASE, TaskStatus
from shared.store.statement import sql_list

_NOW: Final = text("now()")


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(column_0_label)s_idx",
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_name)s_key",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it off the class
        datetime: TIMESTAMP(timezone=True),
        str: Text,
        bytes: LargeBinary,
        list[str]: ARRAY(Text),
    }


class TaskRow(Base):
    """One task, from its acceptance until retention takes it. Partitioned; see `shared.domain.partition`.

    JSON is kept as text: it is never searched, and text keeps what jsonb would refuse or change (NUL escapes,
    long numbers, the order of keys).
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint(f"status IN ({sql_list(frozenset(TaskStatus))})", name="tasks_status_check"),
        Index("tasks_due_idx", "run_at", postgresql_where=text(f"status IN ({sql_list(RELEASE.sources)})")),
        Index(
            "tasks_expiring_idx",
            "expires_at",
            postgresql_where=text(f"expires_at IS NOT NULL AND status IN ({sql_list(EXPIRE.sources)})"),
        ),
        Index("tasks_running_idx", "worker", postgresql_where=text("status = 'running'")),
        Index("tasks_queued_idx", "queue", "id", postgresql_where=text("status = 'queued'")),
        Index("tasks_failed_idx", "queue", "id", postgresql_where=text("status = 'failed'")),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    queue: Mapped[str]
    priority: Mapped[str]
    status: Mapped[str]
    attempt: Mapped[int]
    attempts_before: Mapped[int] = mapped_column(comment="attempt numbers spent before the last renewal")
    max_attempts: Mapped[int]
    timeout_s: Mapped[float]
    soft_timeout_s: Mapped[float | None]
    payload: Mapped[str]
    result: Mapped[str | None]
    error: Mapped[str | None]
    errors: Mapped[list[str]]
    progress: Mapped[str | None]
    tags: Mapped[list[str]]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    run_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    worker: Mapped[str | None]
    cancel_requested: Mapped[bool]
    unique_key: Mapped[bytes | None]
    parent_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    submitted_by: Mapped[str | None] = mapped_column(comment="name of the API key that sent it")
    callback_url: Mapped[str | None]
    artifacts: Mapped[str | None] = mapped_column(comment="JSON array: the files of the last attempt that ended")
    version: Mapped[int] = mapped_column(comment="grows with every change; caches keep the highest")


class RetiredPartitionRow(Base):
    """A former partition of `tasks`: its tasks are forgotten, it and what belonged to them is still to be deleted."""

    __tablename__ = "retired_partitions"

    name: Mapped[str] = mapped_column(primary_key=True, comment="of the table that was the partition")
    first_id: Mapped[UUID]
    end_id: Mapped[UUID] = mapped_column(comment="the first id behind it")
    ended_before: Mapped[datetime] = mapped_column(comment="what ended later is not forgotten")


class OutboxRow(Base):
    """A doorbell that still has to ring. Deleted once the broker has confirmed it.

    `due_at` is when the relay takes it: a moment ahead where somebody publishes it directly. Thousands of rows come
    and go in a second, so vacuum comes by count, doesn't pause, and leaves the file at the size that it will need
    again (making it shorter takes a lock that nobody gets past).
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_due_idx", "due_at"),
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": "0",
                "autovacuum_vacuum_threshold": "5000",
                "autovacuum_vacuum_cost_delay": "0",
                "vacuum_truncate": "off",
            }
        },
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    task_id: Mapped[UUID]
    attempt: Mapped[int]
    queue: Mapped[str]
    priority: Mapped[str]
    type: Mapped[str | None]
    due_at: Mapped[datetime]


class TaskKeyRow(Base):
    """An idempotency or uniqueness key: taken while `open` or until `keep_until`, whichever is later."""

    __tablename__ = "task_keys"
    __table_args__ = (Index("task_keys_spent_idx", "keep_until", postgresql_where=text("NOT open")),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(primary_key=True)
    task_id: Mapped[UUID]
    fingerprint: Mapped[bytes]
    open: Mapped[bool]
    keep_until: Mapped[datetime]


class TaskTypeRow(Base):
    """What workers announce when they start."""

    __tablename__ = "task_types"

    name: Mapped[str] = mapped_column(primary_key=True)
    announcement: Mapped[str] = mapped_column(comment="JSON of TaskTypeInfo")
    announced_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    mean_s: Mapped[float | None] = mapped_column(comment="how long an attempt runs, as workers have measured")


class QueueRow(Base):
    """A queue that was ever named by a worker or a client."""

    __tablename__ = "queues"
    __table_args__ = (Index("queues_paused_idx", "name", postgresql_where=text("paused")),)

    name: Mapped[str] = mapped_column(primary_key=True)
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    paused_at: Mapped[datetime | None]
    resumed_at: Mapped[datetime | None] = mapped_column(comment="set until its queued tasks are rung for again")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class WorkerRow(Base):
    """A worker process and its heartbeat.

    `steady_since` is when its heartbeats began to come without a gap: a worker that could not write its own
    for a while must not judge the others by theirs.
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    queues: Mapped[str] = mapped_column(comment="JSON object: queue to concurrency")
    types: Mapped[list[str]]
    running: Mapped[int]
    healthy: Mapped[bool]
    stopping: Mapped[bool]
    drain_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    steady_since: Mapped[datetime]
    stale_after_s: Mapped[float]


class DeadLetterRow(Base):
    """A failed task (its id is the task's), or a message that nobody could read."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index("dead_letters_died_idx", "died_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    type: Mapped[str | None]
    queue: Mapped[str]
    reason: Mapped[str]
    error: Mapped[str | None]
    body: Mapped[bytes | None]
    died_at: Mapped[datetime]


class TaskMarkRow(Base):
    """A step that a handler has done for good: a later attempt of its task leaves it out."""

    __tablename__ = "task_marks"

    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    mark: Mapped[str] = mapped_column(primary_key=True)


class ArtifactRow(Base):
    """A file in the artifact store: made by an attempt of a task, or uploaded (then it has no task)."""

    __tablename__ = "artifacts"
    __table_args__ = (
        Index("artifacts_task_idx", "task_id", postgresql_where=text("task_id IS NOT NULL")),
        Index("artifacts_uploaded_idx", "created_at", postgresql_where=text("task_id IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID | None]
    attempt: Mapped[int | None]
    name: Mapped[str | None]
    media_type: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class ScheduleRow(Base):
    """Submits a task at each of its ticks."""

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint("(cron IS NULL) <> (every_s IS NULL)", name="schedules_rhythm_check"),
        Index("schedules_due_idx", "next_run_at", postgresql_where=text("NOT paused AND next_run_at IS NOT NULL")),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    cron: Mapped[str | None]
    every_s: Mapped[float | None]
    timezone: Mapped[str]
    type: Mapped[str]
    payload: Mapped[str]
    queue: Mapped[str | None]
    catch_up: Mapped[str]
    overlap: Mapped[str]
    paused: Mapped[bool]
    built_in: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    next_run_at: Mapped[datetime | None] = mapped_column(comment="the next tick that nobody has dealt with")
    last_task_id: Mapped[UUID | None]
    version: Mapped[int]


class ScheduleRunRow(Base):
    """What was done about one tick of a schedule. The key sees to it that each tick is dealt with once."""

    __tablename__ = "schedule_runs"

    schedule: Mapped[str] = mapped_column(primary_key=True)
    tick: Mapped[datetime] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    reason: Mapped[str | None] = mapped_column(comment="why there was no task")
    task_id: Mapped[UUID | None]
    ran_at: Mapped[datetime]


class ApiKeyRow(Base):
    """A key that was made over the API. Only its hash is kept."""

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    requests_per_minute: Mapped[float | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str | None]
    revoked_at: Mapped[datetime | None]


class AuditRow(Base):
    """An operator's action: who asked for what, and when."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_at_idx", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=_NOW)
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    details: Mapped[str] = mapped_column(comment="JSON object")
    request_id: Mapped[str | None]
