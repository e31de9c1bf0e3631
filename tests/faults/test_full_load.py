"""Everything goes wrong, one thing after the other, while tasks pour in as fast as they are accepted."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, Final

import pytest

from tests.bench.load import Line, Request, post
from tests.faults.conftest import Report
from tests.faults.stack import Stack
from tests.servers import Server

#: Of each fault: tasks submitted one by one, and in how many batches of what size.
SINGLES: Final = 800
BATCHES: Final = 4
BATCH: Final = 100
CLIENTS: Final = 50
#: Of the former: long enough for some to be running at any moment.
RUNS_S: Final = 0.01
FAULTS: Final = 5
_PAUSE_S: Final = 0.05
_PATIENCE_S: Final = 240


@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_done_twice_at_full_load(stack: Stack, report_recovery: Report) -> None:
    await stack.start(workers=2, WORKER_QUEUES="default:50")
    pour = Pour(stack)

    await pour.during(lambda: _replace_worker(stack))
    await pour.during(lambda: _replace_api(stack))
    await pour.during(lambda: asyncio.to_thread(stack.servers.rabbitmq.restart))
    await pour.during(lambda: _cut_power(stack.servers.postgres))
    await pour.during(lambda: _cut_power(stack.servers.redis))
    over_at = monotonic()

    await stack.until(lambda: _count_is_zero(stack, "status <> 'succeeded'"), _PATIENCE_S, "all tasks to succeed")
    report_recovery(f"{len(stack.accepted)} tasks were done", over_at)
    await _require_stored_once(stack, pour)
    await _require_done_once(stack)
    await _require_at_rest(stack)


@dataclass(slots=True)
class Pour:
    """Submits as fast as it is answered.

    A task of its own that is refused or not answered is sent again under its key; a batch, which has none, is not.

    Attributes:
        promised: The task that each key was answered with.
    """

    stack: Stack
    promised: dict[str, str] = field(default_factory=dict)
    _keys: Iterator[int] = field(default_factory=count)

    async def during(self, fault: Callable[[], Awaitable[object]]) -> None:
        """Submit some tasks, with the fault in the middle of it; return when both are over."""
        wanted = len(self.promised) + SINGLES // 3
        work = iter(range(SINGLES))
        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._submit_singles(work))
            group.create_task(self._submit_batches())
            await self.stack.until(lambda: len(self.promised) >= wanted, _PATIENCE_S, f"{wanted} to be accepted")
            await fault()

    async def _submit_singles(self, work: Iterator[int]) -> None:
        line = Line(self.stack.url)
        for _ in work:
            key = f"single-{next(self._keys)}"
            task = {"type": "trail.sleep", "payload": {"seconds": RUNS_S}, "tags": ["single"]}
            request = post("/tasks", task, key=key)
            while (answer := await _granted(line, request)) is None:
                await asyncio.sleep(_PAUSE_S)
                line = Line(self.stack.url)
            self.promised[key] = answer["task_id"]
            self.stack.accepted.append(answer["task_id"])
        line.close()

    async def _submit_batches(self) -> None:
        line = Line(self.stack.url)
        for _ in range(BATCHES):
            task = {"type": "trail.sleep", "payload": {}, "tags": [f"batch-{next(self._keys)}"]}
            answer = await _granted(line, post("/tasks/batch", {"tasks": [task] * BATCH}))
            if answer is None:
                line = Line(self.stack.url)
            else:
                self.stack.accepted += [item["task_id"] for item in answer["items"]]
            await asyncio.sleep(_PAUSE_S)
        line.close()


async def _granted(line: Line, request: Request) -> Any:
    """The answer; None where the request was refused for now, or got none."""
    try:
        answer = await line.ask(request)
    except OSError:
        return None
    if line.refusal:
        assert line.refusal.startswith("503 "), line.refusal
        line.close()
        return None
    return answer


# The faults .........................................................................


async def _replace_worker(stack: Stack) -> None:
    stack.workers[0].kill()
    await stack.start_worker(WORKER_QUEUES="default:50")


async def _replace_api(stack: Stack) -> None:
    stack.apis[0].kill()
    await stack.start_api()


async def _cut_power(server: Server) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


# The audit ..........................................................................


async def _require_stored_once(stack: Stack, pour: Pour) -> None:
    """Each promise is a row, each key is one task, each batch is there as a whole or not at all."""
    stored = set(await stack.fetch("SELECT array_agg(id::text) FROM tasks"))
    assert set(stack.accepted) <= stored
    assert len(stack.accepted) == len(set(stack.accepted))

    assert len(pour.promised) == FAULTS * SINGLES
    assert await _count(stack, "'single' = ANY(tags)") == FAULTS * SINGLES
    batches = "SELECT count(*) AS size FROM tasks WHERE tags[1] LIKE 'batch-%' GROUP BY tags"
    sizes = await stack.fetch(f"SELECT array_agg(size) FROM ({batches}) AS batches")
    assert set(sizes) == {BATCH}
    assert len(sizes) <= FAULTS * BATCHES


async def _require_done_once(stack: Stack) -> None:
    """No attempt was started twice, and what is recorded is what the recorded attempt has returned."""
    stack.audit_trail()
    ended = {(step["task"], step["attempt"]) for step in stack.steps() if step["event"] == "end"}
    recorded = await stack.fetch("SELECT array_agg(id::text || ' ' || attempt || ' ' || result) FROM tasks")
    for task_id, attempt, result in map(str.split, recorded):
        assert attempt == result
        assert (task_id, int(attempt)) in ended


async def _require_at_rest(stack: Stack) -> None:
    """No doorbell is left, and queue, cache and table agree that nothing is."""
    await stack.until_rung()
    queues = (await stack.client.get(f"{stack.url}/queues")).json()["items"]
    [queue] = [queue for queue in queues if queue["name"] == "default"]
    assert {queue[name] for name in ("ready", "running", "scheduled", "retrying", "failed")} == {0}
    shown = [await stack.get(task_id) for task_id in stack.accepted[::100]]
    assert {task["status"] for task in shown} == {"succeeded"}


async def _count_is_zero(stack: Stack, condition: str) -> bool:
    return await _count(stack, condition) == 0


async def _count(stack: Stack, condition: str) -> int:
    return int(await stack.fetch(f"SELECT count(*) FROM tasks WHERE {condition}"))
