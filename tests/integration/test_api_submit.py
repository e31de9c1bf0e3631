"""POST /tasks on a real database."""

from collections.abc import AsyncIterator

import pytest

from tests.api import ApiUnderTest, open_api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiUnderTest]:
    async with open_api(database_url) as opened:
        yield opened


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
