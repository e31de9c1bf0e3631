"""Tables as reports read them: row by row, as often as wanted, never as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final, Protocol

from worker_service import Permanent

#: A value of a row in a payload; a CSV file has strings alone.
Scalar = str | int | float | bool | None
#: A value whose kind is known.
Cell = str | int | float | bool | date | datetime | None

#: Characters of a column's name; what is longer is cut.
_MAX_NAME: Final = 200
#: More columns than that are a mistake rather than a report.
MAX_COLUMNS: Final = 1000


class Table(Protocol):
    """Named columns over rows."""

    @property
    def columns(self) -> Sequence[str]:
        """Their names: none empty, no two alike."""

    @property
    def numbers_are_text(self) -> bool:
        """Whether numbers are written as strings, so that strings have to be looked at."""

    @property
    def share_read(self) -> float:
        """How much of the rows the last `rows()` has given, from 0 to 1."""

    def rows(self) -> Iterator[Sequence[Scalar]]:
        """The rows from the first on, each with one value for each column.

        Raises:
            Permanent: What the rows are read from is no table; the message names the line.
        """


class InlineTable:
    """The rows of a payload. A row may lack columns; they come in the order in which they first appear."""

    numbers_are_text: Final = False

    def __init__(self, rows: Sequence[Mapping[str, Scalar]]) -> None:
        self._rows = rows
        self._keys = list(dict.fromkeys(key for row in rows for key in row))
        self.columns: Final = column_names(self._keys)
        self._given = 0

    @property
    def share_read(self) -> float:
        """How much of the rows the last `rows()` has given, from 0 to 1."""
        return self._given / max(1, len(self._rows))

    def rows(self) -> Iterator[Sequence[Scalar]]:
        """The rows from the first on."""
        for number, row in enumerate(self._rows, 1):
            self._given = number
            yield [row.get(key) for key in self._keys]


def column_names(given: Sequence[str]) -> list[str]:
    """Names for columns: one that is empty gets its number, one that stands twice is told apart by a number.

    Raises:
        Permanent: There are none, or too many.
    """
    if not given:
        raise Permanent("the table has no columns")
    if len(given) > MAX_COLUMNS:
        raise Permanent(f"the table has {len(given):,} columns, {MAX_COLUMNS:,} are allowed")
    names: dict[str, None] = {}
    for number, text in enumerate(given, 1):
        name = wanted = text.strip()[:_MAX_NAME] or f"column {number}"
        repeat = 2
        while name in names:
            name = f"{wanted} ({repeat})"
            repeat += 1
        names[name] = None
    return list(names)
