"""Times as clients write them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
# Years that every calculation with a zone or a margin stays within.
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000


def parse_moment(text: object) -> datetime:
    """The UTC time that an RFC 3339 text with a zone stands for.

    Raises:
        ValueError: It is no such text, or lies before 1970 or after 9000.
    """
    if isinstance(text, datetime):
        return text
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise ValueError("must be a time with a zone, like 2030-01-31T12:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
