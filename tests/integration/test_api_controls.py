"""What operators do over HTTP: pause, resume, purge, drain, replay; on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.broker.memory import MemoryBroker
from shared.domain.message import Due
from shared.domain.task_type import TaskTypeInfo
from shared.store.store import Store
from tests.api import ECHO, SUM, ApiUnderTest, open_api, pointers
from worker_service.library.replaying import replay
from worker_service.registry import registry

REPLAY: TaskTypeInfo = registry.of(replay).info


@pytest.fixture
async def api(store: Store, module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url, types=(ECHO, SUM, REPLAY)) as opened:
        yield opened


async def actions(api: ApiUnderTest) -> list[tuple[str, str]]:
    entries = (await api.client.get("/audit")).json()["items"]
    return [(entry["action"], entry["target"]) for entry in reversed(entries)]


# Pausing ..............................................................................


async def test_a_queue_is_paused_and_resumed(api: ApiUnderTest) -> None:
    await api.announce_worker()
    task_id = await api.submit()

    paused = await api.client.post("/queues/default/pause")
    again = await api.client.post("/queues/default/pause")
    explained = (await api.client.get(f"/tasks/{task_id}/explain")).json()
    refused = await api.store.lifecycle.claim([Due(task_id, 1)], worker="worker-1", types=["demo.echo"])
    resumed = await api.client.post("/queues/default/resume")

    assert (paused.status_code, paused.json()["name"], paused.json()["paused"]) == (200, "default", True)
    assert again.json()["paused_at"] == paused.json()["paused_at"] is not None
    assert (explained["code"], explained["since"]) == ("queue_paused", paused.json()["paused_at"])
    assert refused == []
    assert (resumed.status_code, resumed.json()["paused"], resumed.json()["paused_at"]) == (200, False, None)
    assert (await api.client.post("/queues/default/resume")).status_code == 200
    assert (await api.claim(task_id)).status == "running"
    assert (await actions(api))[:2] == [("queue.pause", "default")] * 2


async def test_tasks_are_accepted_while_their_queue_is_paused(api: ApiUnderTest) -> None:
    assert (await api.client.post("/queues/early/pause")).json()["ready"] == 0

    task_id = await api.submit(queue="early")

    assert (await api.client.get(f"/tasks/{task_id}")).json()["status"] == "queued"
    [queue] = (await api.client.get("/queues")).json()["items"]
    assert (queue["name"], queue["ready"], queue["paused"]) == ("early", 1, True)


async def test_a_resumed_queue_is_rung_for(store: Store, module_database_url: str) -> None:
    broker = MemoryBroker()
    async with open_api(module_database_url, broker=broker) as api:
        await api.client.post("/queues/default/pause")
        await api.submit()
        await rung(api, broker, 1)
        broker.queues.queue("default").ready.clear()  # as a worker does that refuses it

        await api.client.post("/queues/default/resume")

        await rung(api, broker, 1)


async def rung(api: ApiUnderTest, broker: MemoryBroker, number: int) -> None:
    async with asyncio.timeout(10):
        while broker.queues.depth("default").ready < number:  # noqa: ASYNC110 - the broker sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method, action", [("POST", "pause"), ("POST", "resume"), ("DELETE", "purge")])
@pytest.mark.parametrize("name", ["Upper", "a b", "x" * 65, "%00", "a%0A", "ü", "a%2Fb"])
async def test_a_name_that_no_queue_can_have_is_refused(
    api: ApiUnderTest, method: str, action: str, name: str
) -> None:
    answer = await api.client.request(method, f"/queues/{name}/{action}")

    if answer.status_code != 404:  # a slash makes another path of it
        assert pointers(answer) == ["queue"]
    assert (await api.client.get("/queues")).json()["items"] == []


@pytest.mark.parametrize("method, action", [("POST", "resume"), ("DELETE", "purge")])
async def test_a_queue_that_nobody_has_named_is_not_found(api: ApiUnderTest, method: str, action: str) -> None:
    answer = await api.client.request(method, f"/queues/nobody/{action}")

    assert (answer.status_code, answer.json()["code"]) == (404, "queue_not_found")
    assert "GET /queues" in answer.json()["detail"]


# Purging ..............................................................................


async def test_what_has_not_started_is_purged(api: ApiUnderTest) -> None:
    waiting = [await api.submit(), await api.submit(delay=60)]
    running, other = await api.submit(), await api.submit(queue="other")
    await api.claim(running)

    purged = await api.client.delete("/queues/default/purge")
    again = await api.client.delete("/queues/default/purge")

    assert (purged.status_code, purged.json()) == (200, {"purged": 2})
    assert again.json() == {"purged": 0}
    statuses = [(await api.client.get(f"/tasks/{id_}")).json()["status"] for id_ in (*waiting, running, other)]
    assert statuses == ["cancelled", "cancelled", "running", "queued"]
    assert ("queue.purge", "default") in await actions(api)


async def test_who_waits_for_a_task_learns_that_it_was_purged(api: ApiUnderTest) -> None:
    task_id = await api.submit()
    waiting = asyncio.create_task(api.client.get(f"/tasks/{task_id}?wait=30"))
    await asyncio.sleep(0.2)

    await api.client.delete("/queues/default/purge")

    async with asyncio.timeout(20):
        assert (await waiting).json()["status"] == "cancelled"


async def test_a_purge_that_a_stop_interrupts_says_how_far_it_came(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api_service.purging._CHUNK", 2)
    for _ in range(5):
        await api.submit()
    api.app.state.api.stopping.set()

    answer = await api.client.delete("/queues/default/purge")
    api.app.state.api.stopping.clear()

    assert (answer.status_code, answer.json()["code"], answer.json()["purged"]) == (503, "purge_interrupted", 2)
    assert (await api.client.delete("/queues/default/purge")).json() == {"purged": 3}


# Draining .............................................................................


async def test_a_worker_is_asked_to_drain(api: ApiUnderTest) -> None:
    await api.announce_worker()
    task_id = await api.submit()

    answer = await api.client.post("/workers/worker-1/drain")

    assert (answer.status_code, answer.json()["draining"]) == (202, True)
    assert [worker["draining"] for worker in (await api.client.get("/workers")).json()["items"]] == [True]
    [queue] = (await api.client.get("/queues")).json()["items"]
    assert queue["consumers"] == 0
    explained = (await api.client.get(f"/tasks/{task_id}/explain")).json()
    assert (explained["code"], explained["details"]["draining"]) == ("no_worker_for_queue", 1)
    assert ("worker.drain", "worker-1") in await actions(api)


@pytest.mark.parametrize("worker_id", ["nobody", "%00", "%ff", "a%0Ab"])
async def test_no_worker_drains_that_is_not_there(api: ApiUnderTest, worker_id: str) -> None:
    answer = await api.client.post(f"/workers/{worker_id}/drain")

    assert (answer.status_code, answer.json()["code"]) == (404, "worker_not_found")


# Replaying ............................................................................


async def replay_task(api: ApiUnderTest, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    document = answer.json()
    assert answer.headers["location"] == f"/tasks/{document['task_id']}"
    task: dict[str, Any] = (await api.client.get(f"/tasks/{document['task_id']}")).json()
    assert (task["type"], task["queue"]) == ("system.replay", "system")
    return task


async def test_a_bulk_replay_is_a_task_of_its_own(api: ApiUnderTest) -> None:
    for queue in ("default", "other"):
        await api.fail(await api.submit(queue=queue))

    answer = await api.client.post("/dead-letters/replay", json={"queue": "other", "per_second": 5})
    task = await replay_task(api, answer)

    assert (answer.json()["matching"], answer.json()["status"], answer.json()["per_second"]) == (1, "queued", 5)
    assert task["payload"]["queue"] == "other"
    assert task["payload"]["per_second"] == 5
    assert task["payload"]["type"] is None
    assert (await actions(api))[-1][0] == "dead_letters.replay"


async def test_the_filter_may_stand_in_the_query_and_nothing_need_match(api: ApiUnderTest) -> None:
    answer = await api.client.post("/dead-letters/replay?queue=other&type=demo.echo&reason=&per_second=0.5")
    task = await replay_task(api, answer)

    assert answer.json()["matching"] == 0
    assert task["payload"] | {"before": ""} == {
        "queue": "other", "type": "demo.echo", "reason": None, "before": "", "per_second": 0.5,
    }  # fmt: skip


async def test_a_bulk_replay_is_twenty_a_second_unless_said_otherwise(api: ApiUnderTest) -> None:
    assert (await api.client.post("/dead-letters/replay")).json()["per_second"] == 20


async def test_a_repeated_request_for_a_replay_is_one(api: ApiUnderTest) -> None:
    ask = {"json": {"queue": "other"}, "headers": {"Idempotency-Key": "once"}}
    first = await api.client.post("/dead-letters/replay", **ask)  # type: ignore[arg-type]
    second = await api.client.post("/dead-letters/replay", **ask)  # type: ignore[arg-type]

    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["task_id"] == second.json()["task_id"]


@pytest.mark.parametrize(
    "body, faults",
    [
        ({"queue": "Upper"}, ["/queue"]),
        ({"type": 5}, ["/type"]),
        ({"reason": "a\x00"}, ["/reason"]),
        ({"per_second": 0}, ["/per_second"]),
        ({"per_second": 1001}, ["/per_second"]),
        ({"per_second": "5"}, ["/per_second"]),
        ({"per_second": True}, ["/per_second"]),
        ({"qeue": "x"}, ["/qeue"]),
        ([], [""]),
        (None, [""]),
        ("x", [""]),
    ],
)
async def test_a_filter_that_says_nothing_sensible_is_refused(
    api: ApiUnderTest, body: object, faults: list[str]
) -> None:
    answer = await api.client.post("/dead-letters/replay", content=json.dumps(body).encode())

    assert pointers(answer) == faults


@pytest.mark.parametrize("query", ["qeue=x", "queue=Upper", "per_second=nan", "per_second=x", "limit=5"])
async def test_a_query_that_is_misspelt_replays_nothing(api: ApiUnderTest, query: str) -> None:
    answer = await api.client.post(f"/dead-letters/replay?{query}")

    assert pointers(answer) == ["?" + query.split("=")[0]]


async def test_body_and_query_must_not_contradict_each_other(api: ApiUnderTest) -> None:
    answer = await api.client.post("/dead-letters/replay?queue=a&type=t", json={"queue": "b", "type": "t"})

    assert pointers(answer) == ["?queue"]


async def test_without_a_worker_that_replays_nothing_is_promised(store: Store, module_database_url: str) -> None:
    async with open_api(module_database_url) as api:
        answer = await api.client.post("/dead-letters/replay")

    assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")


async def test_a_task_is_replayed_with_another_payload(api: ApiUnderTest) -> None:
    task_id = await api.submit("demo.sum", payload={"n": 1})
    await api.fail(task_id)

    refused = await api.client.post(f"/dead-letters/{task_id}/replay", json={"payload": {"n": 1000, "x": 1}})
    unknown = await api.client.post(f"/dead-letters/{task_id}/replay", json={"payload": {"n": 2}, "queue": "x"})
    still_dead = (await api.client.get(f"/dead-letters/{task_id}")).status_code
    replayed = await api.client.post(f"/dead-letters/{task_id}/replay", json={"payload": {"n": 2}})

    assert sorted(pointers(refused)) == ["/payload/n", "/payload/x"]
    assert pointers(unknown) == ["/queue"]
    assert still_dead == 200
    assert (replayed.status_code, replayed.json()["status"]) == (202, "queued")
    assert (await api.client.get(f"/tasks/{task_id}")).json()["payload"] == {"n": 2}


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_a_replay_without_a_payload_keeps_it(api: ApiUnderTest, content: bytes) -> None:
    task_id = await api.submit(payload={"n": 1})
    await api.fail(task_id)

    answer = await api.client.post(f"/dead-letters/{task_id}/replay", content=content)

    assert answer.status_code == 202
    assert (await api.client.get(f"/tasks/{task_id}")).json()["payload"] == {"n": 1}


async def test_null_is_a_payload_too(api: ApiUnderTest) -> None:
    task_id = await api.submit(payload={"n": 1})
    await api.fail(task_id)

    await api.client.post(f"/dead-letters/{task_id}/replay", json={"payload": None})

    assert (await api.client.get(f"/tasks/{task_id}")).json()["payload"] is None


async def test_every_action_on_a_dead_letter_is_written_down(api: ApiUnderTest) -> None:
    replayed, discarded = await api.submit(), await api.submit()
    for task_id in (replayed, discarded):
        await api.fail(task_id)

    await api.client.post(f"/dead-letters/{replayed}/replay")
    await api.client.delete(f"/dead-letters/{discarded}")

    assert await actions(api) == [("dead_letter.replay", str(replayed)), ("dead_letter.discard", str(discarded))]


# Nonsense .............................................................................

PATHS = st.sampled_from(
    [
        ("POST", "/queues/{}/pause"),
        ("POST", "/queues/{}/resume"),
        ("DELETE", "/queues/{}/purge"),
        ("POST", "/workers/{}/drain"),
        ("POST", "/dead-letters/{}/replay"),
        ("DELETE", "/dead-letters/{}"),
        ("POST", "/dead-letters/replay?{}"),
    ]
)


FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
BODIES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.dictionaries(st.sampled_from(["queue", "type", "reason", "per_second", "payload", "n"]), inner, max_size=4)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=6,
)


@FUZZ
@given(path=PATHS, word=st.binary(max_size=80), body=st.binary(max_size=200))
async def test_random_bytes_are_answered_politely(
    api: ApiUnderTest, path: tuple[str, str], word: bytes, body: bytes
) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in word) or "-"

    answer = await api.client.request(path[0], path[1].format(escaped), content=body)

    assert answer.status_code < 500, answer.text


@FUZZ
@given(body=BODIES)
async def test_random_json_is_answered_politely(api: ApiUnderTest, body: object) -> None:
    task_id = await api.submit("demo.sum", payload={"n": 1})
    await api.fail(task_id)

    for path in ("/dead-letters/replay", f"/dead-letters/{task_id}/replay"):
        answer = await api.client.post(path, content=json.dumps(body).encode())
        assert answer.status_code < 500, answer.text
