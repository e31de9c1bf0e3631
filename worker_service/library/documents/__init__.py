"""Pictures made smaller, and text read off pictures and PDFs.

Both handlers run in processes of the pool: what decodes files of strangers may crash, and must not take the worker
with it. What they need is loaded there, not in every worker.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from worker_service import RetryPolicy, TaskContext, task

Pixels = Annotated[int, Field(ge=1, le=4096)]
Source = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{2,40}(/[A-Za-z0-9_]{1,40})?$")]

_SOON = RetryPolicy(first_delay_s=5, max_delay_s=60)
_SOURCE = Field(description="The `artifact_id` of an upload, or the `href` of a task's file")


class ThumbnailRequest(BaseModel):
    """Which picture, and how small."""

    model_config = ConfigDict(extra="forbid")

    source: Source = _SOURCE
    sizes: list[Pixels | tuple[Pixels, Pixels]] = Field(
        [256],
        min_length=1,
        max_length=20,
        description="Boxes that the pictures must fit into, in pixels: a number for a square, or [width, height]",
    )
    format: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: int = Field(85, ge=1, le=100, description="Of JPEG and WebP; more is better and larger")


class Thumbnail(BaseModel):
    """One of the small pictures. The file is among the task's artifacts under `name`."""

    name: str
    width: int
    height: int
    size: int


class Thumbnails(BaseModel):
    """The small pictures. `width` and `height` are those of the source as people see it, turned upright."""

    width: int
    height: int
    thumbnails: list[Thumbnail]


class OcrRequest(BaseModel):
    """Which picture or PDF, and in which languages it is written."""

    model_config = ConfigDict(extra="forbid")

    source: Source = _SOURCE
    languages: list[Language] = Field(
        ["eng"], min_length=1, max_length=10, description="As Tesseract calls them, the most likely first"
    )
    max_pages: int = Field(100, ge=1, le=1000, description="Pages that are read; the rest is left out")
    dpi: int = Field(300, ge=72, le=600, description="How finely the pages of a PDF are drawn before they are read")


class OcrPage(BaseModel):
    """The text of one page."""

    number: int = Field(description="The first page is 1")
    text: str = Field(description="At most 10,000 characters; the file among the artifacts has all")
    truncated: bool
    words: int
    confidence: float | None = Field(
        description="How sure Tesseract is of the words, from 0 to 100; null without words"
    )


class OcrText(BaseModel):
    """What was read. The whole text is among the task's artifacts, under `artifact`."""

    pages: list[OcrPage]
    pages_in_source: int = Field(description="More than `pages` has where `max_pages` was less")
    artifact: str


@task(
    "documents.thumbnail",
    queue="documents",
    timeout=300,
    retry=_SOON,
    cpu=True,
    example={"source": "/artifacts/00000000-0000-0000-0000-000000000000", "sizes": [128, [640, 480]]},
)
def thumbnail(payload: ThumbnailRequest, ctx: TaskContext) -> Thumbnails:
    """Make small versions of a picture: upright, in proportion, without metadata."""
    from worker_service.library.documents.thumbnails import make_thumbnails

    return make_thumbnails(payload, ctx)


@task(
    "documents.ocr",
    queue="documents",
    timeout=3600,
    retry=_SOON,
    cpu=True,
    example={"source": "/artifacts/00000000-0000-0000-0000-000000000000", "languages": ["eng"]},
)
def ocr(payload: OcrRequest, ctx: TaskContext) -> OcrText:
    """Read the text of a picture or a PDF with Tesseract."""
    from worker_service.library.documents.reading import read_text

    return read_text(payload, ctx)
