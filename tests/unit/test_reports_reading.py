"""Tables of reports: read from CSV files and payloads, and what is known of them afterwards."""

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker_service import Permanent
from worker_service.library.reports.csv_source import CsvTable
from worker_service.library.reports.kinds import Kind
from worker_service.library.reports.naming import slug
from worker_service.library.reports.profile import CURVE_POINTS, Column, Profile, read_profile
from worker_service.library.reports.table import MAX_COLUMNS, InlineTable

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a CSV file."""

    def write_file(data: bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(data)
        return path

    return write_file


def quietly(share: float, message: str) -> None:
    assert 0 <= share <= 1


def rows_of(path: Path, delimiter: str | None = None) -> list[Sequence[Any]]:
    return list(CsvTable(path, delimiter).rows())


def kinds_of(rows: list[dict[str, Any]]) -> dict[str, Kind | None]:
    return {column.name: column.kind for column in read_profile(InlineTable(rows), quietly).columns}


def profile_of(path: Path) -> Profile:
    return read_profile(CsvTable(path), quietly)


# CSV files ............................................................................


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a mark"])
def test_a_byte_order_mark_belongs_to_no_column(write: Write, mark: bytes) -> None:
    table = CsvTable(write(mark + "größe,ort\n1,Köln\n".encode()))

    assert list(table.columns) == ["größe", "ort"]
    assert list(table.rows()) == [["1", "Köln"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_what_the_header_has_most_of(write: Write, delimiter: str) -> None:
    path = write(f'"a,b;c",x{delimiter}y{delimiter}z\n'.replace(",x", f"{delimiter}x").encode())

    assert len(CsvTable(path).columns) == 4


def test_a_delimiter_that_is_named_is_taken(write: Write) -> None:
    path = write(b"a,b,c;d\n1,2,3;4\n")

    assert rows_of(path, ";") == [["1,2,3", "4"]]


def test_quoted_cells_may_hold_line_breaks_and_delimiters(write: Write) -> None:
    assert rows_of(write(b'a,b\r\n"1\r\n2","x,""y"""\r\n')) == [["1\r\n2", 'x,"y"']]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_in_any_usual_way(write: Write, ending: bytes) -> None:
    assert rows_of(write(ending.join([b"a,b", b"1,2", b"3,4"]))) == [["1", "2"], ["3", "4"]]


def test_a_short_row_is_filled_and_blank_lines_are_passed_over(write: Write) -> None:
    assert rows_of(write(b"a,b,c\n\n1\n\n2,3,4,,\n")) == [["1", "", ""], ["2", "3", "4"]]


def test_columns_without_a_name_and_of_the_same_name_are_told_apart(write: Write) -> None:
    assert list(CsvTable(write(b"a,,a,a (2)\n")).columns) == ["a", "column 2", "a (2)", "a (2) (2)"]


def test_names_of_columns_are_cut_and_stay_different(write: Write) -> None:
    names = CsvTable(write(b"x" * 1000 + b"," + b"x" * 2000)).columns

    assert names == ["x" * 200, "x" * 200 + " (2)"]


def test_a_table_can_be_read_twice(write: Write) -> None:
    table = CsvTable(write(b"a\n1\n2\n"))

    assert list(table.rows()) == list(table.rows()) == [["1"], ["2"]]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "the CSV source is empty"),
        (b"\n\n", "the CSV source is empty"),
        (b"a,b\n1,2\n3,4,5\n", "line 3: has 3 cells, the header has 2"),
        (b"a,b\n1,2\n\xff,4\n", "line 3: byte 0xff is not UTF-8"),
        (b"a\n" + b"x\n" * 70_000 + b"\xe4\n", "line 70002: byte 0xe4 is not UTF-8"),
        (b"gr\xf6\xdfe\n1\n", "line 1: byte 0xf6 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b'a,b\n1,"2\n', "the closing quote is missing"),
        (b'a,b\n1,"' + b"x\n" * 100_000, "a cell is longer than 131,072 characters"),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "line 2: a cell is longer than 131,072 characters"),
        (b"a,b\n" + b"1," * 600_000, "line 2: is longer than 1,048,576 characters"),
        (b",".join([b"a"] * (MAX_COLUMNS + 1)), "has 1,001 columns, 1,000 are allowed"),
    ],
    ids=[
        "nothing",
        "blank lines",
        "long row",
        "a byte",
        "a byte far down",
        "latin-1",
        "utf-16",
        "open at the end",
        "open for long",
        "long cell",
        "long line",
        "many columns",
    ],
)
def test_what_is_no_table_is_refused_with_its_line(write: Write, data: bytes, message: str) -> None:
    path = write(data)

    with pytest.raises(Permanent, match=message.replace("(", r"\(")):
        rows_of(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_random_bytes_are_a_table_or_refused(write: Write, data: bytes) -> None:
    path = write(data)

    with contextlib.suppress(Permanent):  # anything else fails the test
        profile = profile_of(path)
        assert all(column.count + column.missing == profile.rows for column in profile.columns)


# Kinds ................................................................................


@pytest.mark.parametrize(
    "cells, kind",
    [
        (["1", "-2.5", "1e3", ".5", " 7 "], Kind.NUMBER),
        (["1", ""], Kind.NUMBER),
        (["007", "42"], Kind.TEXT),
        (["+491701", "1"], Kind.TEXT),
        (["1234567890123456"], Kind.TEXT),
        (["1e999"], Kind.TEXT),
        (["nan", "1"], Kind.TEXT),
        (["١٢"], Kind.TEXT),
        (["2026-01-31", "1999-12-01"], Kind.DATE),
        (["2026-02-31"], Kind.TEXT),
        (["2026-01-31T10:00:00Z", "2026-01-31 10:00"], Kind.TIME),
        (["2026-01-31", "2026-01-31T10:00:00+02:00"], Kind.TIME),
        (["0001-01-01T00:00+02:00"], Kind.TEXT),
        (["true", "FALSE"], Kind.BOOLEAN),
        (["true", "1"], Kind.TEXT),
        (["=1+1"], Kind.TEXT),
        (["", " "], None),
    ],
    ids=repr,
)
def test_the_kind_of_a_column_is_what_all_its_cells_have_in_common(
    write: Write, cells: list[str], kind: Kind | None
) -> None:
    profile = profile_of(write("\n".join(["a,b", *(f"{cell},x" for cell in cells)]).encode()))

    assert profile.columns[0].kind == kind


def test_strings_of_a_payload_are_no_numbers() -> None:
    assert kinds_of([{"a": "1", "b": 1, "c": "true", "d": True, "e": "2026-01-01", "f": 10**15}]) == {
        "a": Kind.TEXT, "b": Kind.NUMBER, "c": Kind.TEXT, "d": Kind.BOOLEAN, "e": Kind.DATE, "f": Kind.TEXT,
    }  # fmt: skip


def test_rows_of_a_payload_may_lack_columns() -> None:
    table = InlineTable([{"a": 1}, {"b": 2, "a": None}, {}])

    assert list(table.columns) == ["a", "b"]
    assert list(table.rows()) == [[1, None], [None, 2], [None, None]]


def test_rows_without_any_column_are_refused() -> None:
    with pytest.raises(Permanent, match="no columns"):
        InlineTable([{}, {}])


# Profiles .............................................................................


def test_dates_are_compared_as_dates_even_when_times_come_later(write: Write) -> None:
    column = profile_of(write(b"d\n2026-01-02\n2026-01-02T08:00:00+10:00\n2026-01-03\n")).columns[0]

    assert column.figures() == {
        "name": "d", "kind": "time", "count": 3, "missing": 0,
        "min": "2026-01-01T22:00:00", "max": "2026-01-03T00:00:00",
    }  # fmt: skip


@given(st.lists(st.floats(-1e12, 1e12) | st.none(), min_size=1, max_size=300))
def test_figures_are_those_of_the_standard_library(values: list[float | None]) -> None:
    column = Column("n")
    for value in values:
        column.add(value, numbers_are_text=False)

    known = [value for value in values if value is not None]
    scale = max([1.0, *map(abs, known)])
    assert (column.count, column.missing) == (len(known), len(values) - len(known))
    if known:
        assert (column.least, column.greatest) == (min(known), max(known))
        assert math.isclose(column.mean, statistics.fmean(known), abs_tol=1e-9 * scale)
    if len(known) > 1:
        assert math.isclose(column.deviation() or 0.0, statistics.stdev(known), rel_tol=1e-6, abs_tol=1e-6 * scale)


@pytest.mark.parametrize("rows", [1, 24, 239, 240, 241, 10_000])
def test_a_curve_keeps_its_mean_however_long_it_is(rows: int) -> None:
    column = Column("n")
    for value in range(rows):
        column.add(value, numbers_are_text=False)

    points = column.curve.points()
    assert len(points) <= 2 * CURVE_POINTS
    assert points == sorted(points, key=lambda point: point or 0.0)
    weights = column.curve.counts
    assert sum(weights) == rows
    total = sum((point or 0.0) * weight for point, weight in zip(points, weights, strict=True))
    assert math.isclose(total, rows * (rows - 1) / 2)


def test_reading_says_how_far_it_is(write: Write) -> None:
    said: list[tuple[float, str]] = []

    read_profile(CsvTable(write(b"a\n" + b"1\n" * 2000)), lambda share, message: said.append((share, message)))

    assert [message for _, message in said] == [
        "reading rows", "reading rows: 500", "reading rows: 1,000", "reading rows: 1,500", "reading rows: 2,000",
        "read 2,000 rows",
    ]  # fmt: skip
    assert [share for share, _ in said] == sorted(share for share, _ in said)


# Names ................................................................................


@pytest.mark.parametrize(
    "title, name",
    [
        ("Sales 2026", "sales-2026"),
        ("Größe & Wert", "groe-wert"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("отчёт", "report"),
        ("\x00", "report"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_file_is_named_after_the_title(title: str, name: str) -> None:
    assert slug(title) == name
