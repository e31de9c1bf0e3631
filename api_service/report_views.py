"""What the reports of `/reports` look like. Bodies are checked against what workers announce; these describe them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api_service.views import ArtifactView, FailureView, ProgressView
from shared.domain.status import TaskStatus


class HeavyReportBody(BaseModel):
    """A table to make a report of: either `rows` or `source`."""

    format: Literal["pdf", "excel", "analysis"]
    title: str = Field(description="Heads the report; its files are named after it")
    rows: list[dict[str, str | float | bool | None]] = Field(
        default_factory=list, description="Objects from column to value; a row may lack columns"
    )
    source: str = Field(
        default_factory=str,
        description="Instead of `rows`: the id or href of an artifact, a CSV file in UTF-8 with a header",
    )
    delimiter: Literal["auto", ",", ";", "\t", "|"] = Field(
        "auto", description="What separates the cells of `source`; `auto`: what its header has most of"
    )


class DummyReportBody(BaseModel):
    """A report that takes its time and says nothing; what else a heavy one would need is ignored."""

    seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0
    title: str = "Dummy report"


class JobAcceptedView(BaseModel):
    """A report that will be made, or fail and say why."""

    job_id: UUID
    status: TaskStatus
    duplicate: bool = Field(description="Whether the same request was there already")
    status_url: str
    created_at: datetime


class JobView(BaseModel):
    """A report."""

    job_id: UUID
    type: Literal["reports.heavy", "reports.dummy"]
    status: TaskStatus
    progress: ProgressView | None
    result: Any
    error: FailureView | None
    artifacts: list[ArtifactView] = Field(description="The files, once it is made")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_ROWS: Final = [
    {"day": "2026-01-01", "region": "north", "units": 12, "revenue": 1250.5},
    {"day": "2026-01-02", "region": "south", "units": 7, "revenue": 830.0},
    {"day": "2026-01-03", "region": "north", "units": 15, "revenue": 1610.25},
]

#: Bodies to try, for Swagger UI.
HEAVY_EXAMPLES: Final[Mapping[str, Any]] = {
    "pdf": {"summary": "A PDF", "value": {"format": "pdf", "title": "Sales 2026", "rows": _ROWS}},
    "excel": {"summary": "An Excel file", "value": {"format": "excel", "title": "Sales 2026", "rows": _ROWS}},
    "analysis": {"summary": "An analysis", "value": {"format": "analysis", "title": "Sales 2026", "rows": _ROWS}},
    "upload": {
        "summary": "A PDF of an uploaded CSV file",
        "value": {
            "format": "pdf",
            "title": "Sales 2026",
            "source": "/artifacts/01990000-0000-7000-8000-000000000000",
        },
    },
}
DUMMY_EXAMPLES: Final[Mapping[str, Any]] = {"dummy": {"summary": "Two seconds", "value": {"seconds": 2}}}
