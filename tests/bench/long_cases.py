"""What is measured only when it is asked for by name: it takes long."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from tests.bench import processes
from tests.bench.contenders import Contender
from tests.bench.run import Figures, Run
from tests.builders import open_store
from tests.partitions import reach_back


async def history(run: Run) -> Figures:
    """What a table full of finished tasks costs, against an empty one."""
    rows = int(10_000_000 * run.scale)
    empty = await _throughput(run, "end to end, empty table")
    await _fill(run, rows)
    full = await _throughput(run, "end to end, full table")
    return {
        "end to end/s, empty table": empty,
        "end to end/s, full table": full,
        "finished rows": rows,
        "full / empty": full / empty,
    }


async def _throughput(run: Run, name: str) -> float:
    number, began = 5000, time.time()
    with run.cost(name, number):
        await run.submit(number)
        while (await run.contender.query(_OPEN))[0]:
            await asyncio.sleep(0.1)
    return number / (time.time() - began)


async def _fill(run: Run, rows: int) -> None:
    async with open_store(run.contender.servers.database_url) as store:
        await reach_back(store, 7)
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


#: Tasks by which accepting and draining are measured, beside an empty queue and beside a long one.
_SINGLE: Final = 5000
_IN_BATCHES: Final = 10_000
#: What the API leaves unpublished since it can't keep up waits for the relay, which runs in the frozen workers.
_CHUNK: Final = 10_000
_DRAIN_S: Final = 600.0


async def backlog(run: Run) -> Figures:
    """What a million queued tasks cost, against an empty queue. They stay: nothing can be measured after it."""
    await _sample(run, "empty queue", 0)  # also what was cold at first
    empty = await _sample(run, "empty queue", 0)
    rows = run.number(1_000_000) // _CHUNK * _CHUNK
    full = await _sample(run, "backlog", rows)
    ratios = {f"{name}, backlog / empty queue": full[name] / empty[name] for name in empty}
    return (
        {f"{name}, empty queue": value for name, value in empty.items()}
        | {f"{name}, backlog": value for name, value in full.items()}
        | ratios
        | {"tasks in the backlog": rows}
    )


async def _sample(run: Run, name: str, rows: int) -> Figures:
    """Accept so many tasks while the workers are frozen, then some to measure; thaw; measure as many being done."""
    contender = run.contender
    with processes.frozen(contender.workers):
        for _ in range(rows // _CHUNK):
            await run.submit_batches(_CHUNK)
            await run.until_rung()
        with run.cost(f"POST, {name}", _SINGLE):
            single = await run.submit(_SINGLE)
        with run.cost(f"batches accepted, {name}", _IN_BATCHES):
            batches = await run.submit_batches(_IN_BATCHES)
        await run.until_rung()
        held = _messages(contender)
        memory = processes.pss_mib(contender.servers.rabbitmq.pids())
        last_of_sample = (await contender.query(_TASK_IN_LINE, _SINGLE + _IN_BATCHES))[0]
        began = (await contender.query("SELECT clock_timestamp()"))[0]
    with run.cost(f"drain, {name}", _SINGLE + _IN_BATCHES):
        await _until_final(contender, last_of_sample)
    number, first_s, last_s = await contender.query(_FINISHED_SINCE, began)
    return {
        "POST/s": single.rate,
        "batches accepted/s": _IN_BATCHES / batches.took_s,
        "drain/s": number / (last_s - first_s),
        "first done after s": first_s,
        "messages at RabbitMQ": held,
        "RabbitMQ memory MiB": memory,
    }


async def _until_final(contender: Contender, task_id: UUID) -> None:
    deadline = time.monotonic() + _DRAIN_S
    while (await contender.query("SELECT status FROM tasks WHERE id = $1", task_id))[0] != contender.final:
        contender.require_alive()
        if time.monotonic() > deadline:
            raise contender.failure(f"has not come to task {task_id} in {_DRAIN_S:.0f} s", "Try --scale 0.1.")
        await asyncio.sleep(0.1)


def _messages(contender: Contender) -> int:
    servers = contender.servers
    queues = servers.rabbitmq.management.queues(urlsplit(servers.rabbitmq_url).path[1:])
    return sum(queue.messages for queue in queues.values())


_TASK_IN_LINE: Final = """
    SELECT id FROM tasks WHERE status = 'queued' AND queue = 'default' ORDER BY id OFFSET $1 - 1 LIMIT 1"""

_FINISHED_SINCE: Final = """
    SELECT count(*), extract(epoch FROM min(finished_at) - $1)::float8,
           extract(epoch FROM max(finished_at) - $1)::float8
    FROM tasks WHERE finished_at >= $1"""
