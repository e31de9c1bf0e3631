"""What is wrong with an input, and where."""

from collections.abc import Iterable
from typing import Final

#: A place (a JSON pointer into the body, RFC 6901) and what is wrong there.
Fault = tuple[str, str]

#: At most so many faults are named at once.
MAX_FAULTS: Final = 50


def pointer(parts: Iterable[str | int]) -> str:
    """A JSON pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
