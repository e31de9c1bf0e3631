"""What a value is: a number, a date, a truth value or text."""

import math
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from worker_service.library.reports.table import Cell, Scalar


class Kind(StrEnum):
    """The kind of a column. The values stand in results: never rename one."""

    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    BOOLEAN = "boolean"
    TEXT = "text"


# Leading zeros and signs belong to numbers of articles, telephones and accounts, which nobody adds up; a float
# holds 15 digits, and what has more is a number of that sort too.
_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
_BOOLEANS: Final = {"true": True, "false": False}
_MAX_WHOLE: Final = 10**15


def is_missing(value: Scalar) -> bool:
    """Whether there is nothing: null, or a string of spaces alone."""
    return value is None or (isinstance(value, str) and not value.strip())


def kind_of(value: Scalar, *, numbers_are_text: bool) -> Kind:
    """The kind of a value that is not missing.

    Args:
        value: As it stands in the table.
        numbers_are_text: Whether strings may stand for numbers and truth values.
    """
    match value:
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.NUMBER if abs(value) < _MAX_WHOLE else Kind.TEXT
        case float():
            return Kind.NUMBER
        case str():
            return _kind_of_text(value.strip(), numbers_are_text=numbers_are_text)
        case None:
            return Kind.TEXT


def common(first: Kind | None, second: Kind) -> Kind:
    """The kind of a column that holds values of both kinds."""
    if first is None or first is second:
        return second
    return Kind.TIME if {first, second} == {Kind.DATE, Kind.TIME} else Kind.TEXT


def cell(value: Scalar, kind: Kind) -> Cell:
    """A value as one of its column's kind; times lose their zone and are UTC. None where it is missing.

    In a column of text, whatever is no string stays what it is.
    """
    if is_missing(value):
        return None
    if not isinstance(value, str) or kind is Kind.TEXT:
        return value
    text = value.strip()
    match kind:
        case Kind.NUMBER:
            return int(text) if text.lstrip("-").isdigit() else float(text)
        case Kind.BOOLEAN:
            return _BOOLEANS[text.lower()]
        case Kind.DATE:
            return date.fromisoformat(text)
        case Kind.TIME:
            return _utc(text)


def shown(value: Scalar) -> str:
    """A value for people: strings as they are, numbers without noise."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def _kind_of_text(text: str, *, numbers_are_text: bool) -> Kind:
    if numbers_are_text:
        if _NUMBER.fullmatch(text):
            return Kind.NUMBER if math.isfinite(float(text)) else Kind.TEXT
        if text.lower() in _BOOLEANS:
            return Kind.BOOLEAN
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return Kind.DATE
        if _TIME.fullmatch(text):
            _utc(text)
            return Kind.TIME
    except (ValueError, OverflowError):  # the 31st of February, or the year 0 in UTC
        pass
    return Kind.TEXT


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
