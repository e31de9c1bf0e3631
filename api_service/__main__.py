"""`python -m api_service` serves the API until it is told to stop."""

import asyncio
import ipaddress
import sys
from collections.abc import Callable
from typing import Final

import structlog

from api_service.app import create_app
from api_service.composition import open_services
from api_service.server import Server
from shared.errors import TaskmillError
from shared.settings import ApiSettings, load_or_exit
from shared.startup import require_no_arguments
from shared.telemetry.logging import configure_logging

log = structlog.get_logger(__name__)

_EXPOSED: Final = (
    "taskmill: API_HOST={host} is not loopback, and the API asks for no key: anybody who reaches it could run"
    " tasks. Set API_HOST=127.0.0.1, or AUTH=off if something in front of it decides who gets in.\n"
)


def main() -> int:
    """Serve, and return the process's exit status."""
    require_no_arguments("api_service", "Serves the HTTP API until SIGTERM or SIGINT.")
    settings = load_or_exit(ApiSettings)
    if fault := why_exposed(settings):
        sys.stderr.write(fault)
        return 2
    configure_logging(format_=settings.log_format, level=settings.log_level, service="api")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings))
    except TaskmillError as error:
        log.critical("api_failed", code=error.code, reason=str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def why_exposed(settings: ApiSettings) -> str | None:
    """What is wrong if anybody could reach the API without a key, or None."""
    if settings.auth == "on" and not is_loopback(settings.api_host):
        return _EXPOSED.format(host=settings.api_host)
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(settings: ApiSettings) -> None:
    async with open_services(settings) as services:
        app = create_app(
            services,
            max_body_bytes=settings.max_body_bytes,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            private_callbacks=settings.webhook_allow_private == "on",
        )
        await Server(app, host=settings.api_host, port=settings.api_port).serve()
    log.info("api_stopped")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
