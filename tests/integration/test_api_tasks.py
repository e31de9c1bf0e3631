"""Reading, cancelling, retrying and explaining tasks over HTTP, on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.broker.memory import MemoryBroker
from shared.cache.memory import MemoryCache
from shared.domain.outcome import Failure, Outcome
from shared.domain.status import TaskStatus
from shared.errors import CacheUnavailableError, DatabaseUnavailableError
from tests.api import ApiUnderTest, open_api, pointers
from tests.builders import execute, open_store
from tests.listening import until


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(database_url) as opened:
        yield opened


class CacheAway(MemoryCache):
    """A cache that can't be reached."""

    async def get(self, *_: Any) -> Any:
        raise CacheUnavailableError("away")

    async def put(self, *_: Any) -> Any:
        raise CacheUnavailableError("away")

    async def counts(self, *_: Any) -> Any:
        raise CacheUnavailableError("away")

    async def ping(self) -> None:
        raise CacheUnavailableError("away")


async def forget_documents(api: ApiUnderTest) -> None:
    assert isinstance(api.services.cache, MemoryCache)
    api.services.cache._held.clear()


# Reading ............................................................................


@pytest.mark.parametrize("query", ["", "?wait=0.1"])
async def test_connections_that_a_restart_has_cut_cost_no_reader_an_answer(
    api: ApiUnderTest, database_url: str, query: str
) -> None:
    task_id = await api.submit("demo.echo")
    async with open_store(database_url, pool_size=1) as other:
        await execute(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

    answer = await api.client.get(f"/tasks/{task_id}{query}")

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


async def test_a_finished_task_shows_its_whole_life(api: ApiUnderTest) -> None:
    task_id = await api.submit("demo.sum", payload={"n": 1}, tags=["a"])
    await api.run(task_id, result='{"sum": 3}')

    task = (await api.client.get(f"/tasks/{task_id}")).json()

    assert task == {
        "task_id": str(task_id),
        "type": "demo.sum",
        "queue": "numbers",
        "priority": "normal",
        "status": "succeeded",
        "attempt": 1,
        "max_attempts": 5,
        "progress": None,
        "result": {"sum": 3},
        "error": None,
        "errors": [],
        "artifacts": [],
        "payload": {"n": 1},
        "tags": ["a"],
        "created_at": task["created_at"],
        "run_at": None,
        "started_at": task["started_at"],
        "finished_at": task["finished_at"],
        "expires_at": None,
        "worker": "worker-1",
        "cancel_requested": False,
    }
    assert task["created_at"] <= task["started_at"] <= task["finished_at"]
    assert task["finished_at"].endswith("Z")


async def test_no_task_has_an_id_that_was_not_given(api: ApiUnderTest) -> None:
    for task_id in (str(uuid4()), "x", "%00", "%ff", "1" * 500, "{" + str(uuid4()) + "}"):
        for method, action in (
            ("GET", ""),
            ("GET", "/explain"),
            ("GET", "?wait=1"),
            ("DELETE", ""),
            ("POST", "/retry"),
        ):
            answer = await api.client.request(method, f"/tasks/{task_id}{action}")
            assert (answer.status_code, answer.json()["code"]) == (404, "task_not_found")


async def test_a_task_that_did_not_change_is_not_sent_again(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    first = await api.client.get(f"/tasks/{task_id}")
    tag = first.headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await api.client.get(f"/tasks/{task_id}", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)

    await api.claim(task_id)
    changed = await api.client.get(f"/tasks/{task_id}", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")
    assert changed.headers["etag"] != tag


async def test_a_task_is_read_from_the_cache_where_it_is_there(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api_service.reading.age_s", lambda _: 1.0)
    task_id = await api.submit()
    first = await api.client.get(f"/tasks/{task_id}")

    async def be_away(_: UUID) -> Any:
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(api.store.tasks, "get", be_away)
    cached = await api.client.get(f"/tasks/{task_id}")
    await forget_documents(api)
    missing = await api.client.get(f"/tasks/{task_id}")

    assert (cached.status_code, cached.content) == (200, first.content)
    assert cached.headers["etag"] == first.headers["etag"]
    assert missing.status_code == 503
    assert missing.headers["retry-after"]


async def test_a_new_task_is_read_as_it_is_whatever_the_cache_has(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await api.submit()
    monkeypatch.setattr("api_service.reading.age_s", lambda _: 1.0)
    in_cache = (await api.client.get(f"/tasks/{task_id}")).json()
    await api.store.lifecycle.cancel(task_id)

    old = (await api.client.get(f"/tasks/{task_id}")).json()
    monkeypatch.setattr("api_service.reading.age_s", lambda _: 0.01)
    young = (await api.client.get(f"/tasks/{task_id}")).json()
    monkeypatch.setattr("api_service.reading.age_s", lambda _: 1.0)
    later = (await api.client.get(f"/tasks/{task_id}")).json()

    assert (in_cache["status"], old["status"], young["status"]) == ("queued", "queued", "cancelled")
    assert later == young  # nobody is told what was before


async def test_without_a_cache_everything_works(database_url: str) -> None:
    async with open_api(database_url, cache=CacheAway()) as api:
        task_id = await api.submit()
        await api.run(task_id)

        task = await api.client.get(f"/tasks/{task_id}")
        waited = await api.client.get(f"/tasks/{task_id}?wait=5")
        queues = await api.client.get("/queues")

    assert task.json()["status"] == waited.json()["status"] == "succeeded"
    assert queues.json()["items"][0]["rates"] == {"submitted": 0, "succeeded": 0, "failed": 0, "retried": 0}


# Waiting ............................................................................


async def test_waiting_ends_as_soon_as_the_task_is_done(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=30"))
    await asyncio.sleep(0.2)
    began = time.monotonic()

    await api.run(task_id)
    answer = await waiting

    assert answer.json()["status"] == "succeeded"
    assert time.monotonic() - began < 5


async def test_waiting_notices_the_end_without_any_event(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=30"))
    await asyncio.sleep(0.2)

    async def keep_quiet(*_: Any) -> None:
        return None

    monkeypatch.setattr(api.services.news, "tell", keep_quiet)
    await api.run(task_id)
    answer = await asyncio.wait_for(waiting, 10)

    assert answer.json()["status"] == "succeeded"


async def test_waiting_gives_up_with_the_state_of_the_moment(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    began = time.monotonic()
    answer = await api.client.get(f"/tasks/{task_id}?wait=0.3")

    assert answer.status_code == 200
    assert answer.json()["status"] == "queued"
    assert 0.3 <= time.monotonic() - began < 5


async def test_waiting_outlives_an_absence_of_postgresql(api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = await api.submit()
    get = api.store.tasks.get
    reads = 0

    async def be_away_once(id_: UUID) -> Any:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise DatabaseUnavailableError("away")
        return await get(id_)

    monkeypatch.setattr(api.store.tasks, "get", be_away_once)
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=30"))
    await until(lambda: reads >= 2)
    await api.run(task_id)

    assert (await waiting).json()["status"] == "succeeded"


async def test_waiting_ends_when_the_process_is_about_to(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=60"))
    await asyncio.sleep(0.1)

    api.app.state.api.stopping.set()

    assert (await asyncio.wait_for(waiting, 5)).json()["status"] == "queued"


async def test_what_is_known_is_only_told_after_waiting(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    tag = (await api.client.get(f"/tasks/{task_id}")).headers["etag"]
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=30", headers={"If-None-Match": tag}))
    await asyncio.sleep(0.1)
    assert not waiting.done()

    await api.run(task_id)

    assert (await waiting).status_code == 200


async def test_a_wait_that_is_none_is_refused(api: ApiUnderTest) -> None:
    task_id = await api.submit()

    for wait in ("-1", "60.1", "nan", "inf", "x", "1e999", "%00"):
        assert pointers(await api.client.get(f"/tasks/{task_id}?wait={wait}")) == ["?wait"]


# Lists ..............................................................................


async def ids(api: ApiUnderTest, query: str = "") -> list[str]:
    answer = await api.client.get(f"/tasks{query}")
    assert answer.status_code == 200, answer.text
    return [task["task_id"] for task in answer.json()["items"]]


async def test_a_list_begins_with_the_newest_and_can_be_paged(api: ApiUnderTest) -> None:
    submitted = [str(await api.submit(payload=number)) for number in range(5)]
    newest_first = submitted[::-1]

    first = (await api.client.get("/tasks?limit=2")).json()
    second = (await api.client.get("/tasks", params={"limit": 2, "cursor": first["next"]})).json()
    third = (await api.client.get("/tasks", params={"limit": 2, "cursor": second["next"]})).json()

    assert [task["task_id"] for page in (first, second, third) for task in page["items"]] == newest_first
    assert third["next"] is None
    assert first["items"][0] == (await api.client.get(f"/tasks/{newest_first[0]}")).json()


async def test_a_list_shows_what_was_asked_for(api: ApiUnderTest) -> None:
    plain = str(await api.submit())
    tagged = str(await api.submit(tags=["t"], queue="other"))
    summed = str(await api.submit("demo.sum", payload={"n": 1}))
    await api.run(UUID(plain))
    created_at = (await api.client.get(f"/tasks/{tagged}")).json()["created_at"]

    assert await ids(api, "?status=succeeded") == [plain]
    assert await ids(api, "?tag=t") == [tagged]
    assert await ids(api, "?queue=other&type=demo.echo") == [tagged]
    assert await ids(api, "?type=demo.sum&status=queued") == [summed]
    assert await ids(api, f"?created_after={created_at}") == [summed, tagged]
    assert await ids(api, f"?created_before={created_at}") == [plain]
    assert await ids(api, "?status=&type=&queue=&tag=&created_after=&created_before=&limit=50&cursor=") == [
        summed,
        tagged,
        plain,
    ]


async def test_a_plus_sign_in_a_query_may_be_left_unescaped(api: ApiUnderTest) -> None:
    task_id = str(await api.submit())

    assert await ids(api, "?created_after=2020-01-01T00:00:00+00:00") == [task_id]


async def test_a_silly_query_is_refused_by_name(api: ApiUnderTest) -> None:
    for query, place in (
        ("limit=0", "?limit"),
        ("limit=1001", "?limit"),
        ("limit=99999999999999999999", "?limit"),
        ("limit=x", "?limit"),
        ("cursor=x", "?cursor"),
        ("status=done", "?status"),
        ("queue=A", "?queue"),
        ("type=%00", "?type"),
        ("tag=%00", "?tag"),
        ("created_after=yesterday", "?created_after"),
        ("created_after=2020-01-01T00:00:00", "?created_after"),
        ("created_before=0001-01-01T00:00:00Z", "?created_before"),
        ("created_before=9999-12-31T23:59:59-23:59", "?created_before"),
    ):
        assert pointers(await api.client.get(f"/tasks?{query}")) == [place]


# Cancelling and retrying ............................................................


async def test_a_task_that_has_not_started_is_cancelled(api: ApiUnderTest) -> None:
    task_id = await api.submit(delay=60)
    await api.client.get(f"/tasks/{task_id}")

    answer = await api.client.delete(f"/tasks/{task_id}")
    task = await api.client.get(f"/tasks/{task_id}")

    assert (answer.status_code, answer.json()) == (200, {"status": "cancelled"})
    assert task.json()["status"] == "cancelled"


async def test_the_end_of_a_running_task_is_asked_for(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.claim(task_id)
    signals = api.services.events.cancel_signals()
    signalled = asyncio.ensure_future(anext(signals))
    await asyncio.sleep(0)

    answer = await api.client.delete(f"/tasks/{task_id}")
    again = await api.client.delete(f"/tasks/{task_id}")

    assert (answer.status_code, answer.json()) == (202, {"status": "running", "cancel_requested": True})
    assert again.status_code == 202
    assert (await api.client.get(f"/tasks/{task_id}")).json()["cancel_requested"] is True
    assert await asyncio.wait_for(signalled, 5) == task_id


async def test_a_final_task_can_not_be_cancelled(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.run(task_id)

    answer = await api.client.delete(f"/tasks/{task_id}")

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "illegal_move"


async def test_a_failed_task_runs_again(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.fail(task_id)

    answer = await api.client.post(f"/tasks/{task_id}/retry")
    queued = (await api.client.get(f"/tasks/{task_id}")).json()
    await api.claim(task_id, attempt=2)
    task = (await api.client.get(f"/tasks/{task_id}")).json()

    assert answer.status_code == 202
    assert answer.json()["task_id"] == str(task_id)
    assert answer.json()["status"] == queued["status"] == "queued"
    assert (task["status"], task["attempt"]) == ("running", 2)
    assert (await api.client.get("/dead-letters")).json()["items"] == []


async def test_a_task_that_succeeded_does_not_run_again(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    await api.run(task_id)

    assert (await api.client.post(f"/tasks/{task_id}/retry")).status_code == 409


async def test_a_task_does_not_run_again_beside_another_with_its_key(api: ApiUnderTest) -> None:
    first = await api.submit(unique={"key": "k"})
    await api.fail(first)
    await api.submit(unique={"key": "k"})

    answer = await api.client.post(f"/tasks/{first}/retry")

    assert answer.status_code == 409
    assert answer.json()["code"] == "unique_conflict"
    assert (await api.client.get(f"/tasks/{first}")).json()["status"] == "failed"


# Explaining .........................................................................


async def explanation(api: ApiUnderTest, task_id: UUID) -> dict[str, Any]:
    answer = await api.client.get(f"/tasks/{task_id}/explain")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document.keys() == {"code", "text", "since", "details"}
    return document


async def test_a_task_in_line_knows_how_many_are_ahead(api: ApiUnderTest) -> None:
    await api.announce_worker()
    _, _, last = [await api.submit() for _ in range(3)]

    found = await explanation(api, last)

    assert found["code"] == "waiting_in_line"
    assert found["details"]["ahead"] == 2
    assert "2" in found["text"]


async def test_a_queue_that_nobody_takes_from_explains_itself(api: ApiUnderTest) -> None:
    await api.announce_worker(queues={"other": 1})

    assert (await explanation(api, await api.submit()))["code"] == "no_worker_for_queue"


async def test_a_type_that_no_worker_knows_explains_itself(api: ApiUnderTest) -> None:
    await api.announce_worker(types=["demo.sum"])

    assert (await explanation(api, await api.submit()))["code"] == "type_unknown_to_workers"


async def test_a_doorbell_that_can_not_be_rung_explains_itself(database_url: str) -> None:
    broker = MemoryBroker()
    async with open_api(database_url, broker=broker) as api:
        await api.announce_worker()
        await broker.close()

        found = await explanation(api, await api.submit())

    assert found["code"] == "broker_unreachable"


async def test_every_other_status_explains_itself(api: ApiUnderTest) -> None:
    scheduled = await api.submit(delay=60)
    running, retrying, final = [await api.submit() for _ in range(3)]
    await api.claim(running)
    await api.claim(retrying)
    failure = Failure("error", "it broke")
    await api.finish(retrying, Outcome(TaskStatus.RETRYING, failure=failure, delay_s=60))
    await api.run(final)

    found = {task_id: await explanation(api, task_id) for task_id in (scheduled, running, retrying, final)}

    assert [explained["code"] for explained in found.values()] == ["scheduled", "running", "retrying", "final"]
    assert found[scheduled]["details"]["run_at"]
    assert found[running]["details"]["worker"] == "worker-1"
    assert found[running]["since"]
    assert found[final]["details"]["status"] == "succeeded"
