"""Schedules over HTTP: created, shown, changed, run by hand; and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest

from tests.api import ApiUnderTest, open_api, pointers
from tests.builders import empty, execute

DAILY: dict[str, Any] = {"name": "nightly", "cron": "10 0 * * *", "type": "demo.sum", "payload": {"n": 1}}


@pytest.fixture
async def api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(module_database_url) as opened:
        await empty(opened.store)
        await opened.store.task_types.announce(opened.types)
        yield opened


async def create(api: ApiUnderTest, **fields: Any) -> dict[str, Any]:
    body = {**DAILY, **fields}
    answer = await api.client.post("/schedules", json={k: v for k, v in body.items() if v is not None})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def get(api: ApiUnderTest, name: str = "nightly") -> dict[str, Any]:
    answer = await api.client.get(f"/schedules/{name}")
    assert answer.status_code == 200, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Creating and reading .................................................................


async def test_a_new_schedule_is_shown_with_its_next_runs(api: ApiUnderTest) -> None:
    answer = await api.client.post("/schedules", json=DAILY)

    assert (answer.status_code, answer.headers["location"]) == (201, "/schedules/nightly")
    created = answer.json()
    assert created == await get(api)
    known = {name: created[name] for name in ("cron", "every", "timezone", "type", "payload", "queue")}
    assert known == {"cron": "10 0 * * *", "every": None, "timezone": "UTC", "type": "demo.sum",
                     "payload": {"n": 1}, "queue": None}  # fmt: skip
    assert (created["catch_up"], created["overlap"], created["paused"], created["built_in"]) == (
        "skip", "allow", False, False)  # fmt: skip
    runs = [moment(text) for text in created["next_runs"]]
    assert len(runs) == 5
    assert created["next_run_at"] == created["next_runs"][0]
    assert runs[0] > datetime.now(UTC)
    assert {(run.hour, run.minute, run.second) for run in runs} == {(0, 10, 0)}
    assert {later - run for run, later in pairwise(runs)} == {timedelta(days=1)}
    assert created["last_runs"] == []


async def test_a_time_zone_decides_what_the_clock_shows(api: ApiUnderTest) -> None:
    created = await create(api, cron="30 12 1 7 *", timezone="Asia/Kolkata")

    assert moment(created["next_run_at"]).strftime("%m-%d %H:%M") == "07-01 07:00"


async def test_an_expression_is_shown_as_it_was_written(api: ApiUnderTest) -> None:
    created = await create(api, cron="0  9 *\t* mon-fri")

    assert created["cron"] == "0 9 * * mon-fri"
    assert {moment(text).weekday() for text in created["next_runs"]} == {0, 1, 2, 3, 4}


async def test_every_is_a_grid_from_its_creation(api: ApiUnderTest) -> None:
    created = await create(api, cron=None, every=90)

    first, second = map(moment, created["next_runs"][:2])
    assert second - first == timedelta(seconds=90)
    assert timedelta(seconds=89) <= first - moment(created["created_at"]) <= timedelta(seconds=90)


async def test_a_name_that_is_taken_is_a_conflict(api: ApiUnderTest) -> None:
    await create(api)

    answer = await api.client.post("/schedules", json={**DAILY, "cron": "0 0 * * *"})

    assert answer.status_code == 409
    assert answer.json()["code"] == "schedule_exists"
    assert (await get(api))["cron"] == "10 0 * * *"


async def test_the_list_comes_in_pages_by_name(api: ApiUnderTest) -> None:
    for name in ("b", "a", "c"):
        await create(api, name=name)

    first = (await api.client.get("/schedules?limit=2")).json()
    second = (await api.client.get(f"/schedules?limit=2&cursor={first['next']}")).json()

    assert [item["name"] for item in (*first["items"], *second["items"])] == ["a", "b", "c"]
    assert second["next"] is None


async def test_a_cursor_that_was_not_given_out_is_refused(api: ApiUnderTest) -> None:
    assert pointers(await api.client.get("/schedules?cursor=A%00b")) == ["?cursor"]


# Changing .............................................................................


async def test_put_creates_and_replaces(api: ApiUnderTest) -> None:
    body = {name: value for name, value in DAILY.items() if name != "name"}

    created = await api.client.put("/schedules/nightly", json=body)
    replaced = await api.client.put("/schedules/nightly", json={**body, "every": 60, "cron": None})

    assert (created.status_code, replaced.status_code) == (201, 200)
    assert replaced.json()["every"] == 60
    assert replaced.json()["cron"] is None
    assert moment(replaced.json()["next_run_at"]) - datetime.now(UTC) < timedelta(seconds=61)


async def test_put_keeps_the_next_tick_unless_the_rhythm_changes(api: ApiUnderTest) -> None:
    before = await create(api, cron=None, every=3600)
    await execute(api.store, "UPDATE schedules SET next_run_at = next_run_at - interval '2 hours'")  # it is due
    body = {**DAILY, "cron": None, "every": 3600, "payload": {"n": 2}}

    same = (await api.client.put("/schedules/nightly", json=body)).json()
    other = (await api.client.put("/schedules/nightly", json={**body, "every": 7200})).json()

    assert moment(same["next_run_at"]) < datetime.now(UTC)
    assert same["payload"] == {"n": 2}
    assert same["created_at"] == before["created_at"]
    assert moment(other["next_run_at"]) > datetime.now(UTC)


async def test_put_of_another_name_is_refused(api: ApiUnderTest) -> None:
    assert pointers(await api.client.put("/schedules/other", json=DAILY)) == ["/name"]
    assert pointers(await api.client.put("/schedules/No!", json=DAILY)) == ["/name"]


async def test_a_replaced_schedule_stays_paused(api: ApiUnderTest) -> None:
    await create(api)
    await api.client.post("/schedules/nightly/pause")

    replaced = (await api.client.put("/schedules/nightly", json={**DAILY, "cron": "0 1 * * *"})).json()

    assert (replaced["paused"], replaced["next_runs"]) == (True, [])


async def test_a_deleted_schedule_is_gone_with_its_runs(api: ApiUnderTest) -> None:
    await create(api)
    await api.client.post("/schedules/nightly/run")

    assert (await api.client.delete("/schedules/nightly")).status_code == 204

    assert (await api.client.get("/schedules/nightly")).status_code == 404
    assert (await api.client.delete("/schedules/nightly")).status_code == 404
    assert await execute(api.store, "SELECT 1 FROM schedule_runs") == []
    assert (await create(api))["last_runs"] == []


@pytest.mark.parametrize("action", ["run", "pause", "resume"])
async def test_what_is_not_there_can_not_be_asked_for_anything(api: ApiUnderTest, action: str) -> None:
    for name in ("nobody", "NOT A NAME", "%00", "%FF%ED%A0%80", "..%2F"):
        answer = await api.client.post(f"/schedules/{name}/{action}")
        assert answer.status_code == 404, name
        assert answer.headers["content-type"] == "application/problem+json"


# Pausing and running ..................................................................


async def test_a_paused_schedule_shows_no_next_runs_until_it_is_resumed(api: ApiUnderTest) -> None:
    before = await create(api)

    paused = await api.client.post("/schedules/nightly/pause")
    again = await api.client.post("/schedules/nightly/pause")
    resumed = await api.client.post("/schedules/nightly/resume")

    assert (paused.status_code, again.status_code, resumed.status_code) == (200, 200, 200)
    assert (paused.json()["paused"], paused.json()["next_runs"], paused.json()["next_run_at"]) == (True, [], None)
    assert again.json() == paused.json()
    assert (resumed.json()["paused"], resumed.json()["next_runs"]) == (False, before["next_runs"])


@pytest.mark.parametrize("catch_up,is_ahead", [("skip", True), ("one", False), ("all", False)])
async def test_resuming_obeys_catch_up(api: ApiUnderTest, catch_up: str, is_ahead: bool) -> None:
    await create(api, cron=None, every=3600, catch_up=catch_up)
    await api.client.post("/schedules/nightly/pause")
    await execute(api.store, "UPDATE schedules SET created_at = created_at - interval '1 day',"
                             " next_run_at = next_run_at - interval '1 day'")  # fmt: skip

    resumed = (await api.client.post("/schedules/nightly/resume")).json()

    assert (moment(resumed["next_run_at"]) > datetime.now(UTC)) is is_ahead


async def test_a_manual_run_leaves_the_rhythm_alone(api: ApiUnderTest) -> None:
    before = await create(api, queue="special")

    answer = await api.client.post("/schedules/nightly/run")

    assert answer.status_code == 202
    task_id = answer.json()["task_id"]
    assert answer.headers["location"] == f"/tasks/{task_id}"
    task = (await api.client.get(f"/tasks/{task_id}")).json()
    seen = {name: task[name] for name in ("type", "payload", "queue", "tags", "max_attempts")}
    assert seen == {"type": "demo.sum", "payload": {"n": 1}, "queue": "special",
                    "tags": ["schedule:nightly"], "max_attempts": 5}  # fmt: skip
    after = await get(api)
    assert after["next_runs"] == before["next_runs"]
    [run] = after["last_runs"]
    assert (run["outcome"], run["task_id"], run["status"], run["reason"]) == ("manual", task_id, "queued", None)


async def test_each_of_many_manual_runs_at_once_is_a_task(api: ApiUnderTest) -> None:
    await create(api)
    await api.client.post("/schedules/nightly/pause")

    answers = await asyncio.gather(*(api.client.post("/schedules/nightly/run") for _ in range(8)))

    ids = {answer.json()["task_id"] for answer in answers}
    assert len(ids) == 8
    assert {run["task_id"] for run in (await get(api))["last_runs"]} == ids


async def test_a_manual_run_that_would_overlap_is_a_conflict(api: ApiUnderTest) -> None:
    await create(api, overlap="skip")
    first = (await api.client.post("/schedules/nightly/run")).json()["task_id"]

    refused = await api.client.post("/schedules/nightly/run")
    await api.client.delete(f"/tasks/{first}")
    after = await api.client.post("/schedules/nightly/run")

    assert refused.status_code == 409
    assert (refused.json()["code"], first in refused.json()["detail"]) == ("schedule_overlap", True)
    assert after.status_code == 202


async def test_a_manual_run_that_is_repeated_with_its_key_is_one_task(api: ApiUnderTest) -> None:
    await create(api, overlap="skip")
    await create(api, name="other")
    headers = {"Idempotency-Key": "once"}

    answers = await asyncio.gather(*(api.client.post("/schedules/nightly/run", headers=headers) for _ in range(5)))
    other = await api.client.post("/schedules/other/run", headers=headers)
    bad = await api.client.post("/schedules/nightly/run", headers={"Idempotency-Key": "\x7f"})

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 202]
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert len((await get(api))["last_runs"]) == 1
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_conflict")
    assert pointers(bad) == ["Idempotency-Key"]
    assert len(await execute(api.store, "SELECT 1 FROM tasks")) == 1


async def test_a_manual_run_of_what_no_longer_fits_says_why(api: ApiUnderTest) -> None:
    await create(api)
    await execute(api.store, "UPDATE schedules SET payload = '{\"n\": 1000}'")
    unfit = await api.client.post("/schedules/nightly/run")
    await execute(api.store, "DELETE FROM task_types")
    unknown = await api.client.post("/schedules/nightly/run")

    assert (unfit.status_code, unfit.json()["code"]) == (409, "schedule_not_runnable")
    assert "/payload/n" in unfit.json()["detail"]
    assert "demo.sum" in unknown.json()["detail"]
    assert await execute(api.store, "SELECT 1 FROM tasks") == []


async def test_who_asked_for_what_is_written_down(api: ApiUnderTest) -> None:
    await create(api)
    for action in ("pause", "resume", "run"):
        await api.client.post(f"/schedules/nightly/{action}")
    await api.client.put("/schedules/nightly", json=DAILY)
    await api.client.delete("/schedules/nightly")

    rows = await execute(api.store, "SELECT action, target FROM audit ORDER BY id")

    assert [row.action.removeprefix("schedule.") for row in rows] == [
        "create", "pause", "resume", "run", "replace", "delete"]  # fmt: skip
    assert {row.target for row in rows} == {"nightly"}


# What is refused ......................................................................


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"cron": None}, "/cron"),
    ({"every": 5}, "/every"),
    ({"cron": "* * * *"}, "/cron"),
    ({"cron": "0 0 * * * *"}, "/cron"),
    ({"cron": "60 * * * *"}, "/cron"),
    ({"cron": "@daily"}, "/cron"),
    ({"cron": "0 0 30 2 *"}, "/cron"),
    ({"cron": "0 0 31 4,6 *"}, "/cron"),
    ({"cron": "0 0 * * *\x00"}, "/cron"),
    ({"cron": 5}, "/cron"),
    ({"cron": None, "every": 0}, "/every"),
    ({"cron": None, "every": 0.5}, "/every"),
    ({"cron": None, "every": -1}, "/every"),
    ({"cron": None, "every": True}, "/every"),
    ({"cron": None, "every": "60"}, "/every"),
    ({"cron": None, "every": 1e300}, "/every"),
    ({"timezone": "Mars/Olympus"}, "/timezone"),
    ({"timezone": "../etc/passwd"}, "/timezone"),
    ({"timezone": "Europe"}, "/timezone"),
    ({"timezone": "\x00"}, "/timezone"),
    ({"timezone": ""}, "/timezone"),
    ({"cron": None, "every": 5, "timezone": "nowhere"}, "/timezone"),
    ({"type": "no.such"}, "/type"),
    ({"type": ""}, "/type"),
    ({"payload": {"n": 1000}}, "/payload/n"),
    ({"payload": {}}, "/payload/n"),
    ({"queue": "Not A Queue"}, "/queue"),
    ({"catch_up": "none"}, "/catch_up"),
    ({"overlap": True}, "/overlap"),
    ({"name": "Nightly"}, "/name"),
    ({"name": ".."}, "/name"),
    ({"name": "a" * 65}, "/name"),
    ({"name": "a\n"}, "/name"),
    ({"name": None}, "/name"),
    ({"paused": True}, "/paused"),
]


async def test_each_fault_is_named_by_its_place(api: ApiUnderTest) -> None:
    for change, place in FAULTS:
        body = {name: value for name, value in {**DAILY, **change}.items() if value is not None}
        assert (change, pointers(await api.client.post("/schedules", json=body))) == (change, [place])

    assert (await api.client.get("/schedules")).json()["items"] == []


async def test_an_unknown_type_is_answered_with_those_that_are_known(api: ApiUnderTest) -> None:
    answer = await api.client.post("/schedules", json={**DAILY, "type": "demo.sun"})

    assert "demo.sum" in answer.json()["errors"][0]["message"]


BODIES = [b"", b"\x00\xff", b"[]", b"1", b'"', b'{"name": "a"}', b"{}", b"[" * 5000]


async def test_any_bytes_are_answered_with_a_problem(api: ApiUnderTest) -> None:
    for (method, path), body in product((("POST", "/schedules"), ("PUT", "/schedules/a")), BODIES):
        answer = await api.client.request(method, path, content=body)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
