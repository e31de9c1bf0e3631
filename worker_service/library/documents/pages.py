"""Turns a PDF or a picture into pages that can be read, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pypdfium2 as pdfium
from PIL import Image

from worker_service import Permanent
from worker_service.library.documents.pictures import frame_count, frames, opened

#: Pixels of the largest page that is read: Tesseract takes about 350 MB for it. A4 at 400 dpi has 15 million.
MAX_PAGE_PIXELS: Final = 30_000_000
#: PDF units in an inch.
_UNITS: Final = 72
#: The head of a PDF stands in its first bytes, by most readers' tolerance.
_HEAD_BYTES: Final = 1024
_WRONG_PASSWORD: Final = 4  # FPDF_ERR_PASSWORD


@dataclass(frozen=True, slots=True)
class Pages:
    """How many there are, and each of them."""

    total: int
    pictures: Iterator[Image.Image]


@contextmanager
def opened_pages(path: Path, *, dpi: int) -> Iterator[Pages]:
    """The pages of a file; a picture of each is made when it is its turn.

    Raises:
        Permanent: It is neither a PDF nor a picture, is encrypted or damaged, or has a page that is too large.
    """
    with path.open("rb") as file:
        is_pdf = b"%PDF-" in file.read(_HEAD_BYTES)
    if not is_pdf:
        with opened(path) as picture:
            yield Pages(frame_count(picture, path), frames(picture, path))
        return
    document = _opened_pdf(path)
    try:
        yield Pages(len(document), _drawn(document, path, dpi))
    finally:
        document.close()


def _opened_pdf(path: Path) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code == _WRONG_PASSWORD:
            raise Permanent(f"{path.name!r} is encrypted: send it without its password") from None
        raise Permanent(f"{path.name!r} is no PDF that can be read: {error}") from None


def _drawn(document: pdfium.PdfDocument, path: Path, dpi: int) -> Iterator[Image.Image]:
    for index in range(len(document)):
        try:
            page = document[index]
            width, height = page.get_size()
            if width <= 0 or height <= 0:
                raise Permanent(f"page {index + 1} of {path.name!r} has no size")
            # A poster is drawn more coarsely: its letters are larger too.
            scale = min(dpi / _UNITS, (MAX_PAGE_PIXELS / (width * height)) ** 0.5)
            picture = page.render(scale=scale, grayscale=True).to_pil()
            page.close()
        except pdfium.PdfiumError as error:
            raise Permanent(f"page {index + 1} of {path.name!r} is damaged: {error}") from None
        yield picture
