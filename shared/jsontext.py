"""JSON as Taskmill takes and gives it: RFC 8259 and nothing looser, integers of any usual length kept exact."""

import math
import re
from typing import Any, Final

import orjson
import pydantic_core

from shared.errors import JsonError

# Only a text with such a run of digits can hold a number that no float can: 1e400, 400 digits and a dot, or
# 250 digits and e99.
_MAY_OVERFLOW: Final = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{200}")


def loads(text: bytes | str) -> Any:
    """The value that a JSON text stands for.

    Raises:
        JsonError: Not JSON: bad syntax or encoding, NaN, a lone surrogate, a number beyond float, nested too deeply.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        value = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise JsonError(str(error)) from error
    if _MAY_OVERFLOW.search(raw) and _has_infinity(value):
        raise JsonError("a number is too large")
    return value


def dumps(value: Any) -> str:
    """The JSON text of a value; Pydantic models, dataclasses, times, UUIDs and the like included.

    Raises:
        JsonError: JSON can't hold the value: NaN, a lone surrogate, an unknown class, a cycle.
    """
    try:
        text = pydantic_core.to_json(value, inf_nan_mode="constants")
        if b"NaN" in text or b"Infinity" in text:
            # The words may stand in a string; as numbers they are no JSON, and this says so.
            pydantic_core.from_json(text, allow_inf_nan=False)
        return text.decode()
    except (ValueError, pydantic_core.PydanticSerializationError, RecursionError) as error:
        raise JsonError(str(error)) from error


def encode(value: Any) -> bytes:
    """The JSON text of what is known to be JSON, but for UUIDs and times in UTC, as bytes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:  # integers beyond 64 bits, and whatever else is rare
        return dumps(value).encode()


def printable(text: str, limit: int = 2000) -> str:
    """`text` as every store takes it: no NUL, no lone surrogate, at most `limit` characters (its end is kept)."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "\\0")
    return clean if len(clean) <= limit else "…" + clean[1 - limit :]


def _has_infinity(value: Any) -> bool:
    match value:
        case float():
            return math.isinf(value)
        case list():
            return any(map(_has_infinity, value))
        case dict():
            return any(map(_has_infinity, value.values()))
        case _:
            return False
