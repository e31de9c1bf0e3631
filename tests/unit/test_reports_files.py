"""Reports, opened again by other libraries."""

import io
import json
import math
import statistics
import string
from collections.abc import Callable
from random import Random
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from worker_service import Permanent, SoftTimeout, Stopped
from worker_service.library.reports import dummy as dummy_report
from worker_service.library.reports import excel, pdf
from worker_service.library.reports import heavy as heavy_report
from worker_service.registry import registry
from worker_service.testing import FakeSignals, Run, run_task

SALES = [
    {"day": f"2026-01-{day:02}", "region": region, "units": day * 3, "revenue": day * 10.5}
    for day, region in zip(range(1, 21), ["north", "south"] * 10, strict=True)
]
SOURCE = "/artifacts/01990000-0000-7000-8000-000000000000"
FORMULAS = ["=1+1", "=cmd|'/c calc'!A0", "+1", "-1+2", "@SUM(1)", "{=1}", "\t=1", "http://example.org", "0042"]


def make(format_: str, rows: Any = None, *, title: str = "Sales 2026", csv: bytes | None = None, **more: Any) -> Run:
    """A report of rows, or of a CSV file."""
    table = {"source": SOURCE} if csv is not None else {"rows": SALES if rows is None else rows}
    payload = {"format": format_, "title": title, **table}
    return run_task(heavy_report, payload, files={SOURCE: csv or b""}, **more)


def pdf_of(run: Run) -> PdfReader:
    [data] = [file.data for name, file in run.artifacts.items() if name.endswith(".pdf")]
    return PdfReader(io.BytesIO(data))


def book_of(run: Run) -> Any:
    [file] = run.artifacts.values()
    return openpyxl.load_workbook(io.BytesIO(file.data))


def analysis_of(run: Run) -> dict[str, Any]:
    [data] = [file.data for name, file in run.artifacts.items() if name.endswith(".json")]
    document: dict[str, Any] = json.loads(data)
    return document


def csv_of(rows: int) -> bytes:
    return "\n".join(["id,name,value", *(f"{n},name {n},{n * 7 % 101}" for n in range(1, rows + 1))]).encode()


def words_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


# PDF ..................................................................................


def test_a_pdf_has_a_front_charts_and_the_table_with_numbered_pages() -> None:
    run = make("pdf")

    document = pdf_of(run)
    pages = [page.extract_text() for page in document.pages]
    assert run.result | {"seconds": 0} == {
        "format": "pdf", "title": "Sales 2026", "rows": 20, "columns": 4, "pages": 3,
        "artifacts": ["sales-2026.pdf"], "seconds": 0, "summary": run.result["summary"],
    }  # fmt: skip
    assert [f"page {number} of 3" in page for number, page in enumerate(pages, 1)] == [True] * 3
    assert "Sales 2026" in pages[0]
    assert "20 rows, 4 columns" in pages[0]
    assert "2 columns as charts" in pages[1]
    assert "2026-01-20" in pages[2]
    assert document.metadata is not None
    assert document.metadata.title == "Sales 2026"
    assert run.artifacts["sales-2026.pdf"].media_type == "application/pdf"


def test_the_table_goes_on_over_pages_and_repeats_its_header() -> None:
    run = make("pdf", csv=csv_of(200))

    tables = [page.extract_text() for page in pdf_of(run).pages][2:]
    assert len(tables) == run.result["pages"] - 2 == 4
    assert [words_of(table)[1].split() for table in tables] == [["id", "name", "value"]] * 4
    assert "\n1 1 name 1 7\n" in tables[0]
    assert "\n200 200 name 200 87\n" in tables[-1]


def test_a_wide_table_is_split_into_groups_of_columns() -> None:
    run = make("pdf", [{f"column {number}": number for number in range(60)}])

    text = "".join(page.extract_text() for page in pdf_of(run).pages)
    assert "columns 1 to" in text
    assert "to 60 of 60" in text


def test_long_cells_are_cut_with_an_ellipsis() -> None:
    text = pdf_of(make("pdf", [{"a": "w" * 5000, "b": "end"}])).pages[-1].extract_text()

    assert "www…" in text
    assert "w" * 100 not in text
    assert "end" in text


@pytest.mark.parametrize(
    "text", ["Grüße", "Ελλάδα", "Привет", "日本語", "中文", "한국어", "€ 5", "e\u0301", "שלום עולם"]
)
def test_scripts_of_the_world_can_be_read_in_a_pdf(text: str) -> None:
    words = pdf_of(make("pdf", [{"a": text}], title=text)).pages[-1].extract_text()

    assert text.replace("e\u0301", "é") in words


def test_a_table_without_rows_has_a_front_that_says_so() -> None:
    run = make("pdf", csv=b"a,b\n")

    assert run.result["pages"] == 1
    assert "The table has no rows." in pdf_of(run).pages[0].extract_text()


def test_a_table_too_large_for_a_pdf_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_CELLS", 79)

    with pytest.raises(Permanent, match=r"up to 79 cells, and this table has 80: use the format 'excel'"):
        make("pdf")


# Excel ................................................................................


def test_an_excel_file_has_data_summary_and_charts() -> None:
    run = make("excel")

    book = book_of(run)
    data = book["Data"]
    assert book.sheetnames == ["Data", "Summary", "Charts"]
    assert [cell.value for cell in data[1]] == ["day", "region", "units", "revenue"]
    assert [cell.data_type for cell in data[2]] == ["d", "s", "n", "n"]
    assert data["A2"].number_format == "yyyy-mm-dd"
    assert data["D2"].number_format == "#,##0.00##"
    assert [data["C21"].value, data["D21"].value] == [60, 210]
    assert data.freeze_panes == "A2"
    assert data.auto_filter.ref == "A1:D21"
    assert data["A1"].font.bold
    assert len(book["Charts"]._charts) == 2
    assert [cell.value for cell in book["Summary"][7]][:6] == ["units", "number", 20, 0, 3, 60]
    assert run.result["pages"] is None


@pytest.mark.parametrize("as_csv", [False, True], ids=["inline", "csv"])
def test_strings_never_become_formulas(as_csv: bool) -> None:
    if as_csv:
        text = "\n".join(["=A1,b", *(f'"{formula}",x' for formula in FORMULAS)])
        run = make("excel", csv=text.encode())
    else:
        run = make("excel", [{"=A1": formula, "b": "x"} for formula in FORMULAS])

    sheet = book_of(run)["Data"]
    assert sheet["A1"].value == "=A1"
    assert [cell.value for [cell] in sheet["A2:A10"]] == FORMULAS
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}
    assert all(cell.hyperlink is None for [cell] in sheet["A2:A10"])


def test_characters_that_a_file_can_not_hold_are_replaced() -> None:
    sheet = book_of(make("excel", [{"a": "x\x00\x1fy\ufffe\tz"}], title="t\x00"))["Data"]

    assert sheet["A2"].value == "x��y�\tz"


def test_values_beyond_what_excel_keeps_exactly_are_text() -> None:
    sheet = book_of(
        make("excel", [{"a": 12345678901234567, "b": "1066-10-14", "c": 1e308, "d": "x" * 40_000, "e": True}])
    )["Data"]

    assert [cell.value for cell in sheet[2]][:3] == ["12345678901234567", "1066-10-14", 1e308]
    assert len(sheet["D2"].value) == 32_767
    assert sheet["D2"].value.endswith("…")
    assert sheet["E2"].value is True


def test_more_rows_than_a_sheet_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "MAX_ROWS", 19)

    with pytest.raises(Permanent, match="holds 19 rows, and this table has 20: split it"):
        make("excel")


# Analysis .............................................................................


def test_an_analysis_agrees_with_the_standard_library() -> None:
    values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35]
    others = [2, 7, 1, 8, 2, 8, 1, 8, 2, 8]
    run = make("analysis", [{"n": n, "m": m, "t": "ab"[m % 2]} for n, m in zip(values, others, strict=True)])

    document = analysis_of(run)
    n, _, t = document["columns"]
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    assert {name: round(n[name], 9) for name in ("mean", "std", "q1", "median", "q3", "min", "max")} == {
        "mean": statistics.fmean(values), "std": round(statistics.stdev(values), 9), "q1": q1, "median": median,
        "q3": q3, "min": 1, "max": 35,
    }  # fmt: skip
    assert (n["count"], n["missing"], n["distinct"]) == (10, 0, 8)
    assert (t["distinct"], t["exact"]) == (2, True)
    assert t["top"] == [{"value": "a", "count": 7}, {"value": "b", "count": 3}]
    assert document["outliers"]["n"]["rows"] == [{"row": 10, "value": 35.0}]
    assert document["correlations"]["columns"] == ["n", "m"]
    assert math.isclose(
        document["correlations"]["matrix"][0][1], statistics.correlation(values, others), abs_tol=1e-6
    )
    assert run.result["summary"]["outliers"] == 1
    assert run.result["artifacts"] == ["sales-2026.pdf", "sales-2026.json"]


def test_an_analysis_has_pages_with_plots() -> None:
    run = make("analysis")

    pages = [page.extract_text() for page in pdf_of(run).pages]
    assert len(pages) == run.result["pages"] == 3
    assert "Sales 2026" in pages[0]
    assert "Correlations" in pages[1]
    assert "Box plots" in pages[1]
    assert "Histograms" in pages[2]
    assert "page 3 of 3" in pages[2]


def test_missing_values_are_counted_and_left_out() -> None:
    document = analysis_of(make("analysis", csv=b"a,b\n1,\n,2\n3,4\n5,\n"))

    a, b = document["columns"]
    assert (a["count"], a["missing"], a["mean"], b["missing"]) == (3, 1, 3, 2)
    assert document["correlations"]["matrix"][0][1] is None  # one row has both


def test_a_constant_column_correlates_with_nothing() -> None:
    document = analysis_of(make("analysis", [{"a": n, "b": 0.1} for n in range(10)]))

    assert document["correlations"]["matrix"] == [[1.0, None], [None, None]]


def test_numbers_near_the_end_of_the_floats_break_nothing() -> None:
    document = analysis_of(make("analysis", [{"a": 1e308}, {"a": -1e308}, {"a": 1.7e308}, {"a": 5e-324}] * 3))

    [column] = document["columns"]
    assert (column["min"], column["max"]) == (-1e308, 1.7e308)
    assert math.isclose(column["mean"], 1.7e308 / 4)


def test_distinct_values_of_a_long_column_are_estimated_in_bounded_memory() -> None:
    rows = "\n".join(f"value {n}" for n in range(20_000))
    document = analysis_of(make("analysis", csv=f"t\n{rows}".encode()))

    [column] = document["columns"]
    assert not column["exact"]
    assert 17_000 < column["distinct"] < 23_000


# All of them ..........................................................................


FORMATS = ("pdf", "excel", "analysis")
OPENED: dict[str, Callable[[Run], Any]] = {"pdf": pdf_of, "excel": book_of, "analysis": analysis_of}

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from([*FORMULAS, "2026-01-31", "2026-01-31T10:00:00Z", "שלום עולם", "مرحبا", "🦄", "$x$", "\x00"])
)
_rows = st.lists(st.dictionaries(st.text(max_size=8), _scalars, max_size=5), min_size=1, max_size=8)


def require_report(format_: str, rows: Any, title: str) -> None:
    if not any(rows):
        with pytest.raises(Permanent, match="no columns"):
            make(format_, rows, title=title)
        return
    run = make(format_, rows, title=title)
    assert OPENED[format_](run)
    assert run.result["rows"] == len(rows)


@pytest.mark.parametrize("format_", ["pdf", "excel"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=_rows, title=st.text(min_size=1, max_size=40))
def test_any_rows_make_a_report_or_are_refused_in_words(format_: str, rows: Any, title: str) -> None:
    require_report(format_, rows, title)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))  # matplotlib takes its time
@given(rows=_rows, title=st.text(min_size=1, max_size=40))
def test_any_rows_are_analysed_or_refused_in_words(rows: Any, title: str) -> None:
    require_report("analysis", rows, title)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "rows, title",
    [
        ([{"a": 1e308}, {"a": -1e308}, {"a": 5e-324}], "\x00"),
        ([{"a$b$": 3.3, "$\\x": "\u202eevil"}] * 30, "$\\frac$"),
        ([{string.ascii_letters * 20: "x" * 100_000, "": 10**400}], "../" * 30),
    ],
    ids=["extremes", "formulas", "long"],
)
def test_awkward_rows_make_a_report(format_: str, rows: Any, title: str) -> None:
    require_report(format_, rows, title)


def test_a_report_has_its_own_process_three_attempts_and_half_an_hour() -> None:
    declared = registry.of(heavy_report)

    assert declared.runs_in == "process"
    assert (declared.info.queue, declared.info.max_attempts) == ("reports", 3)
    assert (declared.info.soft_timeout_s, declared.info.timeout_s) == (25 * 60, 30 * 60)
    assert [declared.info.retry.delay_s(attempt, Random()) for attempt in (1, 2, 3, 4)] == [60, 120, 240, 240]


@pytest.mark.parametrize("format_", FORMATS)
def test_progress_grows_and_ends_at_the_whole(format_: str) -> None:
    progress = make(format_, csv=csv_of(1500)).progress

    percents = [report["percent"] for report in progress]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert progress[0]["message"] == "fetching the source"


@pytest.mark.parametrize("format_", FORMATS)
def test_a_report_that_is_told_to_end_ends(format_: str) -> None:
    with pytest.raises(Stopped):
        make(format_, signals=FakeSignals(stopped=True))


def test_a_report_that_runs_out_of_time_says_what_it_was_doing() -> None:
    with pytest.raises(SoftTimeout, match=r"not ready at its soft timeout \(it was reading rows\)"):
        make("pdf", signals=FakeSignals(soft_timed_out=True))


def test_a_source_that_is_not_there_is_no_reason_to_try_again() -> None:
    with pytest.raises(Permanent, match="there is no artifact"):
        run_task(heavy_report, {"format": "pdf", "title": "x", "source": SOURCE})


def test_a_dummy_pretends() -> None:
    run = run_task(dummy_report, {"seconds": 0.3, "format": "pdf"})

    assert run.result["artifacts"] == ["dummy-report.txt"]
    assert run.artifacts["dummy-report.txt"].data.startswith(b"Dummy report\n")
    assert [report["message"] for report in run.progress][-1] == "done"
    assert len(run.progress) >= 2
