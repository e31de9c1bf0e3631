"""The application: routes, what is around them, and problems, over services that somebody else has opened."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from fastapi import FastAPI, Response, WebSocket
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp

from api_service import openapi, problems
from api_service.auth import Access, Guard
from api_service.counting import SubmittedCounter
from api_service.dependencies import Api
from api_service.edge import Edge
from api_service.keyring import Keyring
from api_service.live.sources import news_sources
from api_service.problems import problem
from api_service.reading import TaskReader
from api_service.routes import (
    artifacts,
    audit,
    dead_letters,
    diagnostics,
    events,
    health,
    keys,
    queues,
    reports,
    schedules,
    stats,
    task_types,
    tasks,
    workers,
)
from api_service.services import Services
from api_service.short_way import ShortWay
from api_service.submission import Submitter
from shared.accepting.catalogue import Catalogue
from shared.errors import DatabaseUnavailableError
from shared.startup import settle_heap
from shared.version import VERSION

_DESCRIPTION: Final = "Submit work over HTTP; workers run it; every task has a durable record."

_KEYS_OF_THE_DATABASE: Final = Access()

#: In the order in which Swagger UI shows them.
_ROUTES: Final = (
    tasks,
    events,
    artifacts,
    task_types,
    queues,
    dead_letters,
    schedules,
    workers,
    stats,
    reports,
    keys,
    audit,
    health,
    diagnostics,
)


class _App(FastAPI):
    """FastAPI inside what we have around our routes, in place of what it has around them itself."""

    around: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """What handles each request, from the outside to the routes."""
        routes = AsyncExitStackMiddleware(self.router)
        return self.around(ExceptionMiddleware(routes, handlers=self.exception_handlers))


def create_app(
    services: Services,
    *,
    max_body_bytes: int,
    max_batch_body_bytes: int,
    max_artifact_bytes: int,
    private_callbacks: bool = False,
    access: Access = _KEYS_OF_THE_DATABASE,
) -> FastAPI:
    """The API over open services.

    Args:
        services: They must stay open for as long as the application serves.
        max_body_bytes: Largest body of a request.
        max_batch_body_bytes: The same for POST /tasks/batch.
        max_artifact_bytes: The same for POST /artifacts.
        private_callbacks: Whether a callback_url may name an address of our own network.
        access: How it is guarded; by default as soon as there is a key in the database.
    """
    app = _App(
        title="Taskmill",
        version=VERSION,
        description=_DESCRIPTION,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        # FastAPI asks the environment at each request whether it is on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.api = _api(services, private_callbacks=private_callbacks)
    app.state.keyring = keyring = Keyring(access.keys, services.store.api_keys)
    for module in _ROUTES:
        app.include_router(module.router)
    app.add_api_route("/", _home, include_in_schema=False)
    app.add_api_websocket_route("/{path:path}", _no_socket)
    openapi.install(app)
    problems.install(app)
    limits = {"/tasks/batch": max_batch_body_bytes, "/artifacts": max_artifact_bytes}
    app.around = lambda routes: Edge(
        ShortWay(routes, tasks.BUSIEST), Guard(access, keyring), max_bytes=max_body_bytes, max_bytes_at=limits
    )
    return app


def _api(services: Services, *, private_callbacks: bool) -> Api:
    stopping = asyncio.Event()
    submitter = Submitter(
        services.store,
        services.publisher,
        Catalogue(services.store.task_types),
        SubmittedCounter(services.news),
        private_callbacks=private_callbacks,
    )
    reader = TaskReader(services, stopping)
    return Api(services, submitter, reader, news_sources(services, reader), stopping)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    api: Api = app.state.api
    with suppress(DatabaseUnavailableError):  # then the first requests pay for it
        await api.services.store.database.warm_up()
        await api.submitter.warm_up()
    settle_heap()
    app.state.keyring.start()
    yield
    await app.state.keyring.close()
    await api.submitter.close()


async def _home() -> Response:
    return RedirectResponse("/docs")


async def _no_socket(socket: WebSocket) -> None:
    # Starlette would say 403, without a word.
    await socket.send_denial_response(problem(404, "not_found", f"there is no WebSocket at {socket.url.path}"))
