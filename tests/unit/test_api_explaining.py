"""Why a task is not running, in codes and words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_service.explaining import BrokerState, explain_queued, explain_status, line_ahead
from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from shared.store.facts import Facts

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=5)
WELL = Facts(now=NOW, live_workers=1, consumers=1, knowing=1, older=3)
HERE = BrokerState(answers=True, honours_priority=True)
AWAY = BrokerState(answers=False)


def task_that(**fields: Any) -> TaskRecord:
    ordinary: dict[str, Any] = {
        **dict.fromkeys(TaskRecord._fields),
        "id": new_task_id(),
        "queue": "q",
        "type": "t",
        "status": "queued",
        "priority": "normal",
        "queued_at": NOW,
        "attempt": 7,
        "attempts_before": 5,
        "max_attempts": 3,
        "errors": [],
        "worker": "w",
    }
    return TaskRecord(**ordinary | fields)


@pytest.mark.parametrize(
    "facts, broker, code",
    [
        (WELL, HERE, "waiting_in_line"),
        (WELL, AWAY, "broker_unreachable"),
        (replace(WELL, knowing=0), AWAY, "type_unknown_to_workers"),
        (replace(WELL, knowing=0, consumers=0), AWAY, "no_worker_for_queue"),
        (replace(WELL, knowing=0, consumers=0, paused=True, paused_at=NOW), AWAY, "queue_paused"),
    ],
)
def test_what_a_person_must_mend_is_told_first(facts: Facts, broker: BrokerState, code: str) -> None:
    explained = explain_queued(task_that(), facts, broker)

    assert explained.code == code
    assert explained.since == NOW


def test_a_pause_is_told_with_its_beginning_and_its_end() -> None:
    explained = explain_queued(task_that(), replace(WELL, paused=True, paused_at=BEFORE), HERE)

    assert explained.since == BEFORE
    assert "2029-12-31 23:55:00Z" in explained.text
    assert "/queues/q/resume" in explained.text


def test_a_message_in_the_outbox_tells_since_when_the_broker_is_away() -> None:
    explained = explain_queued(task_that(), replace(WELL, in_outbox_since=BEFORE), AWAY)

    assert (explained.code, explained.since) == ("broker_unreachable", BEFORE)
    assert "outbox" in explained.text


def test_workers_that_drain_are_told_of_where_nobody_takes() -> None:
    explained = explain_queued(task_that(), replace(WELL, consumers=0, draining=2), HERE)

    assert "2 that did are draining" in explained.text


@pytest.mark.parametrize(
    "priority, honours, ahead",
    [("normal", True, 5 + 4), ("high", True, 2), ("normal", False, 5), ("high", False, 5)],
)
def test_high_priority_goes_first_where_the_broker_honours_it(priority: str, honours: bool, ahead: int) -> None:
    facts = replace(WELL, older=5, older_high=2, younger_high=4)

    assert line_ahead(priority, facts, honours_priority=honours) == ahead


def test_the_line_ahead_is_told() -> None:
    explained = explain_queued(task_that(), replace(WELL, younger_high=1), HERE)

    assert "4 tasks are ahead" in explained.text
    assert "1 of them of high priority" in explained.text
    assert explained.details["ahead"] == 4


def test_the_first_in_line_is_told_so() -> None:
    assert "the next" in explain_queued(task_that(), replace(WELL, older=0), HERE).text


def test_a_retry_is_told_with_its_number_and_what_went_wrong() -> None:
    error = '{"kind":"OSError","message":"connection reset","traceback":null}'
    explained = explain_status(task_that(status="retrying", run_at=NOW, errors=[error]), WELL)

    assert (explained.code, explained.since) == ("retrying", None)
    assert "attempt 2 of 3 failed (OSError: connection reset)" in explained.text
    assert explained.details["run_at"] == NOW
    assert explained.details["error"] == {"kind": "OSError", "message": "connection reset"}


@pytest.mark.parametrize(
    "facts, words",
    [
        (WELL, "attempt 2 of 3 runs on worker w"),
        (replace(WELL, worker_silent=True, heartbeat=BEFORE), "silent since 2029-12-31 23:55:00Z: another one takes"),
        (replace(WELL, worker_silent=True), "which is gone: another one takes"),
        (replace(WELL, worker_silent=True, live_workers=0), "no other one is there"),
    ],
)
def test_a_running_task_is_told_with_the_silence_of_its_worker(facts: Facts, words: str) -> None:
    explained = explain_status(task_that(status="running", started_at=BEFORE), facts)

    assert (explained.code, explained.since) == ("running", BEFORE)
    assert words in explained.text


def test_what_is_overdue_without_any_worker_is_told_so() -> None:
    task = task_that(status="scheduled", run_at=BEFORE, created_at=BEFORE)

    assert "no live worker" in explain_status(task, replace(WELL, live_workers=0)).text
    assert "no live worker" not in explain_status(task, WELL).text
