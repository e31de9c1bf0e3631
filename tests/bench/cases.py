"""What is measured. Each case takes a running contender and returns named figures."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from tests.bench import processes
from tests.bench.contenders import Contender
from tests.bench.load import Answers, Line, Request, ask, get, post

Figures = dict[str, float]

#: Connections of the saturating cases.
_CROWD: Final = 50
_BATCH: Final = 500
_POLL_S: Final = 0.0005


@dataclass(slots=True)
class Run:
    """One contender in one round, and how many of its tasks must be final by now."""

    contender: Contender
    scale: float
    submitted: int = 0

    def number(self, ordinary: int) -> int:
        """How many of something to do at this scale."""
        return max(_BATCH, int(ordinary * self.scale))

    def tasks(self) -> Iterator[Request]:
        """Submissions without end."""
        return (post("/tasks", self.contender.task(number)) for number in count())

    async def submit(self, number: int, *, connections: int = _CROWD) -> Answers:
        """Submit single tasks, as fast as they are accepted."""
        answers = await ask(self.contender.url, self.tasks(), number=number, connections=connections)
        self.submitted += number
        assert not answers.bad, f"{self.contender}: {answers.bad} refused"
        return answers

    async def submit_batches(self, number: int, *, connections: int = 2, **options: Any) -> Answers:
        """Submit so many tasks in batches of 500."""
        task = self.contender.task
        bodies = ({"tasks": [task(n) | options for n in range(_BATCH)]} for _ in count())
        requests = (post("/tasks/batch", body) for body in bodies)
        answers = await ask(self.contender.url, requests, number=number // _BATCH, connections=connections)
        self.submitted += number // _BATCH * _BATCH
        assert not answers.bad, f"{self.contender}: {answers.bad} refused"
        return answers

    async def done(self) -> float:
        """When the last of all that was submitted was final (seconds since 1970)."""
        return await self.contender.until_done(self.submitted)

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far, by part."""
        return {
            "api": processes.cpu_s(self.contender.api),
            "worker": processes.cpu_s(self.contender.workers),
        }


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def warm_up(run: Run) -> None:
    """Let connections open and caches fill."""
    await run.submit(500)
    await run.done()
    await asyncio.sleep(1)


async def idle(run: Run) -> Figures:
    """One task after another, each awaited by asking for it."""
    accepted: list[float] = []
    finished: list[float] = []
    line, contender = Line(run.contender.url), run.contender
    for number in range(run.number(200)):
        began = time.perf_counter()
        answer = await line.ask(post("/tasks", contender.task(number)))
        accepted.append(time.perf_counter() - began)
        while (await line.ask(get(f"/tasks/{answer[contender.task_id]}")))["status"] != contender.final:
            await asyncio.sleep(_POLL_S)
        finished.append(time.perf_counter() - began)
    run.submitted += len(finished)
    return {
        "idle POST p50 ms": percentile(accepted, 0.5) * 1000,
        "idle POST p99 ms": percentile(accepted, 0.99) * 1000,
        "idle end to end p50 ms": percentile(finished, 0.5) * 1000,
        "idle end to end p99 ms": percentile(finished, 0.99) * 1000,
    }


async def accept_then_drain(run: Run) -> Figures:
    """Submit while the workers are frozen; then let them work through it."""
    number = run.number(5000)
    before = run.cpu()
    processes.freeze(run.contender.workers)
    try:
        answers = await run.submit(number)
    finally:
        began = time.time()
        accepted = run.cpu()
        processes.thaw(run.contender.workers)
    last = await run.done()
    after = run.cpu()
    return {
        "POST/s, worker stopped": answers.rate,
        "drain of that/s": number / (last - began),
        "api CPU µs per POST": (accepted["api"] - before["api"]) / number * 1e6,
        "worker CPU µs per task drained": (after["worker"] - accepted["worker"]) / number * 1e6,
    }


async def end_to_end(run: Run) -> Figures:
    """Submit while the workers run, until the last is done."""
    number = run.number(5000)
    before, began = run.cpu(), time.time()
    answers = await run.submit(number)
    last = await run.done()
    after = run.cpu()
    return {
        "POST/s, worker running": answers.rate,
        "POST p99 ms, worker running": percentile(answers.each_s, 0.99) * 1000,
        "end to end/s, single": number / (last - began),
        "api CPU µs per task": (after["api"] - before["api"]) / number * 1e6,
        "worker CPU µs per task": (after["worker"] - before["worker"]) / number * 1e6,
    }


async def batches(run: Run) -> Figures:
    """The same in batches of 500."""
    number = run.number(20_000) // _BATCH * _BATCH
    before, began = run.cpu(), time.time()
    answers = await run.submit_batches(number)
    last = await run.done()
    after = run.cpu()
    return {
        "accepted/s, batches of 500": number / answers.took_s,
        "end to end/s, batches of 500": number / (last - began),
        "api CPU µs per task, batches": (after["api"] - before["api"]) / number * 1e6,
        "worker CPU µs per task, batches": (after["worker"] - before["worker"]) / number * 1e6,
    }


async def drain(run: Run) -> Figures:
    """A backlog of 20,000 with one worker, then with two."""
    return {
        "drain/s, 1 worker": await _drain(run),
        "drain/s, 2 workers": await _drain_with_two(run),
    }


async def _drain(run: Run) -> float:
    number = run.number(20_000) // _BATCH * _BATCH
    processes.freeze(run.contender.workers)
    try:
        await run.submit_batches(number)
        await _until_rung(run)
    finally:
        began = time.time()
        processes.thaw(run.contender.workers)
    return number / (await run.done() - began)


async def _drain_with_two(run: Run) -> float:
    await run.contender.add_workers(1)
    return await _drain(run)


async def _until_rung(run: Run) -> None:
    """Wait until the outbox is empty: what a drain begins with is at the broker."""
    while (await run.contender.query("SELECT EXISTS (SELECT FROM outbox)"))[0]:
        await asyncio.sleep(0.1)


async def reads(run: Run) -> Figures:
    """GET of a task that is done, by many at once."""
    contender = run.contender
    answer = await Line(contender.url).ask(post("/tasks", contender.task(0)))
    run.submitted += 1
    await run.done()
    path = f"/tasks/{answer[contender.task_id]}"
    answers = await ask(contender.url, iter(lambda: get(path), b""), number=run.number(8000), connections=_CROWD)
    return {"GET/s, finished task": answers.rate}


async def reads_of_running(run: Run) -> Figures:
    """GET of a task that runs."""
    line = Line(run.contender.url)
    answer = await line.ask(post("/tasks", {"type": "demo.sleep", "payload": {"seconds": 60}}))
    path = f"/tasks/{answer['task_id']}"
    while (await line.ask(get(path)))["status"] != "running":
        await asyncio.sleep(0.05)
    answers = await ask(run.contender.url, iter(lambda: get(path), b""), number=run.number(8000), connections=_CROWD)
    await line.ask(b"DELETE " + get(path)[4:])
    return {"GET/s, running task": answers.rate}


async def scheduled(run: Run) -> Figures:
    """50,000 tasks that fall due in one minute: how late the last is done."""
    number = run.number(50_000) // _BATCH * _BATCH
    due = time.time() + max(10.0, number / 4000)
    spread_s = 60 * min(1.0, run.scale)
    per_batch = iter(range(number // _BATCH))
    task = run.contender.task

    def requests() -> Iterator[Request]:
        for index in per_batch:
            moment = due + spread_s * index / (number / _BATCH)
            run_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
            yield post("/tasks/batch", {"tasks": [task(n) | {"run_at": run_at} for n in range(_BATCH)]})

    answers = await ask(run.contender.url, requests(), number=number // _BATCH, connections=2)
    run.submitted += number
    await run.done()
    row = await run.contender.query(
        "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - run_at))"
        " FROM tasks WHERE run_at > created_at + interval '1 second'"
    )
    p50, p99 = row[0]
    return {
        "accepted/s, scheduled": number / answers.took_s,
        "done after due p50 s": p50,
        "done after due p99 s": p99,
    }


async def memory(run: Run) -> Figures:
    """What is held after all the others."""
    return {
        "worker memory MiB": processes.memory_mib(run.contender.workers[:1]),
        "api memory MiB": processes.memory_mib(run.contender.api),
    }


async def history(run: Run) -> Figures:
    """What a table full of finished tasks costs, against an empty one."""
    rows = int(10_000_000 * run.scale)
    empty = await _throughput(run)
    await _fill(run, rows)
    full = await _throughput(run)
    return {
        "end to end/s, empty table": empty,
        "end to end/s, full table": full,
        "finished rows": rows,
        "full / empty": full / empty,
    }


async def _throughput(run: Run) -> float:
    number, began = 5000, time.time()
    await run.submit(number)
    while (await run.contender.query(_OPEN))[0]:
        await asyncio.sleep(0.1)
    return number / (time.time() - began)


async def _fill(run: Run, rows: int) -> None:
    for start in range(0, rows, 200_000):
        await run.contender.query(_FILL, start, min(start + 200_000, rows))
    await run.contender.query("SELECT 1 FROM (SELECT pg_stat_clear_snapshot()) AS s")


_OPEN: Final = """
    SELECT EXISTS (SELECT FROM tasks WHERE status = 'queued')
        OR EXISTS (SELECT FROM tasks WHERE status = 'running')"""

#: Finished tasks of the last six days, as an API would have made them.
_FILL: Final = """
    WITH filled AS (
        INSERT INTO tasks (id, type, queue, priority, status, attempt, attempts_before, max_attempts, timeout_s,
                           payload, result, errors, tags, created_at, queued_at, started_at, finished_at, worker,
                           cancel_requested, version)
        SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM at) * 1000 AS bigint)), 12, '0') || '7'
                    || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15) AS uuid),
               'demo.echo', 'default', 'normal', 'succeeded', 1, 0, 3, 3600, '{"n":1}', '{"n":1}', '{}', '{}',
               at, at, at, at, 'bench', false, 3
        FROM (SELECT n, now() - interval '6 days' + n * interval '40 milliseconds' AS at
              FROM generate_series(CAST($1 AS bigint), CAST($2 AS bigint) - 1) AS n) AS moments
        ON CONFLICT DO NOTHING
        RETURNING 1)
    SELECT count(*) FROM filled"""


Case = Callable[[Run], Awaitable[Figures]]
#: In the order in which they are run on one contender; the flag says whether the hand-written services can do it.
CASES: Final[dict[str, tuple[Case, bool]]] = {
    "idle": (idle, True),
    "accept": (accept_then_drain, True),
    "e2e": (end_to_end, True),
    "batches": (batches, False),
    "reads": (reads, True),
    "running": (reads_of_running, False),
    "memory": (memory, True),
    "drain": (drain, False),
    "scheduled": (scheduled, False),
}
#: Only when asked for by name: they take long.
LONG_CASES: Final[dict[str, tuple[Case, bool]]] = {"history": (history, False)}


def as_json(figures: Figures) -> str:
    """One line for the log."""
    return json.dumps({name: round(value, 3) for name, value in figures.items()}, ensure_ascii=False)
