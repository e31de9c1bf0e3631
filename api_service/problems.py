"""Every error as `application/problem+json` (RFC 9457).

Besides the members of the RFC there is `code`, which clients may rely on. A 422 has `errors`, a list of
`{pointer, message}`. A pointer that is empty or begins with `/` is a JSON pointer into the body (RFC 6901), one
that begins with `?` names a query parameter, and any other is the name of a header or of a part of the path.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shared import errors
from shared.accepting.faults import MAX_FAULTS, pointer
from shared.errors import TaskmillError

MEDIA_TYPE: Final = "application/problem+json"

#: Characters that an answer repeats of what it was sent.
_MAX_POINTER: Final = 300
_MAX_MESSAGE: Final = 500
_MAX_DETAIL: Final = 2000

#: For answers that may be different in two seconds.
RETRY_SOON: Final[Mapping[str, str]] = {"Retry-After": "2"}

_STATUSES: Final[Mapping[type[TaskmillError], int]] = {
    errors.OperatorsTypeError: 403,
    errors.TaskNotFoundError: 404,
    errors.DeadLetterNotFoundError: 404,
    errors.ArtifactNotFoundError: 404,
    errors.QueueNotFoundError: 404,
    errors.WorkerNotFoundError: 404,
    errors.IllegalMoveError: 409,
    errors.UniqueConflictError: 409,
    errors.NotReplayableError: 409,
    errors.KeyNotFoundError: 404,
    errors.KeyNameTakenError: 409,
    errors.KeyNotStoredError: 409,
    errors.ScheduleNotFoundError: 404,
    errors.ScheduleExistsError: 409,
    errors.ScheduleOverlapError: 409,
    errors.ScheduleNotRunnableError: 409,
    errors.RhythmError: 409,
    errors.IdempotencyConflictError: 422,
    errors.InvalidInputError: 422,
    errors.JsonError: 422,
    errors.DatabaseUnavailableError: 503,
    errors.DatabaseRefusedError: 503,
    errors.SchemaMissingError: 503,
    errors.ArtifactsUnavailableError: 503,
}

# What stands behind us, and at which address, is nobody's business outside.
_UNAVAILABLE: Final = "PostgreSQL is not available at the moment: try again"
_NO_ARTIFACTS: Final = "the artifact store is not available at the moment: try again"

_CODES: Final[Mapping[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal",
}

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

_TITLES: Final[Mapping[str, str]] = {
    "not_json": "The body is not JSON",
    "internal": "Internal error",
    "not_found": "No such resource",
}


class FaultView(BaseModel):
    """One fault of a request."""

    pointer: str = Field(
        description="`/payload/n` in the body, `?name` in the query, or the name of a header or of a part of the path"
    )
    message: str


class ProblemView(BaseModel):
    """What is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FaultView] | None = Field(None, description="Of a 422")


class BodyTooLargeError(HTTPException):
    """The body is larger than this route takes."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(413, f"the body is larger than {limit_bytes} bytes")


def too_large(error: BodyTooLargeError) -> Response:
    """The answer to a body that is too large."""
    return problem(error.status_code, _CODES[error.status_code], error.detail)


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """An answer that says what is wrong; `members` are extensions of the problem document."""
    document = {
        "type": f"urn:taskmill:problem:{code}",
        "title": _TITLES.get(code) or code.replace("_", " ").capitalize(),
        "status": status,
        "detail": _clean(detail, _MAX_DETAIL),
        "code": code,
        **members,
    }
    return Response(orjson.dumps(document), status, headers, MEDIA_TYPE)


def problem_of(error: TaskmillError) -> Response:
    """The answer to one of our own errors.

    Raises:
        TaskmillError: The error itself, if no client should ever meet it: it is a bug, and is logged as one.
    """
    status = _STATUSES.get(type(error))
    if status is None:
        raise error
    if status == 422:
        return _invalid(error.code, str(error), _faults_of(error))
    if status == 503:
        detail = _NO_ARTIFACTS if isinstance(error, errors.ArtifactsUnavailableError) else _UNAVAILABLE
        return problem(status, error.code, detail, headers=RETRY_SOON)
    return problem(status, error.code, str(error))


def install(app: FastAPI) -> None:
    """Make the application answer with problems whatever goes wrong in a route."""

    async def on_our_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, TaskmillError)
        return problem_of(error)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, f"http_{error.status_code}")
        if error.status_code == 405:
            allowed = ", ".join(_methods_at(request))
            return problem(405, code, f"allowed here: {allowed}", headers={"Allow": allowed})
        if error.status_code == 404:
            return problem(404, code, f"there is nothing at {request.url.path}")
        return problem(error.status_code, code, error.detail, headers=error.headers)

    async def on_invalid_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [(_place(fault["loc"]), str(fault["msg"]).removeprefix("Value error, ")) for fault in error.errors()]
        return problem_of(errors.InvalidInputError(faults))

    app.add_exception_handler(TaskmillError, on_our_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)


def _methods_at(request: Request) -> list[str]:
    """Starlette names only those of the first route that has this path."""
    asked = [{**request.scope, "method": method} for method in _METHODS]
    routes = request.app.routes
    return [scope["method"] for scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def _invalid(code: str, detail: str, faults: Sequence[tuple[str, str]]) -> Response:
    listed = [
        {"pointer": _clean(place, _MAX_POINTER), "message": _clean(message, _MAX_MESSAGE)}
        for place, message in faults[:MAX_FAULTS]
    ]
    return problem(422, code, detail, errors=listed)


def _faults_of(error: TaskmillError) -> Sequence[tuple[str, str]]:
    match error:
        case errors.InvalidInputError():
            return error.faults
        case errors.IdempotencyConflictError():
            return [("Idempotency-Key", str(error))]
        case _:
            return [("", str(error))]


def _place(location: Sequence[str | int]) -> str:
    match location:
        case ("query", name, *_):
            return f"?{name}"
        case ("header" | "path", name, *_):
            return str(name)
        case ("body", *parts):
            return pointer(parts)
        case _:
            return pointer(location)


def _clean(text: str, limit: int) -> str:
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text.encode("utf-8", "replace").decode()
