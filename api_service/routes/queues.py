"""How much there is to do."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from fastapi import APIRouter

from api_service.dependencies import ServicesDep
from api_service.paging import Page
from api_service.services import Services
from api_service.views import QueueView, RatesView
from shared.errors import CacheUnavailableError

router: Final = APIRouter(tags=["queues"])

#: Full minutes that rates are measured over, besides the one that runs.
_MINUTES: Final = 5


@router.get("/queues")
async def list_queues(services: ServicesDep) -> Page[QueueView]:
    """Every queue that was ever named, by name. Rates are zero while Redis is away."""
    figures = await services.store.queues.figures()
    counts = await _counts(services)
    return Page(items=[QueueView(**asdict(queue), rates=_rates(queue.name, counts)) for queue in figures])


async def _counts(services: Services) -> Mapping[tuple[str, str], int]:
    try:
        return await services.cache.counts(_MINUTES)
    except CacheUnavailableError:
        return {}


def _rates(queue: str, counts: Mapping[tuple[str, str], int]) -> RatesView:
    minutes = _MINUTES + time.time() % 60 / 60
    return RatesView(**{what: round(counts.get((queue, what), 0) / minutes, 2) for what in RatesView.model_fields})
