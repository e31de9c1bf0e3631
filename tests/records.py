"""Tasks that no database has seen."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from shared.domain.task import TaskRecord


def task_record(**fields: Any) -> TaskRecord:
    """A task in its first attempt, but for `fields`."""
    now = datetime.now(UTC)
    task = TaskRecord(
        id=uuid4(), type="demo.echo", queue="default", priority="normal", status="running", attempt=1,
        attempts_before=0, max_attempts=3, timeout_s=60, soft_timeout_s=None, payload="1", result=None, error=None,
        errors=[], progress=None, tags=[], created_at=now, queued_at=now, run_at=None, started_at=now,
        finished_at=None, expires_at=None, worker="a", cancel_requested=False, unique_key=None, parent_id=None,
        request_id=None, submitted_by=None, callback_url=None, artifacts=None, version=2,
    )  # fmt: skip
    return task._replace(**fields)
