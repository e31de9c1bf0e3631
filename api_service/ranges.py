"""Which bytes of a file a request asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass
from typing import Final

#: One range. Several at once would be answered as `multipart/byteranges`, which nobody has to offer.
_ONE_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,30})-([0-9]{0,30})[ \t]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to `stop`, which is not among them."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        return self.stop - self.start


class UnsatisfiableRangeError(Exception):
    """The file has none of the bytes that are asked for."""


def read_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The range that a `Range` header asks for; None for the whole file, as also for what can't be read.

    Raises:
        UnsatisfiableRangeError: It begins behind the end of the file, or asks for its last 0 bytes.
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, stop = max(0, size_bytes - int(last)), size_bytes
    else:
        start, stop = int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
        if last and int(last) < start:
            return None
    if start >= size_bytes:
        raise UnsatisfiableRangeError
    return ByteRange(start, stop)
