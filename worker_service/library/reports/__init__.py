"""Reports of tables: a PDF, an Excel file or an analysis, made in a process of their own.

This module is imported by every worker; the libraries that draw and compute, only where a report is made.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from worker_service import RetryPolicy, TaskContext, task
from worker_service.library.reports.csv_source import CsvTable
from worker_service.library.reports.naming import slug
from worker_service.library.reports.payload import DummyReport, HeavyReport, Report
from worker_service.library.reports.profile import Profile, Tell, read_profile
from worker_service.library.reports.stages import Stages
from worker_service.library.reports.table import InlineTable, Table

#: One, two, four minutes: what a report fails for is away for a while rather than for a moment.
_PATIENTLY: Final = RetryPolicy(first_delay_s=60, max_delay_s=240, jitter=0)
_TIMEOUT_S: Final = 30 * 60.0
_SOFT_TIMEOUT_S: Final = 25 * 60.0

_EXAMPLE: Final = {
    "format": "pdf",
    "title": "Sales 2026",
    "rows": [
        {"day": "2026-01-01", "region": "north", "units": 12, "revenue": 1250.5},
        {"day": "2026-01-02", "region": "south", "units": 7, "revenue": 830.0},
        {"day": "2026-01-03", "region": "north", "units": 15, "revenue": 1610.25},
    ],
}

# Percent of the whole at which the stages end, by what was measured.
_FETCHED: Final = 2
_READ: Final = 25
_MADE: Final = 95

_DUMMY_STAGES: Final = ("reading rows", "drawing pages", "storing files")


@dataclass(frozen=True, slots=True)
class _Made:
    """What a builder has made: names of files in the attempt's folder, with their media types."""

    files: Mapping[str, str]
    pages: int | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)


_Build = Callable[[TaskContext, str, Table, Profile, Tell], _Made]


@task(
    "reports.heavy",
    queue="reports",
    max_attempts=3,
    timeout=_TIMEOUT_S,
    soft_timeout=_SOFT_TIMEOUT_S,
    retry=_PATIENTLY,
    cpu=True,
    example=_EXAMPLE,
)
def heavy(payload: HeavyReport, ctx: TaskContext) -> Report:
    """Make a PDF, an Excel file or an analysis of a table: rows of the payload, or an uploaded CSV file."""
    began = time.monotonic()
    stages = Stages(ctx)
    table = _table(payload, ctx, stages.stage(0, _FETCHED))
    profile = read_profile(table, stages.stage(_FETCHED, _READ))
    made = _BUILDS[payload.format](ctx, payload.title, table, profile, stages.stage(_READ, _MADE))
    tell = stages.stage(_MADE, 100)
    for number, (name, media_type) in enumerate(made.files.items()):
        tell(number / len(made.files), f"storing {name}")
        ctx.artifact(name, ctx.scratch / name, media_type)
    tell(1.0, "done")
    return Report(
        format=payload.format,
        title=payload.title,
        rows=profile.rows,
        columns=len(profile.columns),
        pages=made.pages,
        artifacts=list(made.files),
        seconds=round(time.monotonic() - began, 3),
        summary=made.summary,
    )


@task("reports.dummy", queue="reports", retry=_PATIENTLY)
def dummy(payload: DummyReport, ctx: TaskContext) -> Report:
    """Pretend to make a report: stages, progress, and a small file."""
    began = time.monotonic()
    stages = Stages(ctx)
    tell = stages.stage(0, 100)
    while (ran_s := time.monotonic() - began) < payload.seconds:
        share = ran_s / payload.seconds
        tell(share, _DUMMY_STAGES[int(share * len(_DUMMY_STAGES))])
        time.sleep(min(0.1, payload.seconds - ran_s))
    name = f"{slug(payload.title)}.txt"
    ctx.artifact(name, f"{payload.title}\n\nNothing was computed for this report.\n".encode(), "text/plain")
    tell(1.0, "done")
    return Report(
        format="dummy", title=payload.title, rows=0, columns=0, artifacts=[name], seconds=round(payload.seconds, 3)
    )


def _table(payload: HeavyReport, ctx: TaskContext, tell: Tell) -> Table:
    if not payload.source:
        return InlineTable(payload.rows)
    tell(0.0, "fetching the source")
    path = ctx.fetch_blocking(payload.source)
    return CsvTable(path, None if payload.delimiter == "auto" else payload.delimiter)


# The formats ........................................................................


def _pdf(ctx: TaskContext, title: str, table: Table, profile: Profile, tell: Tell) -> _Made:
    from worker_service.library.reports.pdf import draw_pdf

    name = f"{slug(title)}.pdf"
    pages = draw_pdf(ctx.scratch / name, title, table, profile, tell)
    return _Made({name: "application/pdf"}, pages, _figures(profile))


def _excel(ctx: TaskContext, title: str, table: Table, profile: Profile, tell: Tell) -> _Made:
    from worker_service.library.reports.excel import MEDIA_TYPE, write_excel

    name = f"{slug(title)}.xlsx"
    write_excel(ctx.scratch / name, title, table, profile, tell)
    return _Made({name: MEDIA_TYPE}, summary=_figures(profile))


def _analysis(ctx: TaskContext, title: str, table: Table, profile: Profile, tell: Tell) -> _Made:
    from worker_service.library.reports.analysis import analyse

    names = (f"{slug(title)}.pdf", f"{slug(title)}.json")
    found = analyse(ctx.scratch / names[0], ctx.scratch / names[1], title, table, profile, tell)
    files = dict(zip(names, ("application/pdf", "application/json"), strict=True))
    return _Made(files, found.pages, {**_figures(profile), **found.highlights})


_BUILDS: Final[Mapping[str, _Build]] = {"pdf": _pdf, "excel": _excel, "analysis": _analysis}

#: Columns whose figures stand in the result of the task; the files have those of all.
_MAX_COLUMNS_TOLD: Final = 20


def _figures(profile: Profile) -> dict[str, Any]:
    return {"columns": [column.figures() for column in profile.columns[:_MAX_COLUMNS_TOLD]]}
