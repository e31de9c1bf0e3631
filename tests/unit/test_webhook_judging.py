"""What answers of receivers mean, and what they are sent."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson
import pytest

from shared.domain.task import TaskRecord
from shared.ids import new_task_id
from worker_service import Permanent, Retry
from worker_service.library.webhook.body import MAX_BODY_BYTES, body_of
from worker_service.library.webhook.judging import NotTakenError, require_taken, wait_asked_for

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def judged(status: int, retry_after: str | None = None, attempt: int = 1) -> None:
    require_taken(status, retry_after, attempt=attempt, now=NOW, random=Random(1))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_has_taken_it(status: int) -> None:
    judged(status)


def test_gone_is_the_end() -> None:
    with pytest.raises(Permanent, match="410 Gone"):
        judged(410)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 401, 404, 409, 413, 429, 500, 503, 599])
def test_anything_else_is_tried_again_by_the_policy(status: int) -> None:
    with pytest.raises(NotTakenError, match=str(status)):
        judged(status)


def test_a_redirect_says_what_to_do_about_it() -> None:
    with pytest.raises(NotTakenError, match="redirects are not followed"):
        judged(302)


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_to_wait_is_waited_for(status: int) -> None:
    with pytest.raises(Retry) as caught:
        judged(status, "120")

    assert caught.value.after == 120


@pytest.mark.parametrize(
    "retry_after, seconds",
    [
        ("0", 0),
        (" 17 ", 17),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2026 12:01:00", 60),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e9", None),
        ("9" * 10, None),
        ("Thu, 99 Jan 2026 12:01:00 GMT", None),
        ("\x00", None),
    ],
)
def test_both_forms_of_retry_after_are_understood_and_no_other(
    retry_after: str | None, seconds: float | None
) -> None:
    assert wait_asked_for(retry_after, NOW) == seconds


def test_nobody_can_have_all_attempts_used_up_at_once() -> None:
    with pytest.raises(Retry) as caught:
        judged(429, "0", attempt=5)

    assert caught.value.after is not None
    assert 128 <= caught.value.after <= 160


def test_nobody_can_put_it_off_for_more_than_a_day() -> None:
    with pytest.raises(Retry) as caught:
        judged(503, "999999999")

    assert caught.value.after == 86400


# Bodies ...............................................................................


def record(**changes: Any) -> TaskRecord:
    fields: dict[str, Any] = dict.fromkeys(TaskRecord._fields)
    fields |= {
        "id": new_task_id(),
        "type": "demo.echo",
        "queue": "default",
        "status": "succeeded",
        "attempt": 2,
        "payload": '{"a": 1}',
        "result": '{"b": 2}',
        "errors": [],
        "tags": [],
        "created_at": NOW,
        "finished_at": NOW,
    }
    return TaskRecord(**{**fields, **changes})


def sent(task: TaskRecord, status: str = "succeeded", attempt: int = 2) -> Any:
    body = body_of(task, status=status, attempt=attempt, finished_at=NOW)
    assert len(body) <= MAX_BODY_BYTES
    return orjson.loads(body)


def test_the_document_is_sent_as_the_api_shows_it() -> None:
    body = sent(record())

    assert (body["type"], body["timestamp"]) == ("task.succeeded", "2026-01-01T12:00:00Z")
    assert (body["data"]["payload"], body["data"]["result"]) == ({"a": 1}, {"b": 2})
    assert body["left_out"] == []


@pytest.mark.parametrize(
    "changes, left_out",
    [
        ({"payload": '"%s"' % ("x" * MAX_BODY_BYTES)}, ["payload"]),
        ({"result": '"%s"' % ("x" * MAX_BODY_BYTES)}, ["payload", "errors", "result"]),
        ({"errors": ['{"traceback": "%s"}' % ("x" * MAX_BODY_BYTES)]}, ["payload", "errors"]),
        ({"error": '{"traceback": "%s"}' % ("x" * MAX_BODY_BYTES)}, ["payload", "errors", "result", "error"]),
    ],
)
def test_what_is_too_long_is_left_out_and_named(changes: dict[str, Any], left_out: list[str]) -> None:
    body = sent(record(**changes))

    assert body["left_out"] == left_out
    assert body["data"]["task_id"]
    assert not any(body["data"][name] for name in left_out)


@pytest.mark.parametrize("changes", [{"status": "queued"}, {"attempt": 3}])
def test_news_of_a_task_that_has_moved_on_keeps_to_what_was(changes: dict[str, Any]) -> None:
    body = sent(record(result='"later"', **changes))

    assert body["data"]["status"] == "succeeded"
    assert body["data"]["attempt"] == 2
    assert "result" not in body["data"]
    assert body["left_out"] == ["everything else"]
