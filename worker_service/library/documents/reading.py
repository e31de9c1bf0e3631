"""Reads the text of pictures and PDFs."""

from itertools import islice
from pathlib import Path
from typing import Final

from PIL import Image

from worker_service import TaskContext
from worker_service.library.documents import OcrPage, OcrRequest, OcrText
from worker_service.library.documents.pages import MAX_PAGE_PIXELS, opened_pages
from worker_service.library.documents.tesseract import Recognized, recognize, require_languages

#: Characters of a page that stand in the result; the file has all.
_PAGE_CHARS: Final = 10_000
#: Characters of all pages that stand in the result, so that it stays well below the limit of results.
_RESULT_CHARS: Final = 500_000
#: Characters of the source's name with which the name of the text begins.
_STEM_CHARS: Final = 100


def read_text(request: OcrRequest, ctx: TaskContext) -> OcrText:
    """Read page after page, and keep the whole text.

    Raises:
        Permanent: Tesseract or a language is not installed, or the source is missing or can't be read.
    """
    require_languages(request.languages)
    path = ctx.fetch_blocking(request.source)
    text_path = ctx.scratch / "text"
    pages: list[OcrPage] = []
    left = _RESULT_CHARS
    with opened_pages(path, dpi=request.dpi) as source, text_path.open("w", encoding="utf-8") as whole:
        total = min(source.total, request.max_pages)
        for number, picture in enumerate(islice(source.pictures, total), 1):
            ctx.check_cancelled()
            ctx.progress(number - 1, total, f"page {number} of {total}")
            found = _recognized(picture, request, ctx)
            whole.write(found.text + "\n\f" if number < total else found.text + "\n")
            pages.append(_page(number, found, min(left, _PAGE_CHARS)))
            left -= len(pages[-1].text)
        ctx.progress(total, total, "done")
    name = f"{path.stem[:_STEM_CHARS]}.txt"
    ctx.artifact(name, text_path, "text/plain; charset=utf-8")
    return OcrText(pages=pages, pages_in_source=source.total, artifact=name)


def _recognized(picture: Image.Image, request: OcrRequest, ctx: TaskContext) -> Recognized:
    page: Path = ctx.scratch / "page.png"
    _plain(picture).save(page, compress_level=1)
    return recognize(page, request.languages, dpi=request.dpi, check_cancelled=ctx.check_cancelled)


def _plain(picture: Image.Image) -> Image.Image:
    """Dark on light, since what is transparent would be black, and no larger than Tesseract has memory for."""
    if picture.has_transparency_data:
        drawn = picture.convert("RGBA")
        picture = Image.new("RGBA", drawn.size, "white")
        picture.alpha_composite(drawn)
    if (shrunk_by := (picture.width * picture.height / MAX_PAGE_PIXELS) ** 0.5) > 1:
        picture = picture.resize((max(1, int(picture.width / shrunk_by)), max(1, int(picture.height / shrunk_by))))
    return picture if picture.mode in ("L", "1", "RGB") else picture.convert("RGB")


def _page(number: int, found: Recognized, limit: int) -> OcrPage:
    return OcrPage(
        number=number,
        text=found.text[:limit],
        truncated=len(found.text) > limit,
        words=found.words,
        confidence=found.confidence,
    )
