"""What travels over the broker: which attempts of which tasks are due, never their payloads."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from shared.errors import MalformedMessageError

_VERSION: Final = 1
#: What the column of a task holds; a larger number would make the claim of the whole bundle fail.
_MAX_ATTEMPT: Final = 2**31 - 1


class Due(NamedTuple):
    """One attempt that may start: a worker claims exactly this number, so an old copy claims nothing."""

    task_id: UUID
    attempt: int


def encode(bundle: Sequence[Due]) -> bytes:
    """The body of a message that rings for all of `bundle`."""
    # The database driver has a UUID class of its own, which orjson doesn't know.
    return orjson.dumps({"v": _VERSION, "due": [list(due) for due in bundle]}, default=str)


def decode(body: bytes, id_from: Callable[[str], UUID] = UUID) -> list[Due]:
    """What a message rings for; `id_from` makes an id of its text, or raises ValueError.

    Raises:
        MalformedMessageError: The body was not written by `encode`.
    """
    try:
        document = json.loads(body)
        return [_due(entry, id_from) for entry in _entries(document)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedMessageError(f"not a message of ours: {error}") from error


def _entries(document: Any) -> list[Any]:
    if document["v"] != _VERSION:
        raise ValueError(f"version {document['v']!r} is not {_VERSION}")
    entries = document["due"]
    if not isinstance(entries, list) or not entries:
        raise ValueError("'due' is not a list of (id, attempt)")
    return entries


def _due(entry: Any, id_from: Callable[[str], UUID]) -> Due:
    task_id, attempt = entry
    if type(attempt) is not int or not 1 <= attempt <= _MAX_ATTEMPT:
        raise ValueError(f"{attempt!r} is not the number of an attempt")
    return Due(id_from(task_id), attempt)
