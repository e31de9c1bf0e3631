"""What `monitoring.health_check` looks at. Each look says what it found and, where something is wrong, what to do."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

from shared.errors import BrokerUnavailableError, CacheUnavailableError, DatabaseUnavailableError
from worker_service.system import System

State = Literal["ok", "warning", "failed"]

#: Seconds that one look may take.
_PATIENCE_S: Final = 10.0
#: Seconds after which something that is due counts as late.
_LATE_S: Final = 60.0
#: Free share of the disk below which there is a warning, and below which it is a failure.
_SCARCE: Final = 0.10
_FULL: Final = 0.02
#: Names that are listed in a finding.
_NAMED: Final = 10


class Check(BaseModel):
    """One look. `figures` are in the unit that their names end with."""

    name: str
    state: State
    detail: str
    figures: dict[str, float] = {}


async def look_at(system: System) -> list[Check]:
    """All checks, made at once."""
    return list(await asyncio.gather(*(_survived(name, look(system)) for name, look in _LOOKS.items())))


async def _survived(name: str, look: Awaitable[Check]) -> Check:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await look
    except TimeoutError:
        return Check(name=name, state="failed", detail=f"there was no answer within {_PATIENCE_S:g} s")
    except (DatabaseUnavailableError, BrokerUnavailableError, CacheUnavailableError) as error:
        # Without the cache everything goes on, slower.
        state: State = "warning" if isinstance(error, CacheUnavailableError) else "failed"
        return Check(name=name, state=state, detail=str(error))


async def _ping(name: str, ping: Awaitable[None]) -> Check:
    began = time.monotonic()
    await ping
    latency_ms = round((time.monotonic() - began) * 1000, 3)
    return Check(name=name, state="ok", detail="it answers", figures={"latency_ms": latency_ms})


async def _postgresql(system: System) -> Check:
    return await _ping("postgresql", system.store.database.ping())


async def _broker(system: System) -> Check:
    return await _ping("broker", system.broker.ping())


async def _cache(system: System) -> Check:
    return await _ping("cache", system.news.ping())


async def _workers(system: System) -> Check:
    workers = await system.store.workers.all()
    stale = [worker.id for worker in workers if worker.stale]
    deaf = [worker.id for worker in workers if not worker.stale and not worker.healthy]
    figures = {"count": float(len(workers)), "stale_count": float(len(stale)), "unhealthy_count": float(len(deaf))}
    if stale or deaf:
        return Check(
            name="workers",
            state="warning",
            detail=f"stale: {_listed(stale)}; unhealthy: {_listed(deaf)}. The tasks of stale workers are taken over;"
            " look into the logs of both, and start workers in their place",
            figures=figures,
        )
    return Check(name="workers", state="ok", detail="all send heartbeats and take tasks", figures=figures)


async def _queues(system: System) -> Check:
    queues = await system.store.queues.figures()
    idle = [queue.name for queue in queues if queue.ready and not queue.consumers and not queue.paused]
    figures = {"ready_count": float(sum(queue.ready for queue in queues)), "without_consumer_count": float(len(idle))}
    if idle:
        detail = f"no worker takes what waits in {_listed(idle)}: name it in WORKER_QUEUES of a worker, or purge it"
        return Check(name="queues", state="warning", detail=detail, figures=figures)
    return Check(
        name="queues", state="ok", detail="each queue with tasks has a worker, or is paused", figures=figures
    )


async def _outbox(system: System) -> Check:
    overdue_s = round(await system.store.outbox.overdue_s(), 3)
    if overdue_s > _LATE_S:
        detail = "messages wait to be sent: see whether RabbitMQ can be reached and takes messages"
        return Check(name="outbox", state="warning", detail=detail, figures={"overdue_s": overdue_s})
    return Check(name="outbox", state="ok", detail="messages are sent in time", figures={"overdue_s": overdue_s})


async def _schedules(system: System) -> Check:
    late = await system.store.schedule_runs.overdue(by_s=_LATE_S)
    figures = {"overdue_count": float(late)}
    if late:
        detail = "schedules are behind their ticks: if they stay so, look for round_failed in the logs of the workers"
        return Check(name="schedules", state="warning", detail=detail, figures=figures)
    return Check(name="schedules", state="ok", detail="none is behind its ticks", figures=figures)


async def _disk(system: System) -> Check:
    folder = system.artifacts.folder
    if folder is None:
        return Check(name="disk", state="ok", detail="artifacts are in a bucket")
    usage = await asyncio.to_thread(_usage, folder)
    share = usage.free / usage.total if usage.total else 0.0
    state: State = "ok" if share >= _SCARCE else "warning" if share >= _FULL else "failed"
    remedy = "" if state == "ok" else ": shorten RETENTION_DAYS, or give it more"
    return Check(
        name="disk",
        state=state,
        detail=f"{share:.0%} of the disk of the artifacts is free{remedy}",
        figures={"free_bytes": float(usage.free), "total_bytes": float(usage.total)},
    )


def _usage(folder: Path) -> "shutil._ntuple_diskusage":
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # it is made with the first artifact
    return shutil.disk_usage(folder)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more


_LOOKS: Final[dict[str, Callable[[System], Awaitable[Check]]]] = {
    "postgresql": _postgresql,
    "broker": _broker,
    "cache": _cache,
    "workers": _workers,
    "queues": _queues,
    "outbox": _outbox,
    "schedules": _schedules,
    "disk": _disk,
}
