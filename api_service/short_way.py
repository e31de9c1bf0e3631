"""A short way to the busiest routes: FastAPI's way there costs several times what they do."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api_service.problems import BodyTooLargeError, problem_of, too_large
from shared.errors import TaskmillError

_ID: Final = "/{task_id}"


class ShortWay:
    """Calls the functions of some routes by itself, and leaves all other requests to FastAPI.

    Args:
        app: FastAPI's way. It documents the short routes too, and answers where there is anything unusual about a
            request for one: an id that is none, a query beside it.
        routes: Their functions take the request, and the id of a task if the path ends in one.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[APIRoute]) -> None:
        self._app = app
        self._routes = {(method, route.path): route for route in routes for method in route.methods or ()}
        self._routes_with_id = {
            (method, path.removesuffix(_ID)): self._routes.pop((method, path))
            for method, path in list(self._routes)
            if path.endswith(_ID)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for one of the routes; pass on all others."""
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], arguments = found
        try:
            response = await scope["route"].endpoint(Request(scope, receive), *arguments)
        except BodyTooLargeError as error:
            response = too_large(error)
        except TaskmillError as error:
            response = problem_of(error)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[APIRoute, tuple[UUID, ...]] | None:
        method, path = scope["method"], scope["path"]
        if route := self._routes.get((method, path)):
            return route, ()
        folder, _, name = path.rpartition("/")
        route = self._routes_with_id.get((method, folder))
        if route is not None and not scope["query_string"]:
            with suppress(ValueError):
                return route, (UUID(name),)
        return None
