"""documents.ocr with the real Tesseract, on pages drawn here."""

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pypdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.programs import require_program
from tests.slow_tesseract import SlowTesseract
from worker_service import Permanent, Stopped
from worker_service.library.documents import ocr
from worker_service.library.documents.tesseract import Recognized, recognize, require_languages
from worker_service.testing import Run, run_task


@pytest.fixture(scope="module", autouse=True)
def _tesseract() -> None:
    require_program("tesseract", "tesseract-ocr")


def page(*lines: str, mode: str = "L") -> Image.Image:
    """A page with a few lines in large letters."""
    picture = Image.new("L", (1200, 200 + 120 * len(lines)), 255)
    for number, line in enumerate(lines):
        ImageDraw.Draw(picture).text((80, 80 + 120 * number), line, font=ImageFont.load_default(64), fill=0)
    return picture.convert(mode)


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, format_, **options)
    return target.getvalue()


def pdf(*pages: Image.Image) -> bytes:
    first, *others = pages
    return encoded(first, "PDF", save_all=True, append_images=others, resolution=150)


def encrypted(data: bytes) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt("secret", algorithm="RC4-128")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def read(data: bytes, source: str = "/tasks/x/artifacts/letter.pdf", **payload: Any) -> Run:
    return run_task(ocr, {"source": source, "dpi": 150, **payload}, files={source: data})


def text_in(run: Run) -> str:
    return run.artifacts["letter.txt"].data.decode()


def test_the_text_of_a_picture_is_read() -> None:
    run = read(encoded(page("Invoice 4711", "Total 123 EUR"), "PNG"))

    [found] = run.result["pages"]
    assert found["text"].split() == ["Invoice", "4711", "Total", "123", "EUR"]
    assert (found["number"], found["truncated"], found["words"]) == (1, False, 5)
    assert 50 < found["confidence"] <= 100
    assert (run.result["pages_in_source"], run.result["artifact"]) == (1, "letter.txt")
    assert text_in(run).split() == found["text"].split()
    assert run.artifacts["letter.txt"].media_type == "text/plain; charset=utf-8"


def test_every_page_of_a_pdf_is_read_and_told() -> None:
    run = read(pdf(page("First page"), page(""), page("Last page")))

    assert [found["text"] for found in run.result["pages"]] == ["First page", "", "Last page"]
    assert [found["confidence"] is None for found in run.result["pages"]] == [False, True, False]
    assert [report["message"] for report in run.progress] == ["page 1 of 3", "page 2 of 3", "page 3 of 3", "done"]
    assert [part.strip() for part in text_in(run).split("\f")] == ["First page", "", "Last page"]


def test_no_more_pages_are_read_than_were_asked_for() -> None:
    run = read(pdf(page("First page"), page("Second page")), max_pages=1)

    assert [found["text"] for found in run.result["pages"]] == ["First page"]
    assert run.result["pages_in_source"] == 2


def test_a_scan_with_several_pages_is_read_and_one_on_its_side_is_turned() -> None:
    scan = encoded(page("First page"), "TIFF", save_all=True, append_images=[page("Second page")])
    assert [found["text"] for found in read(scan).result["pages"]] == ["First page", "Second page"]

    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(page("Held sideways").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    assert read(photo).result["pages"][0]["text"] == "Held sideways"


@pytest.mark.parametrize("mode", ["1", "RGB", "RGBA", "P", "CMYK"])
def test_pictures_of_every_kind_are_read(mode: str) -> None:
    assert read(encoded(page("Hello world", mode=mode), "TIFF")).result["pages"][0]["text"] == "Hello world"


def test_dark_letters_on_nothing_are_read() -> None:
    letters = page("Hello world")
    clear = Image.new("RGBA", letters.size, (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), mask=letters.point(lambda value: 255 - value))

    assert read(encoded(clear, "PNG")).result["pages"][0]["text"] == "Hello world"


def test_a_long_page_is_cut_in_the_result_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_service.library.documents.reading._PAGE_CHARS", 5)

    run = read(encoded(page("Hello world"), "PNG"))

    [found] = run.result["pages"]
    assert (found["text"], found["truncated"]) == ("Hello", True)
    assert text_in(run) == "Hello world\n"


def test_a_poster_is_drawn_no_larger_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []

    def note(picture: Image.Image, *_: Any) -> Recognized:
        drawn.append(picture.size)
        return Recognized("", 0, None)

    monkeypatch.setattr("worker_service.library.documents.pages.MAX_PAGE_PIXELS", 500_000)
    monkeypatch.setattr("worker_service.library.documents.reading.MAX_PAGE_PIXELS", 500_000)
    monkeypatch.setattr("worker_service.library.documents.reading._recognized", note)

    read(encoded(page("Hello world"), "PDF", resolution=10), dpi=600)  # 120 inches wide

    [(width, height)] = drawn
    assert 490_000 < width * height <= 510_000


def test_a_large_picture_is_read_at_a_size_that_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker_service.library.documents.reading.MAX_PAGE_PIXELS", 200_000)

    assert read(encoded(page("Hello world"), "PNG")).result["pages"][0]["text"] == "Hello world"


# What can't be read ...................................................................


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Permanent, match="apt-get install tesseract-ocr"):
        read(encoded(page("x"), "PNG"))


def test_a_missing_language_is_named_with_its_package_and_those_that_are_there() -> None:
    with pytest.raises(Permanent, match=r"no chi_sim among .*\beng\b.*apt-get install tesseract-ocr-chi-sim"):
        require_languages(["eng", "chi_sim"])


@pytest.mark.parametrize("languages", [[], ["../../etc/passwd"], ["eng;rm"], [""], ["eng+deu"], ["-l"], ["e" * 41]])
def test_what_is_no_language_does_not_fit_the_schema(languages: list[str]) -> None:
    with pytest.raises(ValueError, match="languages"):
        read(b"", languages=languages)


def test_an_encrypted_pdf_is_refused() -> None:
    with pytest.raises(Permanent, match=r"'letter\.pdf' is encrypted"):
        read(encrypted(pdf(page("Secret"))))


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-" + os.urandom(5000), b"hello", b"", bytes(100)])
def test_what_is_neither_a_pdf_nor_a_picture_is_refused_by_its_name(data: bytes) -> None:
    with pytest.raises(Permanent, match=r"letter\.pdf"):
        read(data)


def test_a_pdf_that_is_cut_off_or_broken_is_read_or_refused_but_never_anything_else() -> None:
    whole = pdf(page("First page"))
    for position in range(20, len(whole), len(whole) // 8):
        for broken in (whole[:position], whole[:position] + os.urandom(16) + whole[position + 16 :]):
            with suppress(Permanent):  # anything else ends the test
                assert read(broken, max_pages=1).result["pages_in_source"] == 1


def test_the_result_fits_its_schema() -> None:
    assert json.loads(json.dumps(read(encoded(page("x"), "PNG")).result)).keys() == {
        "pages",
        "pages_in_source",
        "artifact",
    }


def test_tesseract_is_ended_as_soon_as_the_handler_is_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tesseract = SlowTesseract(tmp_path)
    monkeypatch.setenv("PATH", tesseract.path)

    def check_cancelled() -> None:
        if tesseract.started():
            raise Stopped("asked to end")

    with pytest.raises(Stopped):
        recognize(tmp_path / "page.png", ["eng"], dpi=300, check_cancelled=check_cancelled)

    assert tesseract.started()
    assert not tesseract.living()
