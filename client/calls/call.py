"""A request as a value."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Generic, ParamSpec, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from client.errors import unreadable
from client.models import Page

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: The server does what it has done under a key once, for 24 hours, whatever how often it is asked.
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        read: Makes the result of an answer whose status is no error.
        query: Parameters; those that are None are left out.
        is_repeatable: Whether it does no harm to send it again when nobody knows what became of the first.
        held_s: How long the server may hold the answer back, because it was asked to.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    is_repeatable: bool = True
    held_s: float = 0.0

    def parts(self) -> dict[str, Any]:
        """The same as httpx's clients take it, but for the timeout."""
        params = {name: _text(value) for name, value in self.query.items() if value is not None}
        return {
            "method": self.method,
            "url": self.path,
            "params": params or None,
            "headers": self.headers,
            "content": self.content,
        }


def following(call: Call[Page[T]], page: Page[T]) -> Call[Page[T]] | None:
    """The call for the page after `page`, or None at the end."""
    return None if page.next is None else replace(call, query={**call.query, "cursor": page.next})


def get(path: str, read: Callable[[httpx.Response], T], **query: Any) -> Call[T]:
    """Ask for something."""
    return Call(method="GET", path=path, read=read, query=query)


def send(
    method: str,
    path: str,
    read: Callable[[httpx.Response], T],
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    is_repeatable: bool,
) -> Call[T]:
    """Change something; a `body` that is not None is sent as JSON."""
    content = None if body is None else encode(body)
    return Call(
        method=method,
        path=path,
        read=read,
        headers={**({} if content is None else {"Content-Type": _JSON}), **(headers or {})},
        content=content,
        is_repeatable=is_repeatable,
    )


def encode(value: Any) -> bytes:
    """JSON in UTF-8.

    Raises:
        TypeError: It holds what JSON has no word for.
        ValueError: It holds a number that is none, or refers to itself.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_jsonable)
    # Half a surrogate pair is the server's to refuse.
    return text.encode("utf-8", "surrogatepass")


def fresh_key() -> dict[str, str]:
    """A header that makes repeats of one request safe."""
    return {IDEMPOTENCY_KEY: uuid4().hex}


def path(*parts: str) -> str:
    """A path of parts that may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def named_after(build: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Gives a method the name, the words and the arguments of what builds its call."""

    def name(method: Callable[P, R]) -> Callable[P, R]:
        method.__name__, method.__doc__ = build.__name__, build.__doc__
        self_ = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        asked = inspect.signature(build)
        signature = asked.replace(
            parameters=[self_, *asked.parameters.values()], return_annotation=inspect.Signature.empty
        )
        method.__dict__["__signature__"] = signature
        return method

    return name


# Ways to read an answer ..............................................................


def as_model(model: type[M]) -> Callable[[httpx.Response], M]:
    """Reads an answer as one of the models."""

    def read(response: httpx.Response) -> M:
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            first = error.errors()[0]
            place = "/".join(map(str, first["loc"]))
            raise unreadable(response, f"{place}: {first['msg']}" if place else first["msg"]) from error

    return read


def as_page(model: type[M]) -> Callable[[httpx.Response], Page[M]]:
    """Reads an answer as a page of models."""
    page: type[Page[M]] = Page[model]  # type: ignore[valid-type]
    return as_model(page)


def as_json(response: httpx.Response) -> Any:
    """Reads an answer as whatever it is."""
    try:
        return response.json()
    except ValueError as error:
        raise unreadable(response, error) from error


def as_nothing(_: httpx.Response) -> None:
    """Reads nothing: that it was done is all there is to know."""


def _text(value: Any) -> str:
    return _moment(value) if isinstance(value, datetime) else str(value)


def _jsonable(value: Any) -> str:
    if isinstance(value, datetime):
        return _moment(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


def _moment(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: use datetime.now(UTC), or .astimezone()")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
