"""A report as an Excel file, written row by row into files on the disk."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileSizeError

from worker_service import Permanent
from worker_service.library.reports.kinds import Kind, cell, shown
from worker_service.library.reports.profile import BARS, ROWS_A_WORD, Column, Profile, Tell
from worker_service.library.reports.table import Cell, Scalar, Table

MEDIA_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

#: Rows of a sheet besides its header, and characters of a cell: limits of the format.
MAX_ROWS: Final = 1_048_575
_MAX_TEXT: Final = 32_767
#: The format counts days from 1900 on, with a day too many in its second month.
_FIRST_YEAR: Final = 1901

# Characters that no XML file may hold, not even escaped.
_NO_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: Native charts, one below the other.
CHARTS: Final = 8
_ROWS_A_CHART: Final = 16

_FORMATS: Final[Mapping[str, Mapping[str, Any]]] = {
    "title": {"bold": True, "font_size": 16, "font_color": "#1F5F99"},
    "faint": {"font_color": "#7B8794"},
    "header": {"bold": True, "bg_color": "#E4ECF4", "bottom": 1, "border_color": "#1F5F99", "text_wrap": True},
    "whole": {"num_format": "#,##0"},
    "number": {"num_format": "#,##0.00##"},
    "huge": {"num_format": "0.0000E+00"},
    "date": {"num_format": "yyyy-mm-dd"},
    "time": {"num_format": "yyyy-mm-dd hh:mm:ss"},
}
_FIGURES: Final = ("name", "kind", "count", "missing", "min", "max", "mean", "std")
_HEADINGS: Final = ("Column", "Kind", "Values", "Missing", "Least", "Greatest", "Mean", "Deviation")


def write_excel(path: Path, title: str, table: Table, profile: Profile, tell: Tell) -> None:
    """Write a report: the sheets Data, Summary and Charts.

    Args:
        path: The file; its folder takes the temporary files too.
        title: Heads the summary.
        table: The rows.
        profile: What is known of them.
        tell: Hears of every few rows.

    Raises:
        Permanent: A sheet has no room for the table.
    """
    if profile.rows > MAX_ROWS:
        raise Permanent(f"a sheet of Excel holds {MAX_ROWS:,} rows, and this table has {profile.rows:,}: split it")
    # What is text stays text: nothing becomes a formula, a link or a number.
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    workbook = Workbook(str(path), options)
    try:
        _Sheets(workbook, profile).write(title, table, tell)
        tell(1.0, "packing the file")
        workbook.close()
    except FileSizeError as error:
        raise Permanent("the table is too large for an Excel file: split it") from error


class _Sheets:
    def __init__(self, workbook: Any, profile: Profile) -> None:
        self._workbook = workbook
        self._profile = profile
        self._formats = {name: workbook.add_format(dict(parts)) for name, parts in _FORMATS.items()}

    def write(self, title: str, table: Table, tell: Tell) -> None:
        self._workbook.set_properties({"title": _fitting(title)[:255], "author": "Taskmill"})
        data = self._workbook.add_worksheet("Data")
        summary = self._workbook.add_worksheet("Summary")
        charts = self._workbook.add_worksheet("Charts")
        self._write_data(data, table, tell)
        self._write_summary(summary, title)
        self._write_charts(charts)

    def _write_data(self, sheet: Any, table: Table, tell: Tell) -> None:
        columns = self._profile.columns
        for index, column in enumerate(columns):
            sheet.set_column(index, index, min(60, max(8, column.longest, min(len(column.name), 20)) + 3))
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(1, self._profile.rows), len(columns) - 1)
        for index, column in enumerate(columns):
            sheet.write_string(0, index, _fitting(column.name), self._formats["header"])
        kinds = [column.kind or Kind.TEXT for column in columns]
        formats = [self._format_of(column) for column in columns]
        for number, row in enumerate(table.rows(), 1):
            self._write_row(sheet, number, row, kinds, formats)
            if number % ROWS_A_WORD == 0:
                tell(number / self._profile.rows, f"writing rows: {number:,} of {self._profile.rows:,}")

    @staticmethod
    def _write_row(
        sheet: Any, number: int, row: Sequence[Scalar], kinds: Sequence[Kind], formats: Sequence[Any]
    ) -> None:
        for index, (value, kind) in enumerate(zip(row, kinds, strict=True)):
            _write(sheet, number, index, cell(value, kind), formats[index])

    def _format_of(self, column: Column) -> Any:
        match column.kind:
            case Kind.DATE | Kind.TIME as kind:
                return self._formats[kind.value]
            case Kind.NUMBER if max(abs(column.least), abs(column.greatest)) >= 1e15:
                return self._formats["huge"]
            case Kind.NUMBER:
                return self._formats["whole" if column.is_whole else "number"]
            case _:
                return None

    def _write_summary(self, sheet: Any, title: str) -> None:
        sheet.set_column(0, 0, 30)
        sheet.set_column(1, len(_FIGURES) - 1, 16)
        sheet.write_string(0, 0, _fitting(title), self._formats["title"])
        size = f"{self._profile.rows:,} rows, {len(self._profile.columns):,} columns"
        facts = f"{size}, made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        sheet.write_string(1, 0, facts, self._formats["faint"])
        for index, heading in enumerate(_HEADINGS):
            sheet.write_string(3, index, heading, self._formats["header"])
        sheet.freeze_panes(4, 1)
        for line, column in enumerate(self._profile.columns, 4):
            figures = column.figures()
            for index, name in enumerate(_FIGURES):
                _write(sheet, line, index, figures.get(name), self._formats["whole"] if 2 <= index <= 3 else None)

    # Charts .........................................................................

    def _write_charts(self, sheet: Any) -> None:
        """Points in the sheet itself, a native chart for each column of numbers beside them."""
        columns = self._profile.numbers()[:CHARTS]
        if not columns:
            sheet.write_string(0, 0, "There are no numbers to draw.", self._formats["faint"])
            return
        points = [column.curve.points() for column in columns]
        sheet.set_column(0, len(columns), 14)
        sheet.write_string(0, 0, "Row", self._formats["header"])
        for index, column in enumerate(columns, 1):
            sheet.write_string(0, index, _fitting(column.name), self._formats["header"])
        for line, label in enumerate(self._labels(columns[0]), 1):
            _write(sheet, line, 0, label, None)
            for index, heights in enumerate(points, 1):
                _write(sheet, line, index, heights[line - 1], None)
        for place, column in enumerate(columns):
            sheet.insert_chart(place * _ROWS_A_CHART, len(columns) + 2, self._chart(place + 1, column))

    def _labels(self, column: Column) -> list[Cell]:
        if self._profile.rows <= BARS:
            return list(self._profile.labels())
        step = column.curve.rows_a_point
        return [place * step + 1 for place in range(len(column.curve.sums))]

    def _chart(self, index: int, column: Column) -> Any:
        last = len(column.curve.sums)
        chart = self._workbook.add_chart({"type": "column" if self._profile.rows <= BARS else "line"})
        chart.add_series(
            {
                "name": ["Charts", 0, index],
                "categories": ["Charts", 1, 0, last, 0],
                "values": ["Charts", 1, index, last, index],
                "line": {"width": 1.5, "color": "#2F7EBC"},
                "fill": {"color": "#2F7EBC"},
            }
        )
        chart.set_title({"name": ["Charts", 0, index], "name_font": {"size": 11}})
        chart.set_legend({"none": True})
        chart.set_size({"width": 640, "height": 300})
        return chart


def _write(sheet: Any, line: int, index: int, value: Cell, form: Any) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(line, index, value)
        case int() if abs(value) >= 10**15:  # Excel would round it
            sheet.write_string(line, index, shown(value)[:_MAX_TEXT])
        case int() | float():
            sheet.write_number(line, index, value, form)
        case date():
            if value.year < _FIRST_YEAR:
                sheet.write_string(line, index, value.isoformat())
            else:
                sheet.write_datetime(line, index, value, form)
        case str():
            sheet.write_string(line, index, _fitting(value))


def _fitting(text: str) -> str:
    text = _NO_XML.sub("�", text)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
