"""No input of any kind makes the API fail."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import ApiUnderTest, open_api, pointers

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.integers(min_value=10**300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "type",
        "payload",
        "queue",
        "priority",
        "delay",
        "run_at",
        "expires_in",
        "timeout",
        "soft_timeout",
        "max_attempts",
        "unique",
        "tags",
        "callback_url",
    ]
)
PLAUSIBLE = st.sampled_from(
    ["demo.echo", "demo.sum", "high", "a\x00b", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", 1e308, -0.0]
)
SUBMISSIONS = st.dictionaries(FIELDS, JSON | PLAUSIBLE, max_size=6)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(database_url) as opened:
        yield opened


def require_sane(answer: httpx.Response) -> None:
    """Accepted, or refused for a reason that is told as a problem."""
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert {"type", "title", "detail", "code"} <= problem.keys()
        assert answer.status_code != 422 or problem["errors"]


@FUZZ
@given(body=st.binary(max_size=200))
async def test_random_bytes_are_refused_politely(api: ApiUnderTest, body: bytes) -> None:
    require_sane(await api.client.post("/tasks", content=body))
    require_sane(await api.client.post("/tasks/batch", content=body))


@FUZZ
@given(body=SUBMISSIONS)
async def test_random_fields_are_accepted_or_refused_politely(api: ApiUnderTest, body: dict[str, Any]) -> None:
    for document in (body, body | {"type": "demo.echo"}, {"tasks": [body, {"type": "demo.echo"}]}):
        content = json.dumps(document).encode()
        require_sane(await api.client.post("/tasks", content=content))
        require_sane(await api.client.post("/tasks/batch", content=content))


@FUZZ
@given(payload=JSON)
async def test_random_payloads_come_back_as_they_were(api: ApiUnderTest, payload: Any) -> None:
    answer = await api.client.post("/tasks", content=json.dumps({"type": "demo.echo", "payload": payload}))

    require_sane(answer)
    if answer.status_code == 202:
        task = await api.client.get(answer.headers["location"])
        assert task.json()["payload"] == payload


@FUZZ
@given(
    name=st.sampled_from(
        ["status", "type", "queue", "tag", "created_after", "created_before", "limit", "cursor", "wait", "reason"]
    ),
    value=st.text(max_size=30) | st.integers().map(str) | st.floats().map(str),
    path=st.sampled_from(["/tasks", "/dead-letters", "/task-types", "/queues", "/workers", "/health"]),
)
async def test_random_queries_are_answered_or_refused_politely(
    api: ApiUnderTest, name: str, value: str, path: str
) -> None:
    require_sane(await api.client.get(path, params={name: value.encode("utf-8", "replace").decode()}))


@FUZZ
@given(
    name=st.sampled_from(
        [
            b"idempotency-key",
            b"content-type",
            b"x-request-id",
            b"if-none-match",
            b"content-length",
            b"accept",
            b"origin",
            b"host",
            b"x-forwarded-host",
            b"authorization",
        ]
    ),
    value=st.binary(max_size=300),
)
async def test_random_headers_are_taken_or_refused_politely(api: ApiUnderTest, name: bytes, value: bytes) -> None:
    headers: Any = [(name, value)]
    require_sane(await api.client.post("/tasks", headers=headers, content=b'{"type": "demo.echo"}'))


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "NONSENSE"]),
    segments=st.lists(
        st.sampled_from(["tasks", "dead-letters", "retry", "explain", "batch", "static", "..", "health"])
        | st.text(max_size=8),
        max_size=4,
    ),
)
async def test_random_paths_are_answered_politely(api: ApiUnderTest, method: str, segments: list[str]) -> None:
    path = "/".join(quote(segment, safe="", errors="replace") for segment in segments)
    answer = await api.client.request(method, f"http://api/{path}")

    assert answer.status_code < 500, answer.text


NO_JSON = [
    b"",
    b"{",
    b"nonsense",
    b'{"type": "demo.echo", "payload": NaN}',
    b'{"type": "demo.echo", "payload": -Infinity}',
    b'{"type": "demo.echo", "payload": "\\ud800"}',
    b'{"type": "demo.echo", "payload": {"\\udfff": 1}}',
    b'{"type": "demo.echo", "payload": "\xff"}',
    b'{"type": "demo.echo", "payload": "\xed\xa0\x80"}',
    b'{"type": "demo.echo", "payload": 1e400}',
    b'{"type": "demo.echo", "payload": ' + b"9" * 5000 + b"}",
    b'{"type": "demo.echo", "payload": ' + b"[" * 50_000 + b"]" * 5_000 + b"}",
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    '{"type": "demo.echo"}'.encode("utf-16"),
    '{"type": "demo.echo"}'.encode("utf-32"),
    b"\xef\xbb\xbf" + b'{"type": "demo.echo"}',
    b"\x1f\x8b\x08\x00",
]


async def test_what_is_no_json_is_refused(api: ApiUnderTest) -> None:
    for body in NO_JSON:
        for path in ("/tasks", "/tasks/batch"):
            assert pointers(await api.client.post(path, content=body)) == [""]


async def test_a_task_is_an_object(api: ApiUnderTest) -> None:
    for body in (b"null", b"[]", b'"x"', b"1", b"true"):
        assert pointers(await api.client.post("/tasks", content=body)) == [""]


async def test_deep_but_bounded_nesting_is_taken(api: ApiUnderTest) -> None:
    payload = "[" * 150 + "]" * 150
    answer = await api.client.post("/tasks", content=f'{{"type": "demo.echo", "payload": {payload}}}')

    assert answer.status_code == 202


async def test_a_number_of_400_digits_is_kept_exactly(api: ApiUnderTest) -> None:
    body = {"type": "demo.echo", "payload": 10**399 + 1, "unique": True}
    answer = await api.client.post("/tasks", json=body, headers={"Idempotency-Key": "k"})
    task = await api.client.get(answer.headers["location"])

    assert answer.status_code == 202
    assert task.json()["payload"] == 10**399 + 1


async def test_another_media_type_is_refused_and_the_right_one_named(api: ApiUnderTest) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"):
        headers = {"Content-Type": media_type}
        answer = await api.client.post("/tasks", content=b'{"type": "demo.echo"}', headers=headers)
        assert pointers(answer) == ["Content-Type"]
        assert "application/json" in answer.json()["detail"]


async def test_json_by_any_of_its_names_is_taken(api: ApiUnderTest) -> None:
    for media_type in (
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x+json",
    ):
        headers = {"Content-Type": media_type}
        answer = await api.client.post("/tasks", content=b'{"type": "demo.echo"}', headers=headers)
        assert answer.status_code == 202


async def test_what_is_not_there_is_a_problem_too(api: ApiUnderTest) -> None:
    for path in ("/nope", "/tasks/", "/task", "/audits", "//"):
        answer = await api.client.get(f"http://api{path}")
        require_sane(answer)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_method_that_is_not_there_is_told_which_are(api: ApiUnderTest) -> None:
    answer = await api.client.put("/tasks")

    require_sane(answer)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
