"""What a report knows of its table after the first reading: kinds, figures and curves, in memory that never grows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from worker_service.library.reports.kinds import Kind, cell, common, is_missing, kind_of, shown
from worker_service.library.reports.table import Cell, Scalar, Table

#: Takes the share of a stage that is done, from 0 to 1, and a few words. Raises where the report is to stop.
Tell = Callable[[float, str], None]

#: Rows between two words on how far a stage is.
ROWS_A_WORD: Final = 500
#: Points of a curve: more can't be told apart on paper.
CURVE_POINTS: Final = 120
#: A table of so few rows is shown as bars, one for each row.
BARS: Final = 24
_MAX_LABEL: Final = 80
#: Characters of a value that count for the width of its column.
_WIDEST: Final = 48


@dataclass(slots=True)
class Curve:
    """The course of a column: means of equally many rows each, which double as the table grows."""

    rows_a_point: int = 1
    sums: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    _in_last: int = 0

    def add(self, value: float | None) -> None:
        """Take the value of the next row; None where it is missing."""
        if self._in_last == self.rows_a_point or not self.sums:
            self._next_point()
        self._in_last += 1
        if value is not None:
            self.sums[-1] += value
            self.counts[-1] += 1

    def points(self) -> list[float | None]:
        """The means; None where all values are missing or their sum is beyond numbers."""
        means = [total / count if count else math.nan for total, count in zip(self.sums, self.counts, strict=True)]
        return [finite(mean) for mean in means]

    def _next_point(self) -> None:
        if len(self.sums) == 2 * CURVE_POINTS:
            self.sums = [sum(pair) for pair in _pairs(self.sums)]
            self.counts = [sum(pair) for pair in _pairs(self.counts)]
            self.rows_a_point *= 2
        self.sums.append(0.0)
        self.counts.append(0)
        self._in_last = 0


@dataclass(slots=True)
class Column:
    """One column.

    Attributes:
        name: As the header has it.
        kind: None while no value was seen.
        count: Values that are there.
        missing: Values that are not.
        longest: Characters of its longest value, or of its name; a limit is set to both.
        least: The least value: a number, or a date as text. None for text.
        greatest: The same for the greatest.
        is_whole: Whether all its numbers are whole.
        mean: Of numbers.
        first: The values of the first rows, for people.
    """

    name: str
    kind: Kind | None = None
    count: int = 0
    missing: int = 0
    longest: int = 0
    least: Any = None
    greatest: Any = None
    is_whole: bool = True
    mean: float = 0.0
    curve: Curve = field(default_factory=Curve)
    first: list[str] = field(default_factory=list)
    _squares: float = 0.0

    @property
    def is_number(self) -> bool:
        """Whether there is something to compute and to draw."""
        return self.kind is Kind.NUMBER

    def add(self, value: Scalar, *, numbers_are_text: bool) -> None:
        """Take the value of the next row."""
        if len(self.first) < BARS:
            self.first.append(shown(value)[:_MAX_LABEL])
        if is_missing(value):
            self.missing += 1
            self.curve.add(None)
            return
        self.count += 1
        self.longest = max(self.longest, min(_WIDEST, len(shown(value))))
        if self.kind is not Kind.TEXT:
            self._measure(value, common(self.kind, kind_of(value, numbers_are_text=numbers_are_text)))

    def deviation(self) -> float | None:
        """The standard deviation of numbers, of a sample; None for fewer than two."""
        return finite(math.sqrt(self._squares / (self.count - 1))) if self.is_number and self.count > 1 else None

    def figures(self) -> dict[str, Any]:
        """The column in JSON."""
        known: dict[str, Any] = {"name": self.name, "kind": self.kind or Kind.TEXT, "count": self.count}
        known["missing"] = self.missing
        if self.least is not None:
            known |= {"min": plain(self.least), "max": plain(self.greatest)}
        if self.is_number:
            known |= {"mean": finite(self.mean), "std": self.deviation()}
        return known

    def _measure(self, value: Scalar, kind: Kind) -> None:
        if self.kind is Kind.DATE and kind is Kind.TIME:  # dates were compared so far
            self.least = cell(self.least.isoformat(), kind)
            self.greatest = cell(self.greatest.isoformat(), kind)
        self.kind = kind
        if kind in (Kind.TEXT, Kind.BOOLEAN):
            self.least = self.greatest = None
            return
        known: Any = cell(value, kind)
        self.least = known if self.least is None else min(self.least, known)
        self.greatest = known if self.greatest is None else max(self.greatest, known)
        if kind is Kind.NUMBER:
            number = float(known)
            self.is_whole = self.is_whole and number.is_integer()
            self.curve.add(number)
            # Welford's way: one reading, and no difference of large sums.
            step = number - self.mean
            self.mean += step / self.count
            self._squares += step * (number - self.mean)


@dataclass(frozen=True, slots=True)
class Profile:
    """A table after its first reading."""

    columns: Sequence[Column]
    rows: int

    def numbers(self) -> list[Column]:
        """The columns that can be computed and drawn."""
        return [column for column in self.columns if column.is_number and column.count]

    def labels(self) -> list[str]:
        """What the first rows are called: their first column that is no number, else their numbers."""
        named = next((column for column in self.columns if column.count and not column.is_number), None)
        return list(named.first) if named else [str(number) for number in range(1, min(self.rows, BARS) + 1)]


def read_profile(table: Table, tell: Tell) -> Profile:
    """Read a table from beginning to end.

    Raises:
        Permanent: It is none; the message names the line.
    """
    columns = [Column(name, longest=min(_WIDEST, len(name))) for name in table.columns]
    numbers_are_text = table.numbers_are_text
    rows = 0
    tell(0.0, "reading rows")
    for rows, row in enumerate(table.rows(), 1):
        for column, value in zip(columns, row, strict=True):
            column.add(value, numbers_are_text=numbers_are_text)
        if rows % ROWS_A_WORD == 0:
            tell(table.share_read, f"reading rows: {rows:,}")
    tell(1.0, f"read {rows:,} rows")
    return Profile(columns, rows)


def finite(number: float) -> float | None:
    """A number that JSON can hold, or None."""
    return number if math.isfinite(number) else None


def plain(value: Cell) -> Any:
    """A value as JSON has it: dates are text."""
    return value if value is None or isinstance(value, str | int | float) else value.isoformat()


def _pairs(values: Sequence[Any]) -> list[Sequence[Any]]:
    return [values[at : at + 2] for at in range(0, len(values), 2)]
