"""What is sent, and how answers and events are read."""

import inspect
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client
from client import AsyncTaskmill, InvalidError, Taskmill, calls
from client.calls.call import encode, path
from client.errors import NotFoundError, UnavailableError, error_of
from client.retrying import Retrying
from client.streaming import EventReader, Watch

REQUEST = httpx.Request("GET", "http://taskmill/x")


def respond(status: int, **parts: Any) -> httpx.Response:
    return httpx.Response(status, request=REQUEST, **parts)


# Requests ............................................................................


def test_a_submission_says_what_was_asked_for_and_nothing_else() -> None:
    at = datetime(2030, 1, 31, 9, tzinfo=timezone(timedelta(hours=1)))

    call = calls.submit("t", {"n": 1}, run_at=at, tags=["a"], unique={"key": "k", "for": 5})

    assert json.loads(call.content or b"") == {
        "type": "t",
        "payload": {"n": 1},
        "run_at": "2030-01-31T08:00:00Z",
        "tags": ["a"],
        "unique": {"key": "k", "for": 5},
    }


def test_none_is_a_payload_of_its_own() -> None:
    assert json.loads(calls.submit("t", None).content or b"")["payload"] is None
    assert json.loads(calls.submit("t").content or b"")["payload"] == {}


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        calls.submit("t", run_at=datetime(2030, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(value)


def test_half_a_surrogate_pair_is_left_to_the_server() -> None:
    assert encode("\ud800") == b'"\xed\xa0\x80"'


@pytest.mark.parametrize("name", ["../keys", "a/b", "a?b=c", "ä#", "%2e"])
def test_a_name_leads_to_no_other_route(name: str) -> None:
    call = calls.schedule(name)

    url = httpx.Client(base_url="http://taskmill").build_request(**call.parts()).url
    assert url.raw_path.count(b"/") == 2
    assert url.query == b""
    assert path("schedules", name) == call.path


def test_the_page_after_the_last_is_not_asked_for() -> None:
    first = calls.tasks(status="failed")
    page = first.read(respond(200, json={"items": [], "next": "c"}))

    second = calls.following(first, page)

    assert second is not None
    assert second.parts()["params"] == {"status": "failed", "cursor": "c"}
    assert calls.following(first, first.read(respond(200, json={"items": [], "next": None}))) is None


def test_a_wait_is_given_the_time_it_asks_for() -> None:
    call = calls.task("1", wait_s=90)

    assert call.parts()["params"] == {"wait": "60.000"}
    assert call.held_s == 60


def test_batches_are_cut_by_number_and_by_size() -> None:
    assert [len(chunk) for chunk in calls.chunks({"type": "t"} for _ in range(20_001))] == [10_000, 10_000, 1]
    large = {"type": "t", "payload": "x" * 3_000_000}
    assert [len(chunk) for chunk in calls.chunks([large] * 5)] == [2, 2, 1]  # type: ignore[list-item]


# Answers .............................................................................


def test_fields_of_a_newer_server_are_kept() -> None:
    answered = {"task_id": "1", "type": "t", "queue": "q", "status": "new", "attempt": 1, "max_attempts": 3}
    task = calls.task("1").read(
        respond(200, json={**answered, "created_at": "2030-01-01T00:00:00Z", "colour": "red"})
    )

    assert task.document()["colour"] == "red"
    assert task.created_at == datetime(2030, 1, 1, tzinfo=UTC)
    assert not task.is_final


def test_a_problem_names_its_places() -> None:
    problem = {"code": "invalid_input", "detail": "no", "errors": [{"pointer": "/payload/n", "message": "too large"}]}

    error = error_of(respond(422, json=problem, headers={"X-Request-ID": "r"}))

    assert isinstance(error, InvalidError)
    assert (error.code, error.request_id) == ("invalid_input", "r")
    assert (error.errors[0].pointer, error.errors[0].message) == ("/payload/n", "too large")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"errors": 7}', b'{"errors": [1]}', b"\xff", b"[" * 100_000]
)
def test_an_error_that_is_no_problem_document_is_an_error_all_the_same(body: bytes) -> None:
    assert isinstance(error_of(respond(404, content=body)), NotFoundError)
    assert isinstance(error_of(respond(502, content=body)), UnavailableError)


@pytest.mark.parametrize("header", ["soon", "-1", "١", "Wed, 99 Foo"])
def test_a_pause_that_cannot_be_read_is_none(header: str) -> None:
    assert error_of(respond(503, headers=[(b"Retry-After", header.encode())])).retry_after_s is None


def test_a_pause_may_be_a_date() -> None:
    assert error_of(respond(503, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})).retry_after_s == 0


# Events ..............................................................................

STREAM = (
    b"retry: 2000\n\n"
    b'id: 1-0.1\nevent: snapshot\ndata: {"status": "queued"}\n\n'
    b": still there\n\n"
    b'id: 2-0.2\r\nevent: log\r\ndata: {"event":\r\ndata: "two \xe2\x80\xa8 lines"}\r\n\r\n'
    b'event: status\rdata: {"status": "succeeded"}\r\rid: 3-0.3\n\n'
)


@given(st.lists(st.integers(1, 40), min_size=1))
def test_events_are_the_same_however_the_bytes_arrive(sizes: list[int]) -> None:
    reader = EventReader()
    events = []
    rest = STREAM
    while rest:
        for size in sizes:
            events += list(reader.feed(rest[:size]))
            rest = rest[size:]

    assert [(event.kind, event.id) for event in events] == [
        ("snapshot", "1-0.1"),
        ("log", "2-0.2"),
        ("status", "2-0.2"),
    ]
    assert events[1].data == {"event": "two \u2028 lines"}
    assert events[2].is_final
    assert reader.last_id == "3-0.3"


@given(st.binary())
def test_no_bytes_of_a_stream_are_an_error(content: bytes) -> None:
    for event in EventReader().feed(content):
        assert event.kind


def test_a_stream_that_was_cut_is_resumed_after_what_was_heard() -> None:
    watch = Watch(calls.task_events("1"), Retrying(repeats=1, first_s=0))

    before = watch.next_call().headers.get("Last-Event-ID")
    events = list(watch.take(b'id: 7-0.2\nevent: progress\ndata: {"status": "running"}\n\n'))
    watch.closed(UnavailableError("cut"))

    assert before is None
    assert len(events) == 1
    assert not watch.is_over
    assert watch.next_call().headers["Last-Event-ID"] == "7-0.2"


def test_a_stream_ends_with_the_final_status() -> None:
    watch = Watch(calls.task_events("1"), Retrying())
    list(watch.take(b'event: status\ndata: {"status": "failed"}\n\nevent: log\ndata: {}\n\n'))

    watch.closed()

    assert watch.is_over


def test_a_stream_of_all_tasks_does_not() -> None:
    watch = Watch(calls.all_events(), Retrying())
    list(watch.take(b'event: status\ndata: {"status": "failed"}\n\n'))

    watch.closed()

    assert not watch.is_over


def test_a_stream_to_which_all_was_told_is_over() -> None:
    watch = Watch(calls.task_events("1"), Retrying())

    watch.closed(is_all_told=True)

    assert watch.is_over


def test_a_stream_that_never_works_is_given_up() -> None:
    watch = Watch(calls.task_events("1"), Retrying(repeats=2, first_s=0))
    watch.closed()
    watch.closed()

    with pytest.raises(UnavailableError):
        watch.closed()


# The clients .........................................................................


def test_both_clients_can_do_the_same() -> None:
    def methods(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(value).replace(return_annotation=None))
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }

    assert methods(Taskmill) == methods(AsyncTaskmill)
    assert len(methods(Taskmill)) > 40


def test_a_method_has_the_words_and_arguments_of_its_call() -> None:
    with Taskmill() as taskmill:
        signature = inspect.signature(taskmill.explain)

    assert list(signature.parameters) == ["task_id"]
    assert Taskmill.explain.__doc__ == calls.explain.__doc__


def test_everything_that_is_exported_is_there() -> None:
    for name in client.__all__:
        assert getattr(client, name)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "nonsense"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidError, match="is no URL"):
        Taskmill(url)


@pytest.mark.parametrize("key", ["schlüssel", "a\nb"])
def test_what_is_no_key_is_refused_at_once(key: str) -> None:
    with pytest.raises(InvalidError, match="copied whole"):
        Taskmill(api_key=key)


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMILL_URL", "http://example.test:9/prefix")
    monkeypatch.setenv("TASKMILL_API_KEY", "secret")
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"status": "ok"})

    with Taskmill(transport=httpx.MockTransport(handle)) as taskmill:
        taskmill.health()

    assert str(seen[0].url) == "http://example.test:9/prefix/health"
    assert seen[0].headers["Authorization"] == "Bearer secret"
