"""A report as a PDF, drawn page by page: what a page shows is forgotten when the next one begins."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas

from worker_service import Permanent
from worker_service.library.reports.kinds import shown
from worker_service.library.reports.pdf_charts import CHARTS, draw_charts
from worker_service.library.reports.pdf_layout import MARGIN, PADDING, ROW_HEIGHT, SIZE, Box, lay_out
from worker_service.library.reports.pdf_text import BOLD, PLAIN, Face, face
from worker_service.library.reports.profile import Profile, Tell
from worker_service.library.reports.table import Scalar, Table

#: Cells that a PDF may hold: some thousands of pages, which nobody reads.
MAX_CELLS: Final = 2_000_000

_INK: Final = HexColor("#1f2933")
_FAINT: Final = HexColor("#7b8794")
_ACCENT: Final = HexColor("#1f5f99")
_HEADER: Final = HexColor("#e4ecf4")
_STRIPE: Final = HexColor("#f6f8fa")
_RULE: Final = HexColor("#cbd2d9")

_TITLE_SIZE: Final = 20.0
_TITLE_LINES: Final = 3
#: Columns that the summary lists.
_SUMMARY_COLUMNS: Final = 24
_FIGURES: Final = ("count", "missing", "min", "max", "mean", "std")
_NO_ROWS: Final = "The table has no rows."


def draw_pdf(path: Path, title: str, table: Table, profile: Profile, tell: Tell) -> int:
    """Draw a report and return how many pages it has.

    Raises:
        Permanent: The table is too large for a PDF.
    """
    cells = profile.rows * len(profile.columns)
    if cells > MAX_CELLS:
        raise Permanent(
            f"a PDF holds up to {MAX_CELLS:,} cells, and this table has {cells:,}:"
            " use the format 'excel' or 'analysis'"
        )
    rl_config.useA85 = 0  # as text a page would be a quarter larger
    return _Document(path, title, profile).draw(table, tell)


class _Document:
    def __init__(self, path: Path, title: str, profile: Profile) -> None:
        self._plain = face(PLAIN)
        self._bold = face(BOLD)
        self._profile = profile
        self._title = self._bold.clean(title)
        self._names = [self._bold.clean(column.name) for column in profile.columns]
        self._layout = lay_out(profile, lambda text: self._bold.width(self._bold.clean(text), SIZE))
        self._has_charts = bool(profile.numbers()) and profile.rows > 0
        self._pages = 1 + self._has_charts + self._layout.table_pages(profile.rows)
        self._page = 0
        self._canvas = Canvas(str(path), pagesize=(self._layout.width, self._layout.height), pageCompression=1)
        self._canvas.setTitle(self._title)
        self._canvas.setCreator("Taskmill")

    def draw(self, table: Table, tell: Tell) -> int:
        self._draw_front(tell)
        for number, rows in _chunks(table, self._layout.rows_a_page):
            for group in self._layout.groups:
                self._begin_page(tell)
                self._draw_table(group, number, rows)
                self._end_page()
        tell(1.0, f"writing {self._pages} pages")
        self._canvas.save()
        return self._page

    # Pages ..........................................................................

    def _begin_page(self, tell: Tell) -> None:
        tell(self._page / self._pages, f"drawing pages: {self._page + 1} of {self._pages}")
        self._page += 1

    def _end_page(self) -> None:
        size = 7.0
        number = f"page {self._page} of {self._pages}"
        text = self._text(self._plain, size, _FAINT)
        room = self._layout.width - 2 * MARGIN - self._plain.width(number, size) - 12
        self._plain.write(text, MARGIN, MARGIN - 8, self._plain.cut(self._plain.clean(self._title), size, room), size)
        x = self._layout.width - MARGIN - self._plain.width(number, size)
        self._plain.write(text, x, MARGIN - 8, number, size)
        self._canvas.drawText(text)
        self._canvas.showPage()

    def _text(self, font: Face, size: float, colour: Any = _INK) -> Any:
        text = self._canvas.beginText()
        text.setFont(font.name, size)
        text.setFillColor(colour)
        return text

    # The front ......................................................................

    def _draw_front(self, tell: Tell) -> None:
        self._begin_page(tell)
        y = self._draw_title(self._layout.height - MARGIN - _TITLE_SIZE)
        self._draw_summary(y - 26)
        self._end_page()
        if self._has_charts:
            self._begin_page(tell)
            self._draw_heading(f"{min(CHARTS, len(self._profile.numbers()))} columns as charts")
            draw_charts(self._canvas, self._profile, self._layout)
            self._end_page()

    def _draw_title(self, y: float) -> float:
        room = self._layout.width - 2 * MARGIN
        text = self._text(self._bold, _TITLE_SIZE, _ACCENT)
        for line in _wrapped(self._title, self._bold, _TITLE_SIZE, room):
            self._bold.write(text, MARGIN, y, line, _TITLE_SIZE)
            y -= _TITLE_SIZE * 1.25
        self._canvas.drawText(text)
        facts = (
            f"{self._profile.rows:,} rows, {len(self._profile.columns):,} columns · "
            f"made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        )
        text = self._text(self._plain, 9, _FAINT)
        self._plain.write(text, MARGIN, y, facts, 9)
        self._canvas.drawText(text)
        return y

    def _draw_heading(self, heading: str) -> None:
        text = self._text(self._bold, 10, _ACCENT)
        self._bold.write(text, MARGIN, self._layout.height - MARGIN - 6, self._bold.clean(heading), 10)
        self._canvas.drawText(text)

    def _draw_summary(self, y: float) -> None:
        """The figures of the first columns, a line for each."""
        if not self._profile.rows:
            text = self._text(self._plain, 10)
            self._plain.write(text, MARGIN, y, _NO_ROWS, 10)
            self._canvas.drawText(text)
            return
        room = self._layout.width - 2 * MARGIN
        xs = [MARGIN + room * share for share in (0, 0.28, 0.36, 0.45, 0.54, 0.66, 0.78, 0.89, 1.0)]
        columns = self._profile.columns[:_SUMMARY_COLUMNS]
        lines = [[column.name, str(column.figures()["kind"]), *_figures(column.figures())] for column in columns]
        self._draw_line(xs, ["column", "kind", *_FIGURES], y, self._bold)
        for line in lines:
            y -= ROW_HEIGHT
            self._draw_line(xs, line, y, self._plain)
        if more := len(self._profile.columns) - len(columns):
            self._draw_line(xs, [f"and {more:,} more columns"], y - ROW_HEIGHT, self._plain)

    def _draw_line(self, xs: Sequence[float], texts: Sequence[str], y: float, font: Face) -> None:
        page = self._text(font, SIZE)
        for index, text in enumerate(texts):
            cut = font.cut(font.clean(text), SIZE, xs[index + 1] - xs[index] - PADDING)
            font.write(page, xs[index], y, cut, SIZE)
        self._canvas.drawText(page)
        self._canvas.setStrokeColor(_RULE)
        self._canvas.setLineWidth(0.3)
        self._canvas.line(xs[0], y - 3.5, xs[-1], y - 3.5)

    # The table ......................................................................

    def _draw_table(self, group: Sequence[Box], number: int, rows: Sequence[Sequence[Scalar]]) -> None:
        self._draw_heading(self._part(group))
        self._draw_background(group, len(rows))
        top = self._layout.top
        header = self._text(self._bold, SIZE)
        for box in group:
            self._draw_cell(header, self._bold, box, self._names[box.index], top - ROW_HEIGHT + PADDING)
        self._canvas.drawText(header)
        page = self._text(self._plain, SIZE)
        numbers = Box(-1, MARGIN, self._layout.number_width, right_aligned=True)
        clean = self._plain.clean
        for line, row in enumerate(rows):
            y = top - (line + 2) * ROW_HEIGHT + PADDING
            self._draw_cell(page, self._plain, numbers, str(number + line), y)
            for box in group:
                if text := shown(row[box.index]):
                    self._draw_cell(page, self._plain, box, clean(text[:_LONGEST]), y)
        self._canvas.drawText(page)

    def _part(self, group: Sequence[Box]) -> str:
        if len(self._layout.groups) == 1:
            return self._title
        return f"{self._title} · columns {group[0].index + 1} to {group[-1].index + 1} of {len(self._names)}"

    def _draw_background(self, group: Sequence[Box], rows: int) -> None:
        canvas, top = self._canvas, self._layout.top
        width = group[-1].x + group[-1].width - MARGIN
        canvas.setFillColor(_HEADER)
        canvas.rect(MARGIN, top - ROW_HEIGHT, width, ROW_HEIGHT, stroke=0, fill=1)
        canvas.setFillColor(_STRIPE)
        for line in range(1, rows, 2):
            canvas.rect(MARGIN, top - (line + 2) * ROW_HEIGHT, width, ROW_HEIGHT, stroke=0, fill=1)

    @staticmethod
    def _draw_cell(page: Any, font: Face, box: Box, text: str, y: float) -> None:
        text = font.cut(text, SIZE, box.width - 2 * PADDING)
        x = box.x + PADDING
        if box.right_aligned:
            x = box.x + box.width - PADDING - font.width(text, SIZE)
        font.write(page, x, y, text, SIZE)


#: Characters of a value that are looked at: more never fit a cell.
_LONGEST: Final = 200


def _chunks(table: Table, size: int) -> Iterator[tuple[int, list[Sequence[Scalar]]]]:
    """The rows of each page, with the number of the first."""
    rows = iter(table.rows())
    number = 1
    while chunk := list(islice(rows, size)):
        yield number, chunk
        number += len(chunk)


def _figures(figures: dict[str, Any]) -> list[str]:
    return [shown(figures.get(name)) for name in _FIGURES]


def _wrapped(title: str, font: Face, size: float, room: float) -> list[str]:
    """A title on a few lines; what is left over is cut."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.width(longer, size) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = [*lines[: _TITLE_LINES - 1], " ".join(lines[_TITLE_LINES - 1 :])]
    return [font.cut(line, size, room) for line in kept if line]
