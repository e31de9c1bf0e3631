"""Submitting tasks over HTTP, on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from shared.domain.task import NewTask
from shared.errors import DatabaseUnavailableError
from shared.store.submissions import Born
from shared.store.tasks import TaskFilter
from tests.api import ECHO, MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES, ApiUnderTest, open_api, pointers
from tests.builders import doorbells
from tests.listening import until


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(database_url) as opened:
        yield opened


async def count_tasks(api: ApiUnderTest) -> int:
    return len(await api.store.tasks.page(TaskFilter(), limit=1000))


# One task ...........................................................................


async def test_a_task_is_accepted_and_can_be_read(api: ApiUnderTest) -> None:
    accepted = await api.client.post("/tasks", json={"type": "demo.echo", "payload": {"a": [1, "x"]}})
    read = await api.client.get(accepted.headers["location"])

    assert accepted.status_code == 202
    body = accepted.json()
    assert body == {
        "task_id": body["task_id"],
        "status": "queued",
        "type": "demo.echo",
        "queue": "default",
        "duplicate": False,
        "created_at": read.json()["created_at"],
    }
    assert accepted.headers["location"] == f"/tasks/{body['task_id']}"
    assert read.status_code == 200
    assert read.json()["payload"] == {"a": [1, "x"]}


async def test_what_the_client_leaves_out_comes_from_the_type(api: ApiUnderTest) -> None:
    task = await api.store.tasks.get(await api.submit("demo.sum", payload={"n": 1}))

    assert (task.queue, task.max_attempts, task.timeout_s, task.soft_timeout_s) == ("numbers", 5, 60, 50)
    assert (task.priority, task.tags) == ("normal", [])


async def test_what_the_client_says_is_stored(api: ApiUnderTest) -> None:
    task_id = await api.submit(
        queue="q.1",
        priority="high",
        delay=30,
        expires_in=3600,
        timeout=20.5,
        soft_timeout=10,
        max_attempts=7,
        tags=["a", "größe"],
    )
    task = await api.store.tasks.get(task_id)

    assert (task.queue, task.priority, task.status, task.max_attempts) == ("q.1", "high", "scheduled", 7)
    assert (task.timeout_s, task.soft_timeout_s, task.tags) == (20.5, 10, ["a", "größe"])
    assert task.run_at == task.created_at + timedelta(seconds=30)
    assert task.expires_at == task.created_at + timedelta(hours=1)


async def test_a_payload_that_is_left_out_is_an_empty_object(api: ApiUnderTest) -> None:
    task = await api.client.get(f"/tasks/{await api.submit()}")

    assert task.json()["payload"] == {}


async def test_any_json_value_comes_back_as_it_was_sent(api: ApiUnderTest) -> None:
    payloads: list[Any] = [None, 0, "", [], "\x00", 10**400, {"": [None]}]
    for payload in payloads:
        task = await api.client.get(f"/tasks/{await api.submit(payload=payload)}")
        assert task.json()["payload"] == payload


async def test_a_run_at_with_an_offset_is_the_same_moment(api: ApiUnderTest) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=5)
    text = (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00")

    task = await api.client.get(f"/tasks/{await api.submit(run_at=text)}")

    assert task.json()["status"] == "scheduled"
    assert datetime.fromisoformat(task.json()["run_at"]) == moment


async def test_a_run_at_in_the_past_is_due_now(api: ApiUnderTest) -> None:
    accepted = await api.client.post("/tasks", json={"type": "demo.echo", "run_at": "2001-01-01T00:00:00Z"})

    assert accepted.json()["status"] == "queued"


async def test_the_doorbell_of_a_task_is_rung_and_forgotten(api: ApiUnderTest) -> None:
    task_id = await api.submit(queue="bells")

    async with asyncio.timeout(10):
        while await doorbells(api.store, task_id):  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.01)
    assert (await api.services.broker.depth("bells")).ready == 1


async def test_the_request_id_is_kept_with_the_task(api: ApiUnderTest) -> None:
    answer = await api.client.post("/tasks", json={"type": "demo.echo"}, headers={"X-Request-ID": "from-me"})
    task = await api.store.tasks.get(UUID(answer.json()["task_id"]))

    assert answer.headers["x-request-id"] == "from-me"
    assert task.request_id == "from-me"


async def test_accepted_tasks_are_counted_for_the_rates(api: ApiUnderTest) -> None:
    for _ in range(3):
        await api.submit()
    await api.app.state.api.submitter.close()

    assert (await api.services.cache.counts(1))["default", "submitted"] == 3


# Types and schemas ..................................................................


async def test_an_unknown_type_is_refused_and_the_known_ones_named(api: ApiUnderTest) -> None:
    answer = await api.client.post("/tasks", json={"type": "demo.nope"})

    assert pointers(answer) == ["/type"]
    assert "demo.echo, demo.sum" in answer.json()["errors"][0]["message"]


async def test_a_type_is_known_as_soon_as_it_is_announced(api: ApiUnderTest) -> None:
    refused = await api.client.post("/tasks", json={"type": "demo.new"})
    await api.store.task_types.announce([replace(ECHO, name="demo.new")])
    accepted = await api.client.post("/tasks", json={"type": "demo.new"})

    assert refused.status_code == 422
    assert accepted.status_code == 202


async def test_unknown_types_cost_a_few_readings_a_second_at_most(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0
    read_all = api.store.task_types.all

    async def count_and_read() -> Any:
        nonlocal readings
        readings += 1
        return await read_all()

    monkeypatch.setattr(api.store.task_types, "all", count_and_read)
    together = await asyncio.gather(*(api.client.post("/tasks", json={"type": f"x{i}"}) for i in range(40)))
    assert readings <= 2
    began = time.monotonic()
    one_by_one = [await api.client.post("/tasks", json={"type": f"y{i}"}) for i in range(3)]

    assert {answer.status_code for answer in together + one_by_one} == {422}
    assert time.monotonic() - began > 2 * 0.25


async def test_what_the_schema_refuses_is_named(api: ApiUnderTest) -> None:
    cases: list[tuple[Any, list[str]]] = [
        ({"n": "x"}, ["/payload/n"]),
        ({}, ["/payload/n"]),
        ({"n": 101}, ["/payload/n"]),
        ({"n": 1, "terms": [1, "x", None]}, ["/payload/terms/1", "/payload/terms/2"]),
        ({"n": 1, "a/b~": 1}, ["/payload/a~1b~0"]),
        (None, ["/payload"]),
    ]
    for payload, places in cases:
        answer = await api.client.post("/tasks", json={"type": "demo.sum", "payload": payload})
        assert pointers(answer) == places
    assert await count_tasks(api) == 0


async def test_a_type_whose_schema_is_broken_takes_any_payload(api: ApiUnderTest) -> None:
    await api.store.task_types.announce([replace(ECHO, name="demo.broken", payload_schema={"type": "nonsense"})])

    answer = await api.client.post("/tasks", json={"type": "demo.broken", "payload": {"any": "thing"}})

    assert answer.status_code == 202


# Batches ............................................................................


async def test_a_batch_is_answered_in_its_order(api: ApiUnderTest) -> None:
    for size in (0, 1, 10, 11, 300):
        tasks = [{"type": "demo.echo", "payload": number} for number in range(size)]
        answer = await api.client.post("/tasks/batch", json={"tasks": tasks})

        assert answer.status_code == 202
        items = answer.json()["items"]
        stored = [await api.store.tasks.get(UUID(item["task_id"])) for item in items]
        assert [task.payload for task in stored] == [str(number) for number in range(size)]
        assert all(item == {"task_id": item["task_id"], "status": "queued", "duplicate": False} for item in items)


async def test_one_invalid_item_refuses_the_batch_and_is_named(api: ApiUnderTest) -> None:
    tasks: list[Any] = [{"type": "demo.sum", "payload": {"n": 1}} for _ in range(20)]
    tasks[17]["payload"]["n"] = "seventeen"
    tasks[18] = {"type": "demo.nope"}
    tasks[19] = None

    answer = await api.client.post("/tasks/batch", json={"tasks": tasks})

    assert pointers(answer) == ["/tasks/17/payload/n", "/tasks/18/type", "/tasks/19"]
    assert await count_tasks(api) == 0


async def test_no_more_than_fifty_faults_are_named(api: ApiUnderTest) -> None:
    answer = await api.client.post("/tasks/batch", json={"tasks": [{}] * 1000})

    assert len(pointers(answer)) == 50


async def test_what_is_no_batch_is_refused(api: ApiUnderTest) -> None:
    bodies: list[Any] = [{}, [], {"tasks": {}}, {"tasks": None}, {"tasks": [], "more": 1}]
    for body in bodies:
        assert pointers(await api.client.post("/tasks/batch", json=body)) == [""]


async def test_ten_thousand_tasks_are_the_most(api: ApiUnderTest) -> None:
    accepted = await api.client.post("/tasks/batch", json={"tasks": [{"type": "demo.echo"}] * 10_000})
    refused = await api.client.post("/tasks/batch", json={"tasks": [{"type": "demo.echo"}] * 10_001})

    assert accepted.status_code == 202
    assert len({item["task_id"] for item in accepted.json()["items"]}) == 10_000
    assert pointers(refused) == ["/tasks"]


# Idempotency ........................................................................


async def post_with_key(api: ApiUnderTest, key: str, body: Any, path: str = "/tasks") -> httpx.Response:
    return await api.client.post(path, json=body, headers={"Idempotency-Key": key})


async def test_a_repeat_is_answered_with_the_first_task(api: ApiUnderTest) -> None:
    first = await post_with_key(api, "k", {"type": "demo.echo", "payload": {"a": 1, "b": 2}})
    repeat = await post_with_key(api, "k", {"payload": {"b": 2, "a": 1}, "type": "demo.echo"})

    assert (first.status_code, repeat.status_code) == (202, 200)
    assert repeat.json() == first.json() | {"duplicate": True}
    assert repeat.headers["location"] == first.headers["location"]
    assert await count_tasks(api) == 1


async def test_another_key_is_another_task(api: ApiUnderTest) -> None:
    answers = [await post_with_key(api, key, {"type": "demo.echo"}) for key in ("a", "b")]

    assert [answer.status_code for answer in answers] == [202, 202]


async def test_the_same_key_with_another_body_is_refused(api: ApiUnderTest) -> None:
    await post_with_key(api, "k", {"type": "demo.echo", "payload": 1})
    answer = await post_with_key(api, "k", {"type": "demo.echo", "payload": 2})

    assert pointers(answer) == ["Idempotency-Key"]
    assert answer.json()["code"] == "idempotency_conflict"
    assert await count_tasks(api) == 1


async def test_concurrent_repeats_give_one_task(api: ApiUnderTest) -> None:
    answers = await asyncio.gather(*(post_with_key(api, "k", {"type": "demo.echo"}) for _ in range(30)))

    assert sorted(answer.status_code for answer in answers) == [200] * 29 + [202]
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert await count_tasks(api) == 1


async def test_a_repeated_batch_is_answered_with_the_first_tasks(api: ApiUnderTest) -> None:
    for size in (3, 20):
        key, body = f"key of {size}", {"tasks": [{"type": "demo.echo", "payload": number} for number in range(size)]}

        first = await post_with_key(api, key, body, "/tasks/batch")
        repeat = await post_with_key(api, key, body, "/tasks/batch")
        changed = await post_with_key(api, key, {"tasks": body["tasks"][:2]}, "/tasks/batch")

        assert repeat.json()["items"] == [item | {"duplicate": True} for item in first.json()["items"]]
        assert pointers(changed) == ["Idempotency-Key"]
    assert await count_tasks(api) == 3 + 20


async def test_what_can_be_no_key_is_refused(api: ApiUnderTest) -> None:
    for key in (b"", b"x" * 256, "schlüssel".encode(), b"\xff", b"a\tb"):
        headers: Any = [(b"Idempotency-Key", key)]
        answer = await api.client.post("/tasks", json={"type": "demo.echo"}, headers=headers)
        assert pointers(answer) == ["Idempotency-Key"]


# Uniqueness .........................................................................


async def test_a_task_like_an_open_one_is_that_one(api: ApiUnderTest) -> None:
    body = {"type": "demo.echo", "payload": {"a": 1, "b": 2}, "unique": True}

    first = await api.client.post("/tasks", json=body)
    again = await api.client.post("/tasks", json=body | {"payload": {"b": 2, "a": 1}})
    other = await api.client.post("/tasks", json=body | {"payload": {"a": 1}})

    assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
    assert other.status_code == 202


async def test_a_unique_task_that_is_done_makes_room_for_another(api: ApiUnderTest) -> None:
    first = await api.submit(unique={"key": "k"})
    await api.run(first)

    assert await api.submit(unique={"key": "k"}) != first


async def test_a_unique_key_may_stay_taken_after_the_task_is_done(api: ApiUnderTest) -> None:
    first = await api.submit(unique={"key": "k", "for": 300})
    await api.run(first)
    again = await api.client.post("/tasks", json={"type": "demo.echo", "unique": {"key": "k", "for": 300}})

    assert again.status_code == 200
    assert again.json()["task_id"] == str(first)
    assert again.json()["status"] == "succeeded"


# Neighbours and faults ..............................................................


async def test_one_bad_submission_does_not_fail_those_stored_with_it(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = api.store.submissions.accept
    batches: list[int] = []

    async def choke_on_bad(tasks: Sequence[NewTask]) -> Born:
        batches.append(len(tasks))
        if any("bad" in task.tags for task in tasks):
            raise ValueError("choked")
        return await accept(tasks)

    monkeypatch.setattr(api.store.submissions, "accept", choke_on_bad)
    bodies = [{"type": "demo.echo", "tags": ["bad"] if number == 5 else []} for number in range(12)]
    with capture_logs() as logged:
        answers = await asyncio.gather(*(api.client.post("/tasks", json=body) for body in bodies))

    assert max(batches) > 1
    assert [answer.status_code for answer in answers] == [500 if number == 5 else 202 for number in range(12)]
    assert "choked" not in answers[5].text
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["request_failed"]


async def test_without_postgresql_a_task_is_refused_for_now(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.submit()

    async def be_away(tasks: Sequence[NewTask]) -> Born:
        raise DatabaseUnavailableError("secret address")

    monkeypatch.setattr(api.store.submissions, "accept", be_away)
    answer = await api.client.post("/tasks", json={"type": "demo.echo"})

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_a_short_absence_of_postgresql_goes_unnoticed(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = api.store.submissions.accept
    tries = 0

    async def be_away_twice(tasks: Sequence[NewTask]) -> Born:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise DatabaseUnavailableError("restarting")
        return await accept(tasks)

    monkeypatch.setattr(api.store.submissions, "accept", be_away_twice)

    answer = await api.client.post("/tasks", json={"type": "demo.echo"})

    assert answer.status_code == 202
    assert tries == 3


async def test_rabbitmq_away_is_no_reason_to_refuse(api: ApiUnderTest) -> None:
    await api.services.broker.close()
    task_id = await api.submit()

    await until(lambda: "waiting=0" in repr(api.services.publisher))
    assert await doorbells(api.store, task_id) == [(task_id, 1)]


# Limits .............................................................................


async def test_a_body_over_the_limit_is_refused(api: ApiUnderTest) -> None:
    answer = await api.client.post("/tasks", json={"type": "demo.echo", "payload": "x" * MAX_BODY_BYTES})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    assert await count_tasks(api) == 0


async def test_a_body_that_does_not_say_its_length_is_limited_too(api: ApiUnderTest) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"type": "demo.echo", "payload": "'
        for _ in range(MAX_BODY_BYTES // 1024 + 1):
            yield b"x" * 1024
        yield b'"}'

    answer = await api.client.post("/tasks", content=pieces())

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


async def test_a_batch_may_be_larger_than_a_task(api: ApiUnderTest) -> None:
    tasks = [{"type": "demo.echo", "payload": "x" * 1000}] * (2 * MAX_BODY_BYTES // 1000)

    accepted = await api.client.post("/tasks/batch", json={"tasks": tasks})
    refused = await api.client.post("/tasks/batch", content=b" " * (MAX_BATCH_BODY_BYTES + 1))

    assert accepted.status_code == 202
    assert refused.status_code == 413
