"""Taskmill looking after itself: whether all is well, and what happened on a day."""

import csv
import io
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from pydantic import BaseModel, Field, field_validator

from shared import jsontext
from shared.domain.task_type import SYSTEM_QUEUE
from shared.store.daily import DayFigures
from worker_service import TaskContext, task
from worker_service.library.health import Check, State, look_at

#: Rows of the report of a day, the one for all together among them.
_MAX_ROWS: Final = 1_000
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9000


class Nothing(BaseModel):
    """No settings."""


class Health(BaseModel):
    """What was found. `state` is the worst of all checks."""

    state: State
    checks: list[Check]


class Day(BaseModel):
    """Which day to report on, in UTC."""

    day: date | None = Field(None, description="null: the day before the task was submitted")

    @field_validator("day")
    @classmethod
    def _can_be_reckoned_with(cls, day: date | None) -> date | None:
        if day is not None and not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            raise ValueError(f"must lie between the years {_FIRST_YEAR} and {_LAST_YEAR}")
        return day


class Durations(BaseModel):
    """Seconds; null where there was nothing to measure."""

    p50: float | None
    p95: float | None
    max: float | None


class Figures(BaseModel):
    """One type in one queue. Submitted that day; everything else of tasks that became final that day."""

    type: str | None
    queue: str | None
    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    failure_rate: float | None = Field(description="Failed among those that succeeded or failed; null for none")
    waiting_s: Durations
    running_s: Durations


class DailyReport(BaseModel):
    """What happened on a day. The files metrics.json and metrics.csv say the same."""

    day: date
    total: Figures
    rows: list[Figures] = Field(description="The most tasks first")
    truncated: bool = Field(description="Whether there were more rows than are listed")


@task("monitoring.health_check", queue=SYSTEM_QUEUE, timeout=60, max_attempts=2)
async def health_check(_: Nothing, ctx: TaskContext) -> Health:
    """Look at servers, workers, queues, outbox, schedules and disk; succeeds whatever it finds, and says it."""
    checks = await look_at(ctx.system)
    state = max((check.state for check in checks), key=("ok", "warning", "failed").index)
    for check in checks:
        if check.state != "ok":
            ctx.log.warning("health_finding", check=check.name, state=check.state, detail=check.detail)
    return Health(state=state, checks=checks)


@task("monitoring.daily_metrics", queue=SYSTEM_QUEUE, timeout=600, example={"day": None})
async def daily_metrics(payload: Day, ctx: TaskContext) -> DailyReport:
    """Report counts, durations and failure rates of a day by type and queue, as JSON and CSV files too."""
    day = payload.day or await _day_before(ctx)
    begin = datetime.combine(day, time(), UTC)
    found = await ctx.system.store.daily.figures(begin, begin + timedelta(days=1), limit=_MAX_ROWS + 1)
    total, *rows = [_figures(row) for row in found]
    shown = rows[: _MAX_ROWS - 1]
    report = DailyReport(day=day, total=total, rows=shown, truncated=len(shown) < len(rows))
    await ctx.artifact("metrics.json", jsontext.dumps(report).encode(), "application/json")
    await ctx.artifact("metrics.csv", _csv(report).encode(), "text/csv")
    return report


async def _day_before(ctx: TaskContext) -> date:
    # By when it was submitted: a task that waits past midnight, or is tried again, still means the same day.
    created_at = (await ctx.system.store.tasks.get(ctx.task_id)).created_at
    return created_at.astimezone(UTC).date() - timedelta(days=1)


def _figures(row: DayFigures) -> Figures:
    ended = row.succeeded + row.failed
    return Figures(
        type=row.type,
        queue=row.queue,
        submitted=row.submitted,
        succeeded=row.succeeded,
        failed=row.failed,
        cancelled=row.cancelled,
        expired=row.expired,
        failure_rate=round(row.failed / ended, 6) if ended else None,
        waiting_s=Durations(p50=row.waiting_p50_s, p95=row.waiting_p95_s, max=row.waiting_max_s),
        running_s=Durations(p50=row.running_p50_s, p95=row.running_p95_s, max=row.running_max_s),
    )


_COUNTS: Final = ("submitted", "succeeded", "failed", "cancelled", "expired", "failure_rate")
_DURATIONS: Final = ("p50", "p95", "max")


def _csv(report: DailyReport) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    waiting, running = ([f"{what}_{name}_s" for name in _DURATIONS] for what in ("waiting", "running"))
    writer.writerow(["day", "type", "queue", *_COUNTS, *waiting, *running])
    for row in (report.total, *report.rows):
        counts = (getattr(row, name) for name in _COUNTS)
        durations = (getattr(each, name) for each in (row.waiting_s, row.running_s) for name in _DURATIONS)
        writer.writerow([report.day, row.type or "(all)", row.queue or "(all)", *counts, *durations])
    return text.getvalue()
