"""What went on, minute by minute: what the charts are drawn from."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, Field

from api_service.dependencies import ServicesDep, api_of
from api_service.paging import Page
from shared.cache.base import KEPT_MINUTES, Minute
from shared.domain.durations import percentile
from shared.errors import CacheUnavailableError

log = structlog.get_logger(__name__)
router: Final = APIRouter(tags=["queues"])

_DEFAULT_MINUTES: Final = 60

Minutes = Annotated[
    Annotated[int, Field(ge=1, le=KEPT_MINUTES)],
    BeforeValidator(lambda text: _DEFAULT_MINUTES if text == "" else text),
    Query(description="How many full minutes, besides the one that runs"),
]


class MinuteView(BaseModel):
    """One queue in one minute. Durations in seconds, within a tenth; null where there was nothing to measure."""

    minute: datetime = Field(description="When it began")
    queue: str
    submitted: int = Field(description="Accepted over the API")
    succeeded: int
    failed: int = Field(description="For good")
    retried: int = Field(description="Attempts that failed and are followed by another")
    waiting_p50: float | None = Field(description="From when they were due until they were started, of those started")
    waiting_p95: float | None
    running_p50: float | None = Field(description="The last attempt, of those that succeeded or failed")
    running_p95: float | None


class StatsView(Page[MinuteView]):
    """Minutes of queues in which something happened, the oldest first."""

    available: bool = Field(True, description="false: Redis, which counts, is away")


@router.get("/stats")
async def stats(request: Request, services: ServicesDep, minutes: Minutes = _DEFAULT_MINUTES) -> StatsView:
    """Tasks submitted and done, and how long they waited and ran, by minute and queue.

    The figures are for charts: Redis holds them, and may forget.
    """
    await api_of(request).submitter.counted()
    try:
        counted = await services.cache.minutes(minutes)
    except CacheUnavailableError as error:
        log.info("stats_unavailable", reason=str(error))
        return StatsView(items=[], available=False)
    return StatsView(items=list(_views(counted)))


def _views(counted: Sequence[Minute]) -> Iterator[MinuteView]:
    for minute in counted:
        for queue in sorted({queue for queue, _ in (*minute.counts, *minute.durations)}):
            yield _view(minute, queue)


def _view(minute: Minute, queue: str) -> MinuteView:
    def count(what: str) -> int:
        return minute.counts.get((queue, what), 0)

    def took(what: str, share: float) -> float | None:
        return percentile(minute.durations.get((queue, what), {}), share)

    return MinuteView(
        minute=datetime.fromtimestamp(minute.began_at, UTC),
        queue=queue,
        submitted=count("submitted"),
        succeeded=count("succeeded"),
        failed=count("failed"),
        retried=count("retried"),
        waiting_p50=took("waiting", 0.5),
        waiting_p95=took("waiting", 0.95),
        running_p50=took("running", 0.5),
        running_p95=took("running", 0.95),
    )
