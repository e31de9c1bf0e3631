"""A log line and the figures of each answer."""

from functools import lru_cache
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from api_service.exchange import Exchange
from shared.telemetry import metrics

log = structlog.get_logger(__name__)

#: Characters of a path that the log repeats.
_MAX_PATH: Final = 200


def note_answer(exchange: Exchange, duration_s: float) -> None:
    """Log and count an answer. Probes are logged at `debug`: they come all the time and say nothing."""
    scope, caller = exchange.scope, exchange.caller
    method, route = scope["method"], getattr(scope.get("route"), "path", "none")
    number, durations = _figures(method, route, exchange.status)
    number.inc()
    if not route.endswith("/events"):  # a stream is open for as long as its client likes
        durations.observe(duration_s)
    say = log.debug if route.startswith(("/health", "/metrics")) else log.info
    say(
        "request_answered",
        method=method,
        path=scope["path"][:_MAX_PATH],
        status=exchange.status,
        duration_ms=round(duration_s * 1000, 2),
        client=(scope.get("client") or ("",))[0],
        **({} if caller is None else {"caller": caller.name}),
    )


# To look them up by their labels takes longer than to count.
@lru_cache(maxsize=1024)
def _figures(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.HTTP_REQUESTS.labels(method, route, status), metrics.HTTP_SECONDS.labels(method, route)
