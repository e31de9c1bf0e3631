"""The audit trail: written before the action, read in pages, forgotten when it is old."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_service.auditing import Auditor
from shared.errors import DatabaseUnavailableError
from shared.store.store import Store
from tests.api import ApiUnderTest, open_api, pointers
from tests.builders import empty, execute, open_store
from worker_service.loops.retention import Retention


@pytest.fixture
async def api(module_database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_store(module_database_url) as store:
        await empty(store)
    async with open_api(module_database_url) as opened:
        yield opened


async def trail(api: ApiUnderTest, **query: Any) -> list[dict[str, Any]]:
    answer = await api.client.get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def auditor(store: Store, actor: str = "ops") -> Auditor:
    return Auditor(store.audit, actor=actor, request_id="r-1")


async def test_cancel_and_retry_are_written_down_with_who_asked(api: ApiUnderTest) -> None:
    task_id = await api.submit()

    await api.client.delete(f"/tasks/{task_id}", headers={"X-Request-ID": "first"})
    await api.client.post(f"/tasks/{task_id}/retry", headers={"X-Request-ID": "second"})

    retry, cancel = await trail(api)
    assert (cancel["action"], cancel["target"], cancel["request_id"]) == ("task.cancel", str(task_id), "first")
    assert (retry["action"], retry["target"], retry["request_id"]) == ("task.retry", str(task_id), "second")
    assert cancel["actor"] == retry["actor"] == "anonymous@127.0.0.1"
    assert cancel["at"].endswith("Z")


async def test_what_is_only_asked_for_is_written_down_too(api: ApiUnderTest) -> None:
    unknown = uuid4()

    answer = await api.client.delete(f"/tasks/{unknown}")

    assert answer.status_code == 404
    assert [entry["target"] for entry in await trail(api)] == [str(unknown)]


async def test_an_action_that_can_not_be_written_down_is_not_done(
    api: ApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError("it is away")

    task_id = await api.submit()
    monkeypatch.setattr(api.store.audit, "add", fail)

    answer = await api.client.delete(f"/tasks/{task_id}")

    assert answer.status_code == 503
    assert (await api.client.get(f"/tasks/{task_id}")).json()["status"] == "queued"


async def test_details_come_back_as_they_were_given(api: ApiUnderTest) -> None:
    await auditor(api.store).note("queue.pause", target="mail", reason="full\x00disk", count=10**30)

    [entry] = await trail(api)
    assert entry["details"] == {"reason": "full\x00disk", "count": 10**30}
    assert (entry["actor"], entry["request_id"]) == ("ops", "r-1")


async def test_the_list_is_filtered_and_paged_the_latest_first(api: ApiUnderTest) -> None:
    for number in range(5):
        await auditor(api.store).note("queue.pause", target=f"q{number}")
    await auditor(api.store, "other").note("queue.resume", target="q0")

    first = (await api.client.get("/audit", params={"actor": "ops", "limit": 3})).json()
    second = (await api.client.get("/audit", params={"actor": "ops", "limit": 3, "cursor": first["next"]})).json()

    assert [entry["target"] for entry in first["items"] + second["items"]] == ["q4", "q3", "q2", "q1", "q0"]
    assert second["next"] is None
    assert [entry["actor"] for entry in await trail(api, action="queue.resume")] == ["other"]
    assert len(await trail(api, target="q0")) == 2


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "1.5", "null"])
async def test_a_cursor_that_is_none_is_refused(api: ApiUnderTest, cursor: str) -> None:
    assert pointers(await api.client.get("/audit", params={"cursor": cursor})) == ["?cursor"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.text(max_size=400))
async def test_any_text_may_be_a_target(api: ApiUnderTest, target: str) -> None:
    await auditor(api.store).note("probe", target=target)

    assert (await trail(api, action="probe"))[0]["action"] == "probe"


async def test_retention_forgets_entries_of_more_than_ninety_days(api: ApiUnderTest) -> None:
    for action in ("old", "new"):
        await auditor(api.store).note(action)
    await execute(api.store, "UPDATE audit SET at = now() - interval '91 days' WHERE action = 'old' RETURNING 1")
    await execute(api.store, "UPDATE audit SET at = now() - interval '89 days' WHERE action = 'new' RETURNING 1")

    await Retention(api.store, api.services.artifacts, days=7).run_once()

    assert [entry["action"] for entry in await trail(api)] == ["new"]


async def test_entries_stay_as_long_as_the_tasks_they_speak_of(api: ApiUnderTest) -> None:
    await auditor(api.store).note("old")
    await execute(api.store, "UPDATE audit SET at = now() - interval '91 days' RETURNING 1")

    await Retention(api.store, api.services.artifacts, days=365).run_once()

    assert len(await trail(api)) == 1
