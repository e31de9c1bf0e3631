"""Whether it lives, whether it is ready, and its metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api_service.dependencies import ServicesDep
from api_service.problems import RETRY_SOON, problem
from api_service.views import ComponentView, HealthView, ReadinessView
from shared.errors import TaskmillError

log = structlog.get_logger(__name__)
router: Final = APIRouter(tags=["health"])

#: Seconds that a component may take to answer.
_ANSWER_WITHIN_S: Final = 1.5


@router.get("/health")
async def health() -> HealthView:
    """The process answers."""
    return HealthView()


@router.get("/health/live")
async def live() -> HealthView:
    """The same: a process that answers needs no restart."""
    return HealthView()


@router.get("/health/ready", responses={200: {"model": ReadinessView}})
async def ready(services: ServicesDep) -> Response:
    """Whether tasks are accepted. PostgreSQL is all it takes; without RabbitMQ or Redis it answers `degraded`."""
    checks = {
        "postgresql": services.store.database.require_schema,
        "rabbitmq": services.broker.ping,
        "redis": services.cache.ping,
    }
    results = await asyncio.gather(*map(_checked, checks.values()))
    components = dict(zip(checks, results, strict=True))
    if components["postgresql"].state == "down":
        shown = {name: component.model_dump() for name, component in components.items()}
        return problem(503, "not_ready", "PostgreSQL is not available", headers=RETRY_SOON, components=shown)
    is_whole = all(component.state == "up" for component in results)
    view = ReadinessView(status="ok" if is_whole else "degraded", components=components)
    return Response(view.model_dump_json(), media_type="application/json")


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """The figures of this process, for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _checked(check: Callable[[], Awaitable[None]]) -> ComponentView:
    began = time.perf_counter()
    detail: str | None = None
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await check()
    except TimeoutError:
        detail = f"no answer within {_ANSWER_WITHIN_S:g} s"
    except TaskmillError as error:
        detail = error.code
    except Exception:
        log.exception("health_check_failed")
        detail = "internal"
    latency_ms = round((time.perf_counter() - began) * 1000, 1)
    return ComponentView(state="down" if detail else "up", latency_ms=latency_ms, detail=detail)
