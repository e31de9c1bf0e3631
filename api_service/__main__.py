"""`python -m api_service` serves the API until it is told to stop."""

import asyncio
import sys
from collections.abc import Callable

import structlog

from api_service.app import create_app
from api_service.auth import Access
from api_service.composition import open_services
from api_service.server import Server
from shared.errors import NoKeysError, TaskmillError
from shared.settings import ApiSettings, load_or_exit
from shared.startup import require_no_arguments
from shared.store.database import Database
from shared.telemetry.logging import configure_logging

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve, and return the process's exit status."""
    require_no_arguments("api_service", "Serves the HTTP API until SIGTERM or SIGINT.")
    settings = load_or_exit(ApiSettings)
    configure_logging(format_=settings.log_format, level=settings.log_level, service="api")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings))
    except NoKeysError as error:
        sys.stderr.write(f"taskmill: {error}\n")
        return 2
    except TaskmillError as error:
        log.critical("api_failed", code=error.code, reason=str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(settings: ApiSettings) -> None:
    access = Access.of(settings)
    await _require_keys(access, settings)
    async with open_services(settings) as services:
        app = create_app(
            services,
            max_body_bytes=settings.max_body_bytes,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            max_artifact_bytes=settings.max_artifact_bytes,
            private_callbacks=settings.webhook_allow_private == "on",
            access=access,
        )
        await Server(app, host=settings.api_host, port=settings.api_port).serve()
    log.info("api_stopped")


async def _require_keys(access: Access, settings: ApiSettings) -> None:
    # Before anything is waited for: whoever starts it so should hear of it at once.
    database = Database(settings.database_url, pool_size=1)
    try:
        await access.require_keys(database, settings.api_host)
    finally:
        await database.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
