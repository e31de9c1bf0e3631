"""An executor whose worker is stopping."""

from datetime import UTC, datetime
from unittest.mock import Mock
from uuid import uuid4

from shared.domain.outcome import Interrupted, Report
from shared.domain.task import TaskRecord
from tests import worker_handlers
from worker_service.executor import Executor
from worker_service.process_pool import HandlerProcesses, Setup
from worker_service.registry import registry
from worker_service.running import Running


def claimed(type_: str) -> TaskRecord:
    now = datetime.now(UTC)
    return TaskRecord(
        id=uuid4(), type=type_, queue="default", priority="normal", status="running", attempt=1, attempts_before=0,
        max_attempts=3, timeout_s=60, soft_timeout_s=None, payload="1", result=None, error=None, errors=[],
        progress=None, tags=[], created_at=now, queued_at=now, run_at=None, started_at=now, finished_at=None,
        expires_at=None, worker="a", cancel_requested=False, unique_key=None, parent_id=None, request_id=None,
        submitted_by=None, callback_url=None, artifacts=None,
        version=2,
    )  # fmt: skip


async def test_an_attempt_that_was_claimed_too_late_goes_back_unspent() -> None:
    reports: list[tuple[Running, Report]] = []
    freed: list[str] = []
    executor = Executor(
        worker_id="a",
        processes=HandlerProcesses(
            1,
            Setup((), "json", "info", "a", "file:///nowhere"),
            on_begun=Mock(),
            on_progress=Mock(),
            on_line=Mock(),
            lookups=Mock(),
        ),
        threads=1,
        on_report=lambda running, report: reports.append((running, report)),
    )
    executor.close()
    worker_handlers.seen.clear()

    late = Running(
        task=claimed("probe.echo"),
        type=registry.get("probe.echo"),
        timeout_s=60,
        on_settled=lambda: None,
        on_free=lambda: freed.append("slot"),
    )
    executor.start(late)
    late.mark_written()

    assert reports == [(late, Interrupted())]
    assert freed == ["slot"]
    assert len(executor) == 0
