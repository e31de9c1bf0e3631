"""callback_url over the API, and from handlers."""

import json
from typing import Any

import pytest

from shared.domain.callback import DELIVER_TYPE
from tests.api import open_api, pointers
from tests.builders import execute
from tests.submitting_handlers import parent_on_loop
from tests.workers import Neighbours, run_worker
from worker_service.registry import registry
from worker_service.system import Outbound

URL = "https://example.com/hook"
PRIVATE = "http://10.0.0.1/hook"


async def stored_urls(store: Any) -> list[str | None]:
    return [row.callback_url for row in await execute(store, "SELECT callback_url FROM tasks ORDER BY id")]


async def test_it_is_kept_with_a_task_and_with_each_of_a_batch(database_url: str) -> None:
    async with open_api(database_url) as api:
        await api.submit(callback_url=URL)
        tasks = [{"type": "demo.echo", "callback_url": f"{URL}/{n}"} for n in range(2)] + [{"type": "demo.echo"}]
        answer = await api.client.post("/tasks/batch", json={"tasks": tasks})

        assert answer.status_code == 202
        assert await stored_urls(api.store) == [URL, f"{URL}/0", f"{URL}/1", None]


@pytest.mark.parametrize("url", [PRIVATE, "ftp://example.com/", "http://user:secret@example.com/", "", 1, ["x"], {}])
async def test_one_that_can_not_be_called_is_named(database_url: str, url: object) -> None:
    async with open_api(database_url) as api:
        alone = await api.client.post("/tasks", json={"type": "demo.echo", "callback_url": url})
        body = {"tasks": [{"type": "demo.echo"}, {"type": "demo.echo", "callback_url": url}]}
        in_batch = await api.client.post("/tasks/batch", json=body)

        assert pointers(alone) == ["/callback_url"]
        assert pointers(in_batch) == ["/tasks/1/callback_url"]
        assert "secret" not in alone.text
        assert await stored_urls(api.store) == []


async def test_a_private_one_is_taken_where_it_is_allowed(database_url: str) -> None:
    async with open_api(database_url, private_callbacks=True) as api:
        await api.submit(callback_url=PRIVATE)

        assert await stored_urls(api.store) == [PRIVATE]


async def test_cancelling_over_the_api_leaves_the_callback(database_url: str) -> None:
    async with open_api(database_url) as api:
        task_id = await api.submit(callback_url=URL, delay=600)

        assert (await api.client.delete(f"/tasks/{task_id}")).json() == {"status": "cancelled"}
        answer = await api.client.get("/tasks", params={"type": DELIVER_TYPE})

    [callback] = answer.json()["items"]
    assert callback["payload"]["task_id"] == str(task_id)
    assert (callback["status"], callback["queue"]) == ("queued", "system")


@pytest.mark.parametrize("allowed, status", [(True, "succeeded"), (False, "failed")])
async def test_a_handler_gives_one_under_the_same_rules(database_url: str, allowed: bool, status: str) -> None:
    outbound = Outbound(private_callbacks=allowed)
    async with run_worker(Neighbours(database_url), outbound=outbound) as worker:
        payload = {"type": "probe.echo", "options": {"callback_url": PRIVATE, "delay": 600}}
        type_ = registry.of(parent_on_loop).info.name
        parent = await worker.final(await worker.submit(type_, json.dumps(payload), max_attempts=1))
        urls = await stored_urls(worker.store)

    assert parent.status == status
    assert (PRIVATE in urls) is allowed
