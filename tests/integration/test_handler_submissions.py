"""Tasks that handlers submit."""

import json
from uuid import UUID

import pytest

import tests.submitting_handlers as handlers
from tests.workers import Neighbours, run_worker


@pytest.mark.parametrize("parent_type", ["parent.loop", "parent.thread"])
async def test_a_handler_submits_a_task_that_runs_and_knows_its_parent(database_url: str, parent_type: str) -> None:
    async with run_worker(Neighbours(database_url)) as worker:
        payload = {"type": "probe.echo", "payload": {"n": 7}, "options": {"tags": ["child"], "priority": "high"}}
        parent_id = await worker.submit(parent_type, json.dumps(payload), request_id="request-1", submitted_by="shop")

        parent = await worker.final(parent_id)
        child = await worker.final(UUID(json.loads(parent.result or "null")))

    assert (child.status, child.result) == ("succeeded", '{"n":7}')
    assert (child.parent_id, child.request_id, child.submitted_by) == (parent_id, "request-1", "shop")
    assert (child.tags, child.priority) == (["child"], "high")


async def test_a_unique_key_keeps_a_second_attempt_from_submitting_twice(database_url: str) -> None:
    async with run_worker(Neighbours(database_url)) as worker:
        options = {"unique": {"key": "child-of-it"}, "delay": 3600}
        payload = json.dumps({"type": "probe.echo", "options": options})
        first = await worker.final(await worker.submit("parent.loop", payload))
        second = await worker.final(await worker.submit("parent.loop", payload))

    assert first.result is not None
    assert first.result == second.result


@pytest.mark.parametrize(
    "payload, fault",
    [
        ({"type": "no.such"}, "no worker has announced the type 'no.such'"),
        ({"type": "probe.count", "payload": {"n": "x"}}, "/payload/n"),
        ({"type": "probe.echo", "options": {"dellay": 1}}, "/dellay"),
    ],
)
async def test_what_does_not_fit_is_the_handlers_error(database_url: str, payload: object, fault: str) -> None:
    async with run_worker(Neighbours(database_url)) as worker:
        parent = await worker.final(await worker.submit("parent.loop", json.dumps(payload), max_attempts=1))

    assert parent.status == "failed"
    assert fault in json.loads(parent.error or "{}")["message"]


async def test_a_handler_in_a_process_is_told_that_it_cannot_submit(database_url: str) -> None:
    async with run_worker(Neighbours(database_url), modules=(handlers.__name__,)) as worker:
        parent = await worker.final(await worker.submit("parent.process", json.dumps({"type": "probe.echo"})))

    assert parent.status == "failed"
    assert "can't submit tasks" in json.loads(parent.error or "{}")["message"]
