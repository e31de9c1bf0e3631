"""How much there is to do, and whether it may be done."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep, api_of
from api_service.paging import Page
from api_service.problems import RETRY_SOON, problem
from api_service.purging import PurgeInterruptedError, purge
from api_service.services import Services
from api_service.views import PurgedView, QueueView, RatesView
from shared.domain.task_type import QUEUE_PATTERN
from shared.errors import CacheUnavailableError
from shared.resuming import ring_resumed

router: Final = APIRouter(tags=["queues"])

#: Full minutes that rates are measured over, besides the one that runs.
_MINUTES: Final = 5

Queue = Annotated[str, Path(pattern=QUEUE_PATTERN, description="Name of the queue")]


@router.get("/queues")
async def list_queues(services: ServicesDep) -> Page[QueueView]:
    """Every queue that was ever named, by name. Rates are zero while Redis is away."""
    figures = await services.store.queues.figures()
    counts = await _counts(services)
    return Page(items=[QueueView(**asdict(queue), rates=_rates(queue.name, counts)) for queue in figures])


@router.post("/queues/{queue}/pause")
async def pause_queue(services: ServicesDep, queue: Queue, audit: AuditDep) -> QueueView:
    """Let no task of the queue start until it is resumed; what runs goes on, and tasks are accepted as ever.

    A queue that nobody has named yet can be paused too: then its first task waits.
    """
    await audit.note("queue.pause", target=queue)
    await services.store.queues.pause(queue)
    return await _view_of(services, queue)


@router.post("/queues/{queue}/resume")
async def resume_queue(request: Request, services: ServicesDep, queue: Queue, audit: AuditDep) -> QueueView:
    """Let its tasks start again. A queue that isn't paused stays as it is."""
    await audit.note("queue.resume", target=queue)
    resumed = await services.store.queues.resume(queue)
    if resumed is not None:
        await ring_resumed(services.store, services.publisher, resumed, until=api_of(request).stopping.is_set)
    return await _view_of(services, queue)


@router.delete("/queues/{queue}/purge", responses={200: {"model": PurgedView}})
async def purge_queue(request: Request, services: ServicesDep, queue: Queue, audit: AuditDep) -> Response:
    """Cancel what has not started: scheduled, queued and retrying tasks that are there now. What runs goes on."""
    await services.store.queues.figures_of(queue)
    await audit.note("queue.purge", target=queue)
    try:
        purged = await purge(services, queue, stopping=api_of(request).stopping)
    except PurgeInterruptedError as error:
        detail = f"{error}: ask again, and the rest is purged too"
        return problem(503, "purge_interrupted", detail, headers=RETRY_SOON, purged=error.purged)
    return Response(PurgedView(purged=purged).model_dump_json(), media_type="application/json")


async def _view_of(services: Services, queue: str) -> QueueView:
    figures = await services.store.queues.figures_of(queue)
    return QueueView(**asdict(figures), rates=_rates(queue, await _counts(services)))


async def _counts(services: Services) -> Mapping[tuple[str, str], int]:
    try:
        return await services.cache.counts(_MINUTES)
    except CacheUnavailableError:
        return {}


def _rates(queue: str, counts: Mapping[tuple[str, str], int]) -> RatesView:
    minutes = _MINUTES + time.time() % 60 / 60
    return RatesView(**{what: round(counts.get((queue, what), 0) / minutes, 2) for what in RatesView.model_fields})
