"""Why a queued task is not running."""

from datetime import UTC, datetime
from typing import Any

import pytest

from api_service.explaining import explain_queued
from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from shared.store.tasks import QueueFacts

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WELL = QueueFacts(paused=False, consumed=True, type_known=True, ahead=3, in_outbox_since=None)


def queued_task() -> TaskRecord:
    fields: dict[str, Any] = dict.fromkeys(TaskRecord.__slots__)
    return TaskRecord(
        **fields | {"id": new_task_id(), "queue": "q", "type": "t", "status": "queued", "queued_at": NOW}
    )


@pytest.mark.parametrize(
    "facts, is_held_up, code",
    [
        (WELL, False, "waiting_in_line"),
        (WELL, True, "broker_unreachable"),
        (QueueFacts(False, True, False, 0, None), True, "type_unknown_to_workers"),
        (QueueFacts(False, False, False, 0, None), True, "no_worker_for_queue"),
        (QueueFacts(True, False, False, 0, None), True, "queue_paused"),
    ],
)
def test_what_a_person_must_mend_is_told_first(facts: QueueFacts, is_held_up: bool, code: str) -> None:
    explained = explain_queued(queued_task(), facts, is_held_up=is_held_up)

    assert explained.code == code
    assert explained.since == NOW


def test_the_line_ahead_is_told() -> None:
    explained = explain_queued(queued_task(), WELL, is_held_up=False)

    assert "3" in explained.text
    assert explained.details["ahead"] == 3
