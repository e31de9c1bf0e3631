"""A deployment as it is seen from outside: requests, what they must answer, and what has to be cleaned up."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import httpx

PROBLEM: Final = "application/problem+json"
FINAL: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})

#: Seconds that one answer may take, beyond what the request itself asks it to be held back.
_ANSWER_S: Final = 30.0
#: Longest `wait` that is asked for at once, in seconds.
_WAIT_S: Final = 20.0
_POLL_S: Final = 0.1


class DoesNotHoldError(Exception):
    """Something that was promised is not so. The message says what was found instead."""


class RefusedError(Exception):
    """The deployment wants another API key: nothing can be checked."""


def require(holds: bool, otherwise: str) -> None:
    """Do nothing if it holds.

    Raises:
        DoesNotHoldError: It does not; `otherwise` says what was found.
    """
    if not holds:
        raise DoesNotHoldError(otherwise)


class Site:
    """One run against one deployment.

    Everything it submits carries a tag of its own, so that it may run on a system in use, and twice at once.

    Args:
        http: Knows the address and the API key.
        patience_s: How long anything may take to come about, in seconds.
    """

    def __init__(self, http: httpx.Client, *, patience_s: float) -> None:
        self._http = http
        self.patience_s = patience_s
        self.tag = f"verify-{uuid4().hex[:12]}"
        self._unfinished: set[str] = set()
        #: Ids of dead letters that were made on purpose and are still there.
        self.letters: set[str] = set()

    # Requests .......................................................................

    def request(
        self,
        method: str,
        path: str,
        *,
        expect: int,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """An answer with the status `expect`.

        Raises:
            DoesNotHoldError: It has another one, or there is none.
            RefusedError: It is 401 or 403.
        """
        response = self.ask(method, path, json=json, content=content, headers=headers)
        require(
            response.status_code == expect,
            f"{method} {path} answered {response.status_code} instead of {expect}: {_excerpt(response)}",
        )
        return response

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """An answer, whatever its status; raises what `request` does for the rest."""
        try:
            response = self._http.request(
                method, path, json=json, content=content, headers=headers, timeout=_ANSWER_S + _WAIT_S
            )
        except httpx.TransportError as error:
            raise DoesNotHoldError(f"{method} {path} was not answered: {_reason(error)}") from error
        if response.status_code in (401, 403):
            raise RefusedError(_excerpt(response))
        return response

    def get(self, path: str) -> Any:
        """The JSON value that a GET answers with 200."""
        return json_of(self.request("GET", path, expect=200))

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        page = self.get(path)
        yield from page["items"]
        while page["next"] is not None:
            cursor = quote(page["next"], safe="")
            page = self.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
            yield from page["items"]

    # Tasks ..........................................................................

    def submission(self, type: str, payload: Any = None, **options: Any) -> dict[str, Any]:
        """The body of a task of this run."""
        return {"type": type, "payload": {} if payload is None else payload, "tags": [self.tag], **options}

    def submit(self, type: str, payload: Any = None, **options: Any) -> str:
        """The id of a new task."""
        return self.note(self.request("POST", "/tasks", expect=202, json=self.submission(type, payload, **options)))

    def note(self, accepted: httpx.Response) -> str:
        """The id in the answer to a submission, to be cancelled at the end if it is not final by then."""
        task_id = str(json_of(accepted)["task_id"])
        self._unfinished.add(task_id)
        return task_id

    def task(self, task_id: str) -> dict[str, Any]:
        """A task as it is now."""
        document: dict[str, Any] = self.get(f"/tasks/{task_id}")
        return document

    def final(self, task_id: str, *, status: str) -> dict[str, Any]:
        """A task once it is final.

        Raises:
            DoesNotHoldError: It isn't in time, or in another status than `status`.
        """
        until = time.monotonic() + self.patience_s
        task = self.task(task_id)
        while task["status"] not in FINAL and (left_s := until - time.monotonic()) > 0:
            task = self.get(f"/tasks/{task_id}?wait={min(left_s, _WAIT_S):.0f}")
            if task["status"] not in FINAL:
                time.sleep(_POLL_S)
        if task["status"] in FINAL:
            self._unfinished.discard(task_id)
        if task["status"] != status:
            raise DoesNotHoldError(f"{self._where(task)} instead of {status}")
        return task

    def until(self, task_id: str, is_so: Callable[[dict[str, Any]], bool], *, what: str) -> dict[str, Any]:
        """A task as soon as `is_so`; DoesNotHoldError, which names `what`, if that is not in time."""
        until = time.monotonic() + self.patience_s
        while not is_so(task := self.task(task_id)):
            if time.monotonic() > until or task["status"] in FINAL:
                raise DoesNotHoldError(f"{self._where(task)}, never {what}")
            time.sleep(_POLL_S)
        return task

    def _where(self, task: dict[str, Any]) -> str:
        task_id = task["task_id"]
        text = f"{task['type']} {task_id} is {task['status']}"
        if task["status"] in FINAL:
            return f"{text}, error {task['error']}" if task["error"] else text
        text = f"{text} after {self.patience_s:g} s"
        with suppress(DoesNotHoldError):
            return f"{text} ({self.get(f'/tasks/{task_id}/explain')['text']})"
        return text

    # Afterwards .....................................................................

    def clean_up(self) -> None:
        """Cancel what still waits or runs, and discard the dead letters that were made on purpose."""
        for task_id in self._unfinished:
            self._http.delete(f"/tasks/{task_id}", timeout=_ANSWER_S)
        for letter_id in self.letters:
            self._http.delete(f"/dead-letters/{letter_id}", timeout=_ANSWER_S)


def json_of(response: httpx.Response) -> Any:
    """The JSON value of an answer."""
    try:
        return response.json()
    except ValueError as error:
        request = response.request
        raise DoesNotHoldError(
            f"{request.method} {request.url.path} answered no JSON: {_excerpt(response)}"
        ) from error


def problem_of(response: httpx.Response, *, status: int) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    request = response.request
    require(
        response.status_code == status,
        f"{request.method} {request.url.path} answered {response.status_code} instead of {status}",
    )
    media_type = response.headers.get("content-type", "")
    require(media_type.startswith(PROBLEM), f"the content type is {media_type!r} instead of {PROBLEM}")
    document: dict[str, Any] = json_of(response)
    missing = {"type", "title", "status", "detail"} - document.keys()
    require(not missing, f"the problem has no {', '.join(sorted(missing))}")
    return document


def pointers_of(problem: dict[str, Any]) -> list[str]:
    """Where the faults are, by a problem document."""
    return [fault["pointer"] for fault in problem.get("errors", [])]


def _excerpt(response: httpx.Response) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(response.json()["detail"])
    return response.text[:200] or "nothing"


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
