"""What is measured. Each case takes a running contender and returns named figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tests.bench import processes
from tests.bench.figures import percentile
from tests.bench.load import Line, delete, get, post
from tests.bench.long_cases import backlog, history
from tests.bench.run import BATCH, Figures, Run
from tests.bench.soak import soak

_POLL_S: Final = 0.0005


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
    for number in range(run.number(500)):
        began = time.perf_counter()
        answer = await line.ask(post("/tasks", contender.task(number)))
        accepted.append(time.perf_counter() - began)
        while (await line.ask(get(f"/tasks/{answer[contender.task_id]}")))["status"] != contender.final:
            time.sleep(_POLL_S)  # noqa: ASYNC251 - the timers of uvloop know whole milliseconds only
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
    with processes.frozen(run.contender.workers):
        with run.cost("POST, worker stopped", number):
            answers = await run.submit(number)
        began = time.time()
    with run.cost("drain of that", number):
        last = await run.done()
    return {"POST/s, worker stopped": answers.rate, "drain of that/s": number / (last - began)}


async def end_to_end(run: Run) -> Figures:
    """Submit while the workers run, until the last is done."""
    number, began = run.number(5000), time.time()
    with run.cost("end to end, single", number):
        answers = await run.submit(number)
        last = await run.done()
    return {
        "POST/s, worker running": answers.rate,
        "POST p99 ms, worker running": percentile(answers.each_s, 0.99) * 1000,
        "end to end/s, single": number / (last - began),
    }


async def batches(run: Run) -> Figures:
    """The same in batches of 500."""
    number, began = run.number(20_000), time.time()
    with run.cost("end to end, batches of 500", number):
        answers = await run.submit_batches(number)
        last = await run.done()
    return {
        "accepted/s, batches of 500": number / answers.took_s,
        "end to end/s, batches of 500": number / (last - began),
    }


async def drain(run: Run) -> Figures:
    """A backlog of 20,000 with one worker, then with two."""
    alone = await _drain(run, "drain, 1 worker")
    await run.contender.add_workers(1)
    return {"drain/s, 1 worker": alone, "drain/s, 2 workers": await _drain(run, "drain, 2 workers")}


async def _drain(run: Run, name: str) -> float:
    number = run.number(20_000)
    with processes.frozen(run.contender.workers):
        await run.submit_batches(number)
        await run.until_rung()
        began = time.time()
    with run.cost(name, number):
        return number / (await run.done() - began)


async def reads(run: Run) -> Figures:
    """GET of a task that is done, by many at once."""
    contender, number = run.contender, run.number(8000)
    answer = await Line(contender.url).ask(post("/tasks", contender.task(0)))
    run.submitted += 1
    await run.done()
    path = f"/tasks/{answer[contender.task_id]}"
    with run.cost("GET, finished task", number):
        answers = await run.ask(iter(lambda: get(path), b""), number)
    return {"GET/s, finished task": answers.rate}


async def reads_of_running(run: Run) -> Figures:
    """GET of a task that runs."""
    line, number = Line(run.contender.url), run.number(8000)
    answer = await line.ask(post("/tasks", {"type": "demo.sleep", "payload": {"seconds": 600}}))
    path = f"/tasks/{answer['task_id']}"
    while (await line.ask(get(path)))["status"] != "running":
        await asyncio.sleep(0.05)
    with run.cost("GET, running task", number):
        answers = await run.ask(iter(lambda: get(path), b""), number)
    await line.ask(delete(path))
    return {"GET/s, running task": answers.rate}


async def scheduled(run: Run) -> Figures:
    """50,000 tasks that fall due in one minute: how late the last is done."""
    number = run.number(50_000)
    with run.cost("scheduled, until done", number):
        with run.cost("scheduled, accepted", number):
            answers = await run.submit_bodies(_due_in_turn(run, number), number)
        await run.done()
    p50, p99 = (await run.contender.query(_LATENESS))[0]
    return {
        "accepted/s, scheduled": number / answers.took_s,
        "done after due p50 s": p50,
        "done after due p99 s": p99,
    }


def _due_in_turn(run: Run, number: int) -> Iterator[Any]:
    """Batches of tasks that are due one second after the other, the first once all are accepted."""
    due = time.time() + max(10.0, number / 4000)
    spread_s = 60 * min(1.0, run.scale)
    for index in range(number // BATCH):
        moment = due + spread_s * index / (number / BATCH)
        run_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        yield {"tasks": [run.contender.task(n) | {"run_at": run_at} for n in range(BATCH)]}


_LATENESS: Final = """
    SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - run_at))
    FROM tasks WHERE run_at > created_at + interval '1 second'"""


async def memory(run: Run) -> Figures:
    """What is held after the cases that all contenders can do."""
    worker, api = run.contender.workers[:1], run.contender.api
    return {
        "worker memory, PSS MiB": processes.pss_mib(worker),
        "worker memory, peak RSS MiB": processes.peak_rss_mib(worker),
        "api memory, PSS MiB": processes.pss_mib(api),
        "api memory, peak RSS MiB": processes.peak_rss_mib(api),
    }


Case = Callable[[Run], Awaitable[Figures]]
#: In the order in which they are run on one contender; the flag says whether the hand-written services can do it.
CASES: Final[dict[str, tuple[Case, bool]]] = {
    "idle": (idle, True),
    "accept": (accept_then_drain, True),
    "e2e": (end_to_end, True),
    "reads": (reads, True),
    "memory": (memory, True),
    "batches": (batches, False),
    "running": (reads_of_running, False),
    "drain": (drain, False),
    "scheduled": (scheduled, False),
}
#: Only when asked for by name: they take long.
LONG_CASES: Final[dict[str, tuple[Case, bool]]] = {
    "history": (history, False),
    "backlog": (backlog, False),
    "soak": (soak, False),
}
