"""An executor whose worker is stopping."""

from unittest.mock import Mock

from shared.domain.outcome import Interrupted, Report
from tests import worker_handlers
from tests.records import task_record
from worker_service.executor import Executor
from worker_service.process_pool import HandlerProcesses, Setup
from worker_service.registry import registry
from worker_service.running import Running


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
        task=task_record(type="probe.echo"),
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
