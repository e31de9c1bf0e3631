"""Where things stand on the pages of a PDF. Pure: sizes in points, from the lower left corner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from worker_service.library.reports.profile import Column, Profile

_A4_SHORT: Final = 595.0
_A4_LONG: Final = 842.0
MARGIN: Final = 36.0
ROW_HEIGHT: Final = 13.0
SIZE: Final = 7.5
#: Between a text and the edge of its cell.
PADDING: Final = 4.0
#: Height that title and page number take above and below a table.
_HEAD: Final = 22.0
_FOOT: Final = 16.0

_NARROWEST: Final = 30.0
_WIDEST: Final = 230.0


@dataclass(frozen=True, slots=True)
class Box:
    """A column of the table on a page."""

    index: int
    x: float
    width: float
    right_aligned: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The pages of a table.

    Attributes:
        width: Of a page.
        height: Of a page.
        number_width: Width of the column with the numbers of the rows, which every page begins with.
        groups: The columns of a table that is wider than a page, page by page.
        rows_a_page: Rows on each page, without the header.
    """

    width: float
    height: float
    number_width: float
    groups: Sequence[Sequence[Box]]
    rows_a_page: int

    def table_pages(self, rows: int) -> int:
        """How many pages so many rows take."""
        return len(self.groups) * -(-rows // self.rows_a_page)

    @property
    def top(self) -> float:
        """Where the header of the table begins."""
        return self.height - MARGIN - _HEAD


def lay_out(profile: Profile, width_of: Callable[[str], float]) -> Layout:
    """Upright where the table fits, else sideways, else in groups of columns.

    Args:
        profile: The table.
        width_of: The width of a text in the table.
    """
    one = width_of("0")
    number_width = one * len(str(profile.rows)) + 2 * PADDING
    widths = [_width(column, one, width_of) for column in profile.columns]
    needed = number_width + sum(widths) + 2 * MARGIN
    width, height = (_A4_SHORT, _A4_LONG) if needed <= _A4_SHORT else (_A4_LONG, _A4_SHORT)
    groups = _groups(profile.columns, widths, left=MARGIN + number_width, right=width - MARGIN)
    rows_a_page = int((height - 2 * MARGIN - _HEAD - _FOOT) // ROW_HEIGHT) - 1
    return Layout(width, height, number_width, groups, rows_a_page)


def _width(column: Column, one: float, width_of: Callable[[str], float]) -> float:
    named = min(width_of(column.name[:60]), _WIDEST / 2)
    # Digits all have the width of a zero; other texts are about as wide on the average.
    wanted = max(named, column.longest * one) + 2 * PADDING
    return min(_WIDEST, max(_NARROWEST, wanted))


def _groups(columns: Sequence[Column], widths: Sequence[float], *, left: float, right: float) -> list[list[Box]]:
    groups: list[list[Box]] = [[]]
    x = left
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        if x + width > right and groups[-1]:
            groups.append([])
            x = left
        groups[-1].append(Box(index, x, width, right_aligned=column.is_number))
        x += width
    return groups
