"""Half of the full load for many minutes: nothing may grow, slow down or pile up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis

from tests.bench import machine, processes
from tests.bench.costs import per_task, used_s
from tests.bench.figures import percentile
from tests.bench.load import Line, get, post
from tests.bench.open_loop import OpenLoop
from tests.bench.run import Figures, Run
from tests.bench.slopes import slopes, slopes_table

_SAMPLE_S: Final = 10.0
_PROBE_S: Final = 0.1
_POLL_S: Final = 0.002
_SETTLING_S: Final = 10.0
_EVENTS: Final = "taskmill:events"
_MIB: Final = 1024 * 1024


async def soak(run: Run) -> Figures:
    """A mixture of requests at half the measured full rate. Nothing can be measured after it."""
    rate = await _full_rate(run) / 2
    loop, probe = OpenLoop(run.contender.url, rate), _Probe(run)
    print(f"soak: {rate:,.0f} requests/s for {run.minutes:g} minutes", flush=True)
    others = [asyncio.create_task(probe.run()), asyncio.create_task(_sample(run, loop, probe))]
    try:
        await loop.run(_SETTLING_S + run.minutes * 60)
    finally:
        for other in others:
            other.cancel()
        ended = await asyncio.gather(*others, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    found = slopes(run.samples)
    unfinished = await _unfinished(run)
    print(slopes_table(found), flush=True)
    print(f"Refused, by status or fault: {dict(loop.bad)}. Unfinished: {unfinished}.", flush=True)
    return {
        "soak, requests/s": rate,
        "soak, requests refused": float(loop.bad.total()),
        "soak, tasks unfinished": float(unfinished),
        "soak, figures that rise": float(sum(slope.rises for slope in found)),
    }


async def _full_rate(run: Run) -> float:
    number, began = run.number(5000), time.time()
    await run.submit(number)
    return number / (await run.done() - began)


async def _unfinished(run: Run) -> int:
    """How many tasks are not final, though they were given a minute for it."""
    deadline = time.monotonic() + 60
    while (number := (await run.contender.query(_UNFINISHED))[0]) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return int(number)


class _Probe:
    """A client that submits one task after another and waits for each, beside all the others."""

    def __init__(self, run: Run) -> None:
        self._line = Line(run.contender.url)
        self._accepted: list[float] = []
        self._finished: list[float] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began = time.perf_counter()
            answer = await self._line.ask(post("/tasks", {"type": "demo.echo", "payload": {"n": 0}}))
            self._accepted.append(time.perf_counter() - began)
            while (await self._line.ask(get(f"/tasks/{answer['task_id']}")))["status"] != "succeeded":
                await asyncio.sleep(_POLL_S)
            self._finished.append(time.perf_counter() - began)
            await asyncio.sleep(_PROBE_S)

    def take(self) -> Figures:
        """What was measured since the last time."""
        accepted, self._accepted = self._accepted or [_SAMPLE_S], []
        finished, self._finished = self._finished or [_SAMPLE_S], []
        return {
            "POST p50 ms": percentile(accepted, 0.5) * 1000,
            "POST p99 ms": percentile(accepted, 0.99) * 1000,
            "end to end p50 ms": percentile(finished, 0.5) * 1000,
            "end to end p99 ms": percentile(finished, 0.99) * 1000,
        }


async def _sample(run: Run, loop: OpenLoop, probe: _Probe) -> None:
    """Look at everything every ten seconds, until it is cancelled."""
    await asyncio.sleep(_SETTLING_S)
    probe.take()
    began, before, sent = time.monotonic(), used_s(run.contender), loop.sent
    async with Redis.from_url(run.contender.servers.redis_url) as redis:
        while True:
            await asyncio.sleep(_SAMPLE_S)
            run.contender.require_alive()
            after = used_s(run.contender)
            costs = per_task(before, after, max(1, loop.sent - sent))
            before, sent = after, loop.sent
            run.samples.append(
                {"minute": (time.monotonic() - began) / 60}
                | {"flush to disk ms": await asyncio.to_thread(machine.flush_ms)}
                | probe.take()
                | {"requests in flight": float(loop.in_flight)}
                | {f"{part}, CPU µs per request": cost for part, cost in costs.items()}
                | _of_processes(run)
                | await _of_postgres(run)
                | await _of_redis(redis)
                | await asyncio.to_thread(_of_rabbitmq, run)
            )


def _of_processes(run: Run) -> Figures:
    figures: Figures = {}
    for name, roots in (("api", run.contender.api), ("worker", run.contender.workers)):
        figures[f"{name} memory MiB"] = processes.pss_mib(roots)
        figures[f"{name} open files"] = processes.open_files(roots)
        figures[f"{name} threads"] = processes.threads(roots)
    return figures


async def _of_postgres(run: Run) -> Figures:
    """Sizes take in indexes and what is stored out of line; a partitioned table is all of its partitions."""
    (tables,) = await run.contender.query(_TABLES)
    size: Mapping[str, Any] = {name: row for name, *row in tables}
    rows, dead, size_bytes = size["tasks"]
    keys, _, keys_bytes = size["task_keys"]
    return {
        "outbox rows": float((await run.contender.query("SELECT count(*) FROM outbox"))[0]),
        "outbox MiB": size["outbox"][2] / _MIB,
        "tasks MiB": size_bytes / _MIB,
        "tasks rows": rows,
        "tasks bytes per row": size_bytes / max(1.0, rows),
        "tasks dead rows, share": dead / max(1.0, rows),
        "task_keys bytes per row": keys_bytes / max(1.0, keys),
    }


async def _of_redis(redis: Redis) -> Figures:
    info = await redis.info("memory")
    return {
        "event stream MiB": (await redis.memory_usage(_EVENTS) or 0) / _MIB,
        "event stream entries": float(await redis.xlen(_EVENTS)),
        # Results stay for an hour, so it grows for as long.
        "Redis memory MiB": info["used_memory"] / _MIB,
    }


def _of_rabbitmq(run: Run) -> Figures:
    servers = run.contender.servers
    queues = servers.rabbitmq.management.queues(urlsplit(servers.rabbitmq_url).path[1:])
    return {
        "messages at RabbitMQ": float(sum(queue.messages for queue in queues.values())),
        "RabbitMQ memory MiB": processes.pss_mib(servers.rabbitmq.pids()),
    }


_UNFINISHED: Final = """
    SELECT count(*) FROM tasks WHERE status IN ('queued', 'running', 'scheduled', 'retrying')"""

_TABLES: Final = """
    SELECT array_agg(ROW(name, live, dead, size)) FROM (
        SELECT coalesce(p.relname, c.relname)::text AS name, sum(s.n_live_tup)::float8 AS live,
               sum(s.n_dead_tup)::float8 AS dead, sum(pg_total_relation_size(c.oid))::float8 AS size
        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
        LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
        GROUP BY 1) AS tables"""
