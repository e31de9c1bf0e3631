"""Who gets in, and what they may do."""

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import BaseRoute, Mount
from structlog.testing import capture_logs

from api_service import keyring
from api_service.auditing import _auditor
from api_service.auth import Access
from api_service.scopes import scopes_for
from shared.domain.access import Scope, parse_keys
from shared.domain.task_type import SYSTEM_QUEUE, TaskTypeInfo
from shared.errors import DatabaseUnavailableError
from tests.api import ApiUnderTest, open_api, pointers
from tests.builders import empty, execute, open_store

ADMIN, SENDER, READER, OPERATOR = "admin-0123456789", "sender-0123456789", "reader-0123456789", "operator-0123456"
GIVEN = Access(
    keys=parse_keys(f"admin:{ADMIN},sender:submit:{SENDER},reader:read:{READER},operator:operate:{OPERATOR}")
)
PUBLIC = {"/health", "/health/live", "/health/ready", "/docs", "/", "/static/docs.js"}
#: Seconds until a change on one replica must have reached the others.
SPREADS_WITHIN_S = 5.0

FUZZ = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_LOOK_AGAIN_S", 0.01)


@pytest.fixture
async def empty_url(module_database_url: str) -> str:
    async with open_store(module_database_url) as store:
        await empty(store)
    return module_database_url


@pytest.fixture
async def api(empty_url: str) -> AsyncIterator[ApiUnderTest]:
    """An API that asks for keys."""
    async with open_api(empty_url, access=GIVEN) as opened:
        yield opened


@pytest.fixture
async def bare(empty_url: str) -> AsyncIterator[ApiUnderTest]:
    """An API on loopback without any key yet."""
    async with open_api(empty_url) as opened:
        yield opened


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def require_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


async def make_key(api: ApiUnderTest, name: str, by: str | None = None, **fields: Any) -> str:
    headers = {} if by is None else bearing(by)
    answer = await api.client.post("/keys", json={"name": name, **fields}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def routes_of(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """(method, path) of everything that is served; a WebSocket has the method WS."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from routes_of(included.routes)
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/docs.js"
        else:
            path = re.sub(r"\{[^}]*\}", str(uuid4()), getattr(route, "path", ""))
            for method in getattr(route, "methods", None) or {"WS"}:
                yield method, path


def api_routes(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        yield from api_routes(getattr(getattr(route, "original_router", None), "routes", ()))
        if isinstance(route, APIRoute):
            yield route


async def open_socket(api: ApiUnderTest, path: str, **fields: Any) -> list[dict[str, Any]]:
    """What the application sends to whoever opens a WebSocket and goes away at once."""
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        return next(received, {"type": "websocket.disconnect", "code": 1001})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": path,
        "headers": [],
        "query_string": b"",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        **fields,
    }
    async with asyncio.timeout(10):
        await api.app(scope, receive, send)
    return sent


# A key is needed ......................................................................


async def test_nothing_but_probes_and_the_empty_page_is_reached_without_a_key(api: ApiUnderTest) -> None:
    served = set(routes_of(api.app.routes))
    assert {("POST", "/tasks"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/audit")} <= served

    for method, path in sorted(served):
        if method == "WS":
            status = (await open_socket(api, path))[0]["status"]
        else:
            status = (await api.client.request(method, path)).status_code
        assert (status == 401) is (path not in PUBLIC), (method, path, status)


async def test_who_sends_no_key_is_told_how(api: ApiUnderTest) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"X-API-Key": " "}):
        answer = await api.client.get("/tasks", headers=headers)

        assert "X-API-Key" in require_problem(answer, 401, "key_missing")["detail"]
        assert answer.headers["www-authenticate"] == 'Bearer realm="taskmill"'


async def test_a_key_that_is_not_known_opens_nothing(api: ApiUnderTest) -> None:
    for headers in (bearing("wrong-0123456789"), {"X-API-Key": ADMIN[:-1]}, bearing(ADMIN.upper())):
        answer = await api.client.get("/tasks", headers=headers)

        require_problem(answer, 401, "key_unknown")
        assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_key_may_come_in_either_header(api: ApiUnderTest) -> None:
    for headers in (
        bearing(ADMIN),
        {"X-API-Key": ADMIN},
        {"authorization": f"bearer  {ADMIN} "},
        {"Authorization": "Basic YTpi", "X-API-Key": ADMIN},
    ):
        assert (await api.client.get("/tasks", headers=headers)).status_code == 200


async def test_keys_are_compared_in_constant_time(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: False)

    answer = await api.client.get("/tasks", headers=bearing(ADMIN))

    assert answer.status_code == 401


@FUZZ
@given(key=st.binary(max_size=300), name=st.sampled_from([b"authorization", b"x-api-key", b"cookie"]))
async def test_random_bytes_are_no_key(api: ApiUnderTest, key: bytes, name: bytes) -> None:
    for value in (key, b"Bearer " + key):
        headers: Any = [(name, value)]
        answer = await api.client.get("/tasks", headers=headers)
        assert answer.status_code == 401, answer.text


async def test_a_huge_key_is_no_key(api: ApiUnderTest) -> None:
    require_problem(await api.client.get("/tasks", headers=bearing("x" * 1_000_000)), 401, "key_unknown")


async def test_where_keys_are_switched_off_none_is_asked_for(empty_url: str) -> None:
    access = Access(keys=GIVEN.keys, enabled=False)
    async with open_api(empty_url, access=access) as api:
        assert (await api.client.get("/tasks")).status_code == 200
        assert (await api.client.get("/tasks", headers=bearing("nonsense"))).status_code == 200


async def test_beyond_loopback_a_key_is_asked_for_even_when_none_is_left(empty_url: str) -> None:
    async with open_api(empty_url, access=Access(exposed=True)) as api:
        require_problem(await api.client.get("/tasks"), 401, "key_missing")


# Scopes ...............................................................................


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/tasks", {READER}),
        ("GET", "/queues", {READER}),
        ("GET", "/metrics", {READER}),
        ("GET", "/openapi.json", {READER}),
        ("POST", "/tasks", {SENDER}),
        ("POST", "/tasks/batch", {SENDER}),
        ("DELETE", f"/tasks/{UUID(int=1)}", {SENDER, OPERATOR}),
        ("POST", f"/tasks/{UUID(int=1)}/retry", {SENDER, OPERATOR}),
        ("DELETE", f"/dead-letters/{UUID(int=1)}", {OPERATOR}),
        ("POST", f"/dead-letters/{UUID(int=1)}/replay", {OPERATOR}),
        ("GET", "/keys", {OPERATOR}),
        ("POST", "/keys", {OPERATOR}),
        ("DELETE", "/keys/nobody", {OPERATOR}),
        ("GET", "/audit", {OPERATOR}),
        ("POST", "/nothing/here", {OPERATOR}),
    ],
)
async def test_a_key_opens_what_its_scopes_say(api: ApiUnderTest, method: str, path: str, allowed: set[str]) -> None:
    for key in (ADMIN, SENDER, READER, OPERATOR):
        answer = await api.client.request(method, path, headers=bearing(key))
        assert (answer.status_code != 403) is (key in allowed | {ADMIN}), (key, answer.text)
        assert answer.status_code != 401


async def test_what_an_operator_does_is_written_down(api: ApiUnderTest) -> None:
    silent = [
        (method, route.path)
        for route in api_routes(api.app.routes)
        for method in (route.methods or set()) - {"GET", "HEAD"}
        if Scope.OPERATE in scopes_for(method, route.path)
        if _auditor not in {dependency.call for dependency in route.dependant.dependencies}
    ]

    assert silent == []


async def test_who_lacks_a_scope_is_told_which(api: ApiUnderTest) -> None:
    answer = await api.client.post("/tasks", json={"type": "demo.echo"}, headers=bearing(READER))
    either = await api.client.delete(f"/tasks/{uuid4()}", headers=bearing(READER))

    assert "the scope submit, which the key 'reader'" in require_problem(answer, 403, "scope_missing")["detail"]
    assert "the scope operate or submit" in require_problem(either, 403, "scope_missing")["detail"]
    listed = await api.client.get("/tasks", headers=bearing(READER))
    assert listed.json()["items"] == []


async def test_tasks_that_work_on_taskmill_itself_take_the_scope_operate(api: ApiUnderTest) -> None:
    own = TaskTypeInfo(name="system.wipe", queue=SYSTEM_QUEUE, payload_schema={}, result_schema={})
    await api.services.store.task_types.announce([own])
    one, many = {"type": "system.wipe"}, {"tasks": [{"type": "system.wipe", "queue": "default"}]}

    refused = [
        await api.client.post("/tasks", json=one, headers=bearing(SENDER)),
        await api.client.post("/tasks/batch", json=many, headers=bearing(SENDER)),
    ]
    accepted = await api.client.post("/tasks", json=one, headers=bearing(ADMIN))

    assert ["system.wipe" in require_problem(answer, 403, "scope_missing")["detail"] for answer in refused] == [
        True,
        True,
    ]
    assert accepted.status_code == 202


# Keys over the API ....................................................................


async def test_a_key_is_made_shown_once_used_and_revoked(api: ApiUnderTest) -> None:
    answer = await api.client.post(
        "/keys",
        json={"name": "ci", "scopes": ["submit", "read"], "requests_per_minute": 600},
        headers=bearing(OPERATOR),
    )
    key = answer.json()["key"]

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"tm_[A-Za-z0-9_-]{43}", key)
    assert (await api.client.get("/tasks", headers=bearing(key))).status_code == 200
    assert (await api.client.get("/keys", headers=bearing(key))).status_code == 403
    assert (await api.client.delete("/keys/ci", headers=bearing(OPERATOR))).status_code == 204
    require_problem(await api.client.get("/tasks", headers=bearing(key)), 401, "key_unknown")
    assert (await api.client.delete("/keys/ci", headers=bearing(OPERATOR))).status_code == 204


async def test_the_list_tells_everything_but_the_keys(api: ApiUnderTest) -> None:
    key = await make_key(api, "ci", OPERATOR, scopes=["read"])
    await api.client.delete("/keys/ci", headers=bearing(OPERATOR))

    answer = await api.client.get("/keys", headers=bearing(OPERATOR))

    shown = {item["name"]: item for item in answer.json()["items"]}
    assert list(shown) == ["admin", "sender", "reader", "operator", "ci"]
    assert shown["admin"] == {
        "name": "admin",
        "scopes": ["submit", "read", "operate"],
        "requests_per_minute": None,
        "source": "environment",
        "created_at": None,
        "created_by": None,
        "revoked_at": None,
    }
    assert shown["ci"]["created_by"] == "operator"
    assert (shown["ci"]["source"], shown["ci"]["scopes"]) == ("database", ["read"])
    assert shown["ci"]["created_at"] <= shown["ci"]["revoked_at"]
    [row] = await execute(api.store, "SELECT hash FROM api_keys")
    for secret in (key, ADMIN, row.hash.hex()):
        assert secret not in answer.text


async def test_a_key_without_scopes_named_has_all(api: ApiUnderTest) -> None:
    key = await make_key(api, "boss", OPERATOR)

    assert (await api.client.get("/audit", headers=bearing(key))).status_code == 200
    assert (await api.client.get("/tasks", headers=bearing(key))).status_code == 200


@pytest.mark.parametrize("name", ["ci", "admin"])
async def test_a_name_is_given_once(api: ApiUnderTest, name: str) -> None:
    await make_key(api, "ci", OPERATOR)
    await api.client.delete("/keys/ci", headers=bearing(OPERATOR))

    answer = await api.client.post("/keys", json={"name": name}, headers=bearing(OPERATOR))

    assert name in require_problem(answer, 409, "key_name_taken")["detail"]


async def test_of_two_who_want_a_name_at_once_one_gets_it(api: ApiUnderTest) -> None:
    answers = await asyncio.gather(
        *(api.client.post("/keys", json={"name": "ci"}, headers=bearing(OPERATOR)) for _ in range(8))
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_a_key_of_the_environment_is_taken_out_there(api: ApiUnderTest) -> None:
    answer = await api.client.delete("/keys/reader", headers=bearing(OPERATOR))

    assert "API_KEYS" in require_problem(answer, 409, "key_from_environment")["detail"]
    assert (await api.client.get("/tasks", headers=bearing(READER))).status_code == 200


@pytest.mark.parametrize("name", ["nobody", "%00", "a%0Ab", "%ED%A0%80", "x" * 300, "ß"])
async def test_what_is_no_key_can_not_be_revoked(api: ApiUnderTest, name: str) -> None:
    require_problem(await api.client.delete(f"/keys/{name}", headers=bearing(OPERATOR)), 404, "key_not_found")


@pytest.mark.parametrize(
    "body, fault",
    [
        ({}, "/name"),
        ([], ""),
        ({"name": ""}, "/name"),
        ({"name": "a b"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "anonymous@127.0.0.1"}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": "a", "scopes": []}, "/scopes"),
        ({"name": "a", "scopes": ["rule"]}, "/scopes/0"),
        ({"name": "a", "scopes": "read"}, "/scopes"),
        ({"name": "a", "requests_per_minute": 0}, "/requests_per_minute"),
        ({"name": "a", "requests_per_minute": "9"}, "/requests_per_minute"),
        ({"name": "a", "key": "my-own-0123456789"}, "/key"),
    ],
)
async def test_what_does_not_describe_a_key_is_refused(api: ApiUnderTest, body: Any, fault: str) -> None:
    assert pointers(await api.client.post("/keys", json=body, headers=bearing(OPERATOR))) == [fault]


@FUZZ
@given(
    body=st.binary(max_size=100)
    | st.dictionaries(st.sampled_from(["nome", "scopes"]), st.text()).map(json.dumps).map(str.encode)
)
async def test_random_bytes_make_no_key(api: ApiUnderTest, body: bytes) -> None:
    answer = await api.client.post("/keys", content=body, headers=bearing(OPERATOR))

    assert answer.status_code == 422, answer.text


async def test_making_and_revoking_is_written_down_without_the_key(api: ApiUnderTest) -> None:
    key = await make_key(api, "ci", OPERATOR, scopes=["read"])
    await api.client.delete("/keys/ci", headers=bearing(OPERATOR))

    answer = await api.client.get("/audit", headers=bearing(OPERATOR))

    revoke, create = answer.json()["items"]
    assert (create["actor"], create["action"], create["target"]) == ("operator", "key.create", "ci")
    assert create["details"] == {"scopes": ["read"], "requests_per_minute": None}
    assert (revoke["actor"], revoke["action"], revoke["target"]) == ("operator", "key.revoke", "ci")
    assert key not in answer.text


async def test_the_first_key_closes_the_door_and_the_last_one_opens_it(bare: ApiUnderTest) -> None:
    assert (await bare.client.get("/tasks")).status_code == 200

    key = await make_key(bare, "first")

    require_problem(await bare.client.get("/tasks"), 401, "key_missing")
    assert (await bare.client.get("/tasks", headers=bearing(key))).status_code == 200
    assert (await bare.client.delete("/keys/first", headers=bearing(key))).status_code == 204
    assert (await bare.client.get("/tasks")).status_code == 200


# Replicas, and PostgreSQL away ........................................................


async def test_a_key_opens_the_next_replica_at_once(api: ApiUnderTest, empty_url: str) -> None:
    async with open_api(empty_url, access=GIVEN) as other:
        for number in range(3):
            key = await make_key(api, f"ci-{number}", OPERATOR)
            assert (await other.client.get("/tasks", headers=bearing(key))).status_code == 200


async def test_a_key_that_was_revoked_elsewhere_soon_opens_nothing(api: ApiUnderTest, empty_url: str) -> None:
    async with open_api(empty_url, access=GIVEN) as other:
        key = await make_key(api, "ci", OPERATOR)
        assert (await other.client.get("/tasks", headers=bearing(key))).status_code == 200

        await api.client.delete("/keys/ci", headers=bearing(OPERATOR))

        await refused(other, bearing(key))


async def test_the_first_key_closes_other_replicas_too(bare: ApiUnderTest, empty_url: str) -> None:
    async with open_api(empty_url) as other:
        assert (await other.client.get("/tasks")).status_code == 200

        await make_key(bare, "first")

        await refused(other, {})


async def refused(api: ApiUnderTest, headers: dict[str, str]) -> None:
    """Return as soon as the API lets nobody in with these headers."""
    async with asyncio.timeout(SPREADS_WITHIN_S):
        while (await api.client.get("/tasks", headers=headers)).status_code == 200:  # noqa: ASYNC110 - a black box
            await asyncio.sleep(0.1)


async def _away(*_: object) -> Any:
    raise DatabaseUnavailableError("it is away")


async def test_known_keys_stay_good_while_postgresql_is_away(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make_key(api, "ci", OPERATOR)
    assert (await api.client.get("/task-types", headers=bearing(key))).status_code == 200

    monkeypatch.setattr(api.store.api_keys, "live", _away)
    await asyncio.sleep(0)

    for known in (key, ADMIN):
        assert (await api.client.get("/metrics", headers=bearing(known))).status_code == 200
    unknown = await api.client.get("/metrics", headers=bearing("tm_made_a_moment_ago_elsewhere"))
    assert require_problem(unknown, 503, "database_unavailable")
    assert unknown.headers["retry-after"]
    require_problem(await api.client.get("/metrics"), 401, "key_missing")


async def test_until_the_keys_are_known_the_door_is_closed(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.store.api_keys.ApiKeys.live", _away)
    async with open_api(empty_url) as api:
        assert (await api.client.get("/metrics")).status_code == 503
        assert (await api.client.get("/health")).status_code == 200


async def test_many_unknown_keys_ask_the_database_a_few_times_a_second(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_LOOK_AGAIN_S", 0.25)
    asked = 0
    live = api.store.api_keys.live

    async def counted() -> Any:
        nonlocal asked
        asked += 1
        return await live()

    monkeypatch.setattr(api.store.api_keys, "live", counted)
    answers = await asyncio.gather(
        *(api.client.get("/tasks", headers=bearing(f"guess-number-{number:06}")) for number in range(200))
    )

    assert {answer.status_code for answer in answers} == {401}
    assert 1 <= asked <= 50


# Who it was ...........................................................................


async def test_a_task_knows_who_sent_it(api: ApiUnderTest) -> None:
    for path, body in (("/tasks", {"type": "demo.echo"}), ("/tasks/batch", {"tasks": [{"type": "demo.echo"}]})):
        assert (await api.client.post(path, json=body, headers=bearing(SENDER))).status_code == 202

    rows = await execute(api.store, "SELECT submitted_by FROM tasks")
    assert [row.submitted_by for row in rows] == ["sender", "sender"]
    listed = (await api.client.get("/tasks", headers=bearing(READER))).json()["items"]
    assert [task["submitted_by"] for task in listed] == ["sender", "sender"]


async def test_where_no_key_is_asked_for_nobody_is_named(bare: ApiUnderTest) -> None:
    await bare.submit()

    [row] = await execute(bare.store, "SELECT submitted_by FROM tasks")
    assert row.submitted_by is None


async def test_an_idempotency_key_belongs_to_the_caller(api: ApiUnderTest) -> None:
    async def submit(key: str) -> httpx.Response:
        headers = {**bearing(key), "Idempotency-Key": "monday"}
        return await api.client.post("/tasks", json={"type": "demo.echo"}, headers=headers)

    first, other = await asyncio.gather(submit(SENDER), submit(ADMIN))
    again = await submit(SENDER)

    assert first.status_code == other.status_code == 202
    assert first.json()["task_id"] != other.json()["task_id"]
    assert (again.status_code, again.json()["task_id"]) == (200, first.json()["task_id"])


async def test_the_log_names_the_key_and_never_shows_it(api: ApiUnderTest) -> None:
    with capture_logs() as logged:
        await api.client.get("/tasks", headers=bearing(SENDER))
        await api.client.get("/tasks", headers=bearing(READER))
        await api.client.get("/tasks", headers={"X-API-Key": "unknown-0123456789"})
        await api.client.get("/tasks", params={"api_key": READER})

    answered = [line for line in logged if line["event"] == "request_answered"]
    assert [(line["status"], line.get("caller")) for line in answered] == [
        (403, "sender"),
        (200, "reader"),
        (401, None),
        (401, None),
    ]
    text = json.dumps(logged, default=repr)
    for secret in (SENDER, READER, "unknown-0123456789"):
        assert secret not in text


# Limits ...............................................................................


async def test_a_key_may_be_used_so_often_and_is_told_when_again(api: ApiUnderTest) -> None:
    key = await make_key(api, "slow", OPERATOR, requests_per_minute=2)

    answers = [await api.client.get("/queues", headers=bearing(key)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    problem = require_problem(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 30
    assert answers[-1].headers["retry-after"] in problem["detail"]
    assert (await api.client.get("/queues", headers=bearing(READER))).status_code == 200
    assert (await api.client.get("/health", headers=bearing(key))).status_code == 200


async def test_the_limit_for_all_holds_where_a_key_has_none_of_its_own(empty_url: str) -> None:
    access = Access(keys=GIVEN.keys, requests_per_minute=3)
    async with open_api(empty_url, access=access) as api:
        busy = await make_key(api, "busy", ADMIN, requests_per_minute=100)

        used = [(await api.client.get("/queues", headers=bearing(READER))).status_code for _ in range(5)]
        more = [(await api.client.get("/queues", headers=bearing(busy))).status_code for _ in range(5)]

    assert used == [200, 200, 200, 429, 429]
    assert more == [200] * 5


async def test_without_keys_the_limit_holds_for_each_address(empty_url: str) -> None:
    async with open_api(empty_url, access=Access(requests_per_minute=2)) as api:
        statuses = [(await api.client.get("/queues")).status_code for _ in range(3)]

        assert statuses == [200, 200, 429]
        assert (await api.client.get("/health")).status_code == 200


# Foreign web pages ....................................................................


async def test_without_keys_a_foreign_page_is_not_served(bare: ApiUnderTest) -> None:
    foreign = {"Origin": "http://evil.example"}

    answer = await bare.client.post("/tasks", json={"type": "demo.echo"}, headers=foreign)

    require_problem(answer, 403, "foreign_origin")
    assert await execute(bare.store, "SELECT FROM tasks") == []
    own = await bare.client.post("/tasks", json={"type": "demo.echo"}, headers={"Origin": "http://api"})
    assert own.status_code == 202
    assert (await open_socket(bare, f"/tasks/{uuid4()}/ws", headers=[(b"origin", b"http://evil.example")]))[0][
        "status"
    ] == 403


async def test_without_keys_only_this_machine_is_served_by_its_own_names(empty_url: str) -> None:
    async with open_api(empty_url, access=Access(local_names_only=True)) as api:
        rebound = await api.client.get("/tasks", headers={"Host": "evil.example:8000"})
        local = await api.client.get("/tasks", headers={"Host": "localhost:8000"})
        key = await make_key_by_host(api, "localhost")
        keyed = await api.client.get("/tasks", headers={"Host": "evil.example:8000", **bearing(key)})

    assert "AUTH=off" in require_problem(rebound, 403, "foreign_host")["detail"]
    assert local.status_code == 200
    assert keyed.status_code == 200


async def make_key_by_host(api: ApiUnderTest, host: str) -> str:
    answer = await api.client.post("/keys", json={"name": "k"}, headers={"Host": host})
    return str(answer.json()["key"])


async def test_a_page_with_a_key_may_come_from_anywhere(api: ApiUnderTest) -> None:
    headers = {**bearing(READER), "Origin": "http://elsewhere.example"}

    answer = await api.client.get("/tasks", headers=headers)

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_a_browser_offers_its_key_as_a_protocol_of_the_socket(api: ApiUnderTest) -> None:
    path = f"/tasks/{uuid4()}/ws"
    wrong = await open_socket(api, path, subprotocols=["taskmill", "taskmill.key.nonsense-0123456789"])
    scope_missing = await open_socket(api, path, subprotocols=["taskmill", f"taskmill.key.{SENDER}"])
    no_extension = await open_socket(api, path, extensions={})

    assert wrong[0]["type"] == "websocket.http.response.start"
    assert (wrong[0]["status"], scope_missing[0]["status"]) == (401, 403)
    assert no_extension == [{"type": "websocket.close", "code": 1008}]


async def test_every_answer_tells_browsers_to_be_careful(api: ApiUnderTest) -> None:
    for path in ("/health", "/tasks", "/docs", "/static/docs.js", "/", "/nope"):
        headers = (await api.client.get(path, headers=bearing(READER))).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-request-id"]
    assert "script-src 'self'" in (await api.client.get("/docs")).headers["content-security-policy"]
