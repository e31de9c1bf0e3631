"""The one tree of what may go wrong when Taskmill is asked over HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

    from client.models import Task

#: Characters of an answer that is no problem document which an error repeats.
_MAX_EXCERPT: Final = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request.

    Attributes:
        pointer: `/payload/n` in the body, `?name` in the query, or the name of a header.
        message: What is wrong there.
    """

    pointer: str
    message: str


class TaskmillError(Exception):
    """Base of all that this package raises.

    Attributes:
        status: Of the HTTP answer; None where there was none.
        code: A stable word for programs.
        detail: One sentence for people.
        errors: The faults of the request, of a 422.
        retry_after_s: Seconds after which the server asks to be asked again, where it does.
        request_id: What the server's log has the request under.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str = "error",
        status: int | None = None,
        errors: Sequence[Fault] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.errors = list(errors)
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class InvalidError(TaskmillError):
    """The request does not fit the contract; `errors` has the places (413 and 422, and other 4xx)."""


class NotFoundError(TaskmillError):
    """There is no such thing (404)."""


class ConflictError(TaskmillError):
    """It is not in a state in which this can be done (409)."""


class UnauthorizedError(TaskmillError):
    """No API key was sent, or one that is not known (401)."""


class ForbiddenError(TaskmillError):
    """The API key may not do this (403)."""


class RateLimitedError(TaskmillError):
    """The limit of requests is reached (429), and stayed so over all repeats."""


class UnavailableError(TaskmillError):
    """Nobody answers, or the service can't at the moment (502, 503, 504), and stayed so over all repeats."""


class UnreachableError(UnavailableError):
    """Nobody listens there, or no way leads there: the request never arrived."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="unreachable")


class ServerError(TaskmillError):
    """The server has a bug (500), or what answers is not Taskmill."""


class TaskFailedError(TaskmillError):
    """The task that was waited for has not succeeded: it is failed, cancelled or expired.

    Attributes:
        task: As it ended.
    """

    def __init__(self, task: "Task") -> None:
        why = f": {task.error.kind}: {task.error.message}" if task.error else ""
        super().__init__(f"task {task.task_id} ({task.type}) is {task.status}{why}", code=f"task_{task.status}")
        self.task = task


class WaitTimeoutError(TaskmillError):
    """The task was not final in time; it goes on.

    Attributes:
        task: As it was when the wait ended.
    """

    def __init__(self, task: "Task", timeout_s: float) -> None:
        super().__init__(f"task {task.task_id} is still {task.status} after {timeout_s:g} s", code="wait_timeout")
        self.task = task


_BY_STATUS: Final[Mapping[int, type[TaskmillError]]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(response: "httpx.Response") -> TaskmillError:
    """What an answer whose status is an error means; its body has been read."""
    problem = _problem_in(response)
    status = response.status_code
    kind = _BY_STATUS.get(status) or (InvalidError if 400 <= status < 500 else ServerError)
    return kind(
        str(problem.get("detail") or _excerpt(response)),
        code=str(problem.get("code") or f"http_{status}"),
        status=status,
        errors=_faults_in(problem),
        retry_after_s=_retry_after_s(response.headers.get("retry-after")),
        request_id=response.headers.get("x-request-id"),
    )


def unreadable(response: "httpx.Response", reason: object) -> ServerError:
    """What an answer means that is not what the contract says."""
    request = response.request
    return ServerError(
        f"{request.method} {request.url} was not answered as Taskmill would: {reason}",
        code="unexpected_answer",
        status=response.status_code,
        request_id=response.headers.get("x-request-id"),
    )


def _problem_in(response: "httpx.Response") -> Mapping[str, Any]:
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _faults_in(problem: Mapping[str, Any]) -> Sequence[Fault]:
    listed = problem.get("errors")
    faults = [fault for fault in listed if isinstance(fault, dict)] if isinstance(listed, list) else []
    return [Fault(str(fault.get("pointer", "")), str(fault.get("message", ""))) for fault in faults]


def _excerpt(response: "httpx.Response") -> str:
    request = response.request
    text = " ".join(response.text[:_MAX_EXCERPT].split())
    return f"{request.method} {request.url} was answered {response.status_code}" + (f": {text}" if text else "")


def _retry_after_s(header: str | None) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3); None where it is neither."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return None
