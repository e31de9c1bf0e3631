"""What operators look at over HTTP, on a real database."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest

from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.errors import CacheUnavailableError, SchemaMissingError
from tests.api import ApiUnderTest, open_api, pointers


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(database_url) as opened:
        yield opened


async def items(api: ApiUnderTest, path: str) -> list[dict[str, Any]]:
    answer = await api.client.get(path)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document.keys() == {"items", "next"}
    found: list[dict[str, Any]] = document["items"]
    return found


# Types, workers, queues .............................................................


async def test_announced_types_are_listed_with_their_schemas(api: ApiUnderTest) -> None:
    await api.announce_worker(types=["demo.sum"])

    echo, sum_ = await items(api, "/task-types")

    assert (echo["name"], echo["live_workers"]) == ("demo.echo", 0)
    assert sum_ == {
        "name": "demo.sum",
        "queue": "numbers",
        "summary": "",
        "payload_schema": api.types[1].payload_schema,
        "result_schema": {"type": "number"},
        "defaults": {"queue": "numbers", "max_attempts": 5, "timeout": 60, "soft_timeout": 50},
        "example": {"n": 1},
        "live_workers": 1,
    }


async def test_workers_are_listed(api: ApiUnderTest) -> None:
    await api.announce_worker(queues={"default": 5, "other": 1})

    [worker] = await items(api, "/workers")

    assert worker | {"since": "", "heartbeat": ""} == {
        "id": "worker-1",
        "host": "host",
        "pid": 1,
        "queues": {"default": 5, "other": 1},
        "running": 0,
        "since": "",
        "heartbeat": "",
        "version": "1",
        "healthy": True,
        "stopping": False,
        "draining": False,
        "stale": False,
    }


async def test_queues_are_listed_with_figures_and_rates(api: ApiUnderTest) -> None:
    await api.announce_worker()
    await api.submit()
    await api.submit(delay=60)
    running, failed = await api.submit(), await api.submit()
    await api.claim(running)
    await api.fail(failed)
    await api.app.state.api.submitter.close()

    [queue] = await items(api, "/queues")

    assert queue.pop("oldest_queued_seconds") >= 0
    rates = queue.pop("rates")
    assert queue == {
        "name": "default",
        "ready": 1,
        "running": 1,
        "scheduled": 1,
        "retrying": 0,
        "failed": 1,
        "consumers": 1,
        "paused": False,
        "paused_at": None,
    }
    assert rates["submitted"] > rates["failed"] > 0
    assert rates["succeeded"] == rates["retried"] == 0


# Dead letters .......................................................................


async def test_a_failed_task_is_a_dead_letter(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.fail(task_id)

    [letter] = await items(api, "/dead-letters")

    assert letter == {
        "id": str(task_id),
        "task_id": str(task_id),
        "type": "demo.echo",
        "queue": "default",
        "reason": "error",
        "error": {"kind": "error", "message": "it broke", "traceback": None},
        "body": None,
        "died_at": letter["died_at"],
    }
    assert (await api.client.get(f"/dead-letters/{task_id}")).json() == letter


async def test_dead_letters_are_paged_and_filtered(api: ApiUnderTest) -> None:
    letters = []
    for number in range(5):
        task_id = await api.submit(queue="even" if number % 2 == 0 else "odd")
        await api.fail(task_id)
        letters.append(str(task_id))

    first = (await api.client.get("/dead-letters?limit=3")).json()
    second = (await api.client.get(f"/dead-letters?limit=3&cursor={first['next']}")).json()

    assert [letter["id"] for page in (first, second) for letter in page["items"]] == letters[::-1]
    assert second["next"] is None
    assert [letter["id"] for letter in await items(api, "/dead-letters?queue=odd")] == [letters[3], letters[1]]
    assert await items(api, "/dead-letters?type=demo.sum") == []
    assert len(await items(api, "/dead-letters?reason=error&type=demo.echo")) == 5


async def test_a_replayed_task_runs_again(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.fail(task_id)

    answer = await api.client.post(f"/dead-letters/{task_id}/replay")

    assert answer.status_code == 202
    assert (answer.json()["task_id"], answer.json()["status"]) == (str(task_id), "queued")
    assert await items(api, "/dead-letters") == []
    assert (await api.client.post(f"/dead-letters/{task_id}/replay")).status_code == 404


async def test_a_discarded_dead_letter_is_gone_and_its_task_stays_failed(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.fail(task_id)

    discarded = await api.client.delete(f"/dead-letters/{task_id}")
    again = await api.client.delete(f"/dead-letters/{task_id}")

    assert (discarded.status_code, discarded.content) == (204, b"")
    assert (again.status_code, again.json()["code"]) == (404, "dead_letter_not_found")
    assert (await api.client.get(f"/tasks/{task_id}")).json()["status"] == "failed"


async def test_a_message_that_never_was_a_task_can_be_read_but_not_replayed(api: ApiUnderTest) -> None:
    letter_id = await api.store.dead_letters.record_unreadable(b"\xff\x00", queue="default", reason="malformed")

    letter = (await api.client.get(f"/dead-letters/{letter_id}")).json()
    replayed = await api.client.post(f"/dead-letters/{letter_id}/replay")

    assert (letter["body"], letter["task_id"], letter["reason"]) == ("/wA=", None, "malformed")
    assert (replayed.status_code, replayed.json()["code"]) == (409, "not_replayable")


async def test_a_cursor_that_was_not_given_out_is_refused(api: ApiUnderTest) -> None:
    for cursor in ("x", "~", "2020-01-01T00:00:00Z~x", "x~00000000-0000-7000-8000-000000000000"):
        assert pointers(await api.client.get("/dead-letters", params={"cursor": cursor})) == ["?cursor"]


async def test_no_dead_letter_has_an_id_that_was_not_given(api: ApiUnderTest) -> None:
    for letter_id in (str(uuid4()), "x", "%00"):
        for method, action in (("GET", ""), ("DELETE", ""), ("POST", "/replay")):
            answer = await api.client.request(method, f"/dead-letters/{letter_id}{action}")
            assert (answer.status_code, answer.json()["code"]) == (404, "dead_letter_not_found")


# Health .............................................................................


async def test_a_process_that_answers_lives(api: ApiUnderTest) -> None:
    for path in ("/health", "/health/live"):
        answer = await api.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_with_all_components_up_it_is_ready(api: ApiUnderTest) -> None:
    answer = await api.client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    components = answer.json()["components"]
    assert {name: component["state"] for name, component in components.items()} == {
        "postgresql": "up",
        "rabbitmq": "up",
        "redis": "up",
    }
    assert all(component["latency_ms"] >= 0 for component in components.values())


async def test_without_rabbitmq_and_redis_it_is_ready_but_degraded(database_url: str) -> None:
    class CacheAway(MemoryCache):
        async def ping(self) -> None:
            raise CacheUnavailableError("away")

    broker = MemoryBroker()
    async with open_api(database_url, broker=broker, cache=CacheAway()) as api:
        await broker.close()
        answer = await api.client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["components"]["rabbitmq"]["state"] == "down"
    assert answer.json()["components"]["redis"]["state"] == "down"


async def test_without_the_schema_it_is_not_ready(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def be_empty() -> None:
        raise SchemaMissingError(None, "0001")

    monkeypatch.setattr(api.store.database, "require_schema", be_empty)
    answer = await api.client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["components"]["postgresql"]["state"] == "down"
    assert answer.json()["components"]["postgresql"]["detail"] == "schema_missing"


# Metrics and documents ..............................................................


async def test_requests_and_tasks_are_counted(api: ApiUnderTest) -> None:
    await api.submit(queue="metered")
    await api.client.get(f"/tasks/{uuid4()}")

    metrics = (await api.client.get("/metrics")).text

    assert 'taskmill_tasks_accepted_total{queue="metered"} 1.0' in metrics
    assert 'taskmill_http_requests_total{method="GET",route="/tasks/{task_id}",status="404"}' in metrics


async def test_swagger_ui_needs_nothing_from_elsewhere(api: ApiUnderTest) -> None:
    page = await api.client.get("/docs")
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "http" not in page.text.replace("https://", "http://").split("<body>")[1]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js"):
        assert f"static/{name}" in page.text
        assert (await api.client.get(f"/static/{name}")).status_code == 200


async def test_the_root_leads_somewhere(api: ApiUnderTest) -> None:
    answer = await api.client.get("/")

    assert answer.is_redirect
    assert (await api.client.get(answer.headers["location"])).status_code == 200


async def test_each_announced_type_has_an_example_in_the_document(api: ApiUnderTest) -> None:
    document = (await api.client.get("/openapi.json")).json()
    body = document["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]

    assert {name: example["value"] for name, example in body["examples"].items()} == {
        "demo.echo": {"type": "demo.echo", "payload": {"hello": "world"}},
        "demo.sum": {"type": "demo.sum", "payload": {"n": 1}},
    }
    for example in body["examples"].values():
        assert (await api.client.post("/tasks", json=example["value"])).status_code == 202


async def test_answers_are_what_the_document_says(api: ApiUnderTest) -> None:
    document = (await api.client.get("/openapi.json")).json()
    await api.announce_worker()
    succeeded, failed = await api.submit(tags=["a"]), await api.submit()
    await api.run(succeeded, result="[1]")
    await api.fail(failed)

    for path, actual in {
        "/tasks": "/tasks",
        "/tasks/{task_id}": f"/tasks/{failed}",
        "/tasks/{task_id}/explain": f"/tasks/{failed}/explain",
        "/task-types": "/task-types",
        "/queues": "/queues",
        "/workers": "/workers",
        "/dead-letters": "/dead-letters",
        "/dead-letters/{letter_id}": f"/dead-letters/{failed}",
        "/health": "/health",
        "/health/ready": "/health/ready",
    }.items():
        answer = await api.client.get(actual)
        require_documented(document, "get", path, answer)
    require_documented(document, "post", "/tasks", await api.client.post("/tasks", json={"type": "demo.echo"}))
    require_documented(document, "post", "/tasks", await api.client.post("/tasks", json={}), status="default")


def require_documented(
    document: dict[str, Any], method: str, path: str, answer: Any, status: str | None = None
) -> None:
    described = document["paths"][path][method]["responses"][status or str(answer.status_code)]["content"]
    [(media_type, content)] = described.items()
    assert answer.headers["content-type"] == media_type
    schema = {"components": document["components"], **content["schema"]}
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(answer.json())
