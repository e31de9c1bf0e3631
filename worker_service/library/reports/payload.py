"""What a client may ask of a report, and what it gets."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from worker_service.library.reports.table import MAX_COLUMNS

_ID: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SOURCE: Final = rf"^(/artifacts/)?{_ID}$|^/tasks/{_ID}/artifacts/[^/]+$"

# Said this way rather than with `anyOf`, so that a fault names the types that are allowed.
_Scalar = Annotated[
    str | int | float | bool | None, WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
Row = Annotated[dict[str, _Scalar], Field(max_length=MAX_COLUMNS)]


class HeavyReport(BaseModel):
    """A table to make a report of: `rows` in the payload, or a CSV file as `source`, not both."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["rows"]}, {"required": ["source"]}]}
    )

    format: Literal["pdf", "excel", "analysis"]
    title: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Heads the report; its files are named after it"
    )
    rows: Annotated[list[Row], Field(min_length=1)] = Field(
        default_factory=list, description="Objects from column to value; a row may lack columns"
    )
    source: Annotated[str, Field(pattern=_SOURCE)] = Field(
        default_factory=str,
        description="Instead of `rows`: the id or the href of an artifact, a CSV file in UTF-8 with a header",
        examples=["/artifacts/01990000-0000-7000-8000-000000000000"],
    )
    delimiter: Literal["auto", ",", ";", "\t", "|"] = Field(
        "auto", description="What separates the cells of `source`; `auto`: what its header has most of"
    )

    @model_validator(mode="after")
    def _has_one_table(self) -> "HeavyReport":
        # The schema says so too, where clients are told; this is for payloads that no API has seen.
        if len(self.model_fields_set & {"rows", "source"}) != 1:
            raise ValueError("give either 'rows' or 'source'")
        return self


class DummyReport(BaseModel):
    """A report that takes its time and says nothing; what else a heavy one would need is ignored."""

    seconds: float = Field(1.0, ge=0, le=3600, description="How long it pretends to work")
    title: Annotated[str, Field(min_length=1, max_length=200)] = "Dummy report"


class Report(BaseModel):
    """A report that was made.

    Attributes:
        pages: Of its PDF.
        artifacts: The names of its files.
        summary: What is worth knowing without opening them.
    """

    format: Literal["pdf", "excel", "analysis", "dummy"]
    title: str
    rows: int
    columns: int
    pages: int | None = None
    artifacts: list[str]
    seconds: float
    summary: Mapping[str, Any] = Field(default_factory=dict)
