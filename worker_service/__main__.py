"""`python -m worker_service` runs a worker; `python -m worker_service health` asks whether one here is well."""

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.settings import WorkerSettings

_USAGE = (
    "usage: python -m worker_service [health]\n\nSettings come from the environment and .env: see docs/operating.md."
)


# Each function imports what it needs: the health check runs every few seconds, and most of its time is imports; and
# each process for `cpu=True` handlers imports this module too.


def main(arguments: list[str]) -> int:
    """Run the command and return the process's exit status."""
    if arguments not in ([], ["health"]):
        print(_USAGE, file=sys.stdout if {"-h", "--help"} & set(arguments) else sys.stderr)
        return 0 if {"-h", "--help"} & set(arguments) else 2
    from shared.settings import WorkerSettings, load_or_exit
    from shared.telemetry.logging import configure_logging

    settings = load_or_exit(WorkerSettings)
    configure_logging(format_=settings.log_format, level=settings.log_level, service="worker")
    return _ask_health(settings) if arguments else _work(settings)


def _ask_health(settings: "WorkerSettings") -> int:
    from worker_service.health import is_healthy

    return 0 if asyncio.run(is_healthy(settings.database_url)) else 1


def _work(settings: "WorkerSettings") -> int:
    import structlog
    import uvloop

    from shared.errors import TaskmillError
    from worker_service.service import WorkerService, run_past_stuck_handlers

    try:
        uvloop.run(run_past_stuck_handlers(WorkerService(settings)))
    except TaskmillError as error:
        structlog.get_logger(__name__).critical("worker_failed", code=error.code, reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
