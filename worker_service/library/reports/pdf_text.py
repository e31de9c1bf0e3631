"""Text on the pages of a PDF: a font for any script, texts cut to the width of their place."""

import importlib.util
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

from worker_service.library.reports.pdf_script import joined, placed

PLAIN: Final = "DejaVuSans"
BOLD: Final = "DejaVuSans-Bold"

#: Stands for a character that no font here has.
_UNKNOWN: Final = "□"
_ELLIPSIS: Final = "…"
_FIRST_PLANE: Final = 0xFFFF

# Chinese, Japanese and Korean are too large to ship: these names ask the reader's program for its own font.
_EAST_ASIAN: Final = re.compile("[\u1100-\u11ff\u2e80-\u303f\u3040-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]")
_KANA: Final = re.compile("[\u3040-\u30ff]")
_HANGUL: Final = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")
_CHINESE_FONT, _JAPANESE_FONT, _KOREAN_FONT = "STSong-Light", "HeiseiKakuGo-W5", "HYGothic-Medium"


class Face:
    """A font, with what is needed to place text in it."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self._font = _registered(name)
        self._widths: dict[str, float] = {}

    def width(self, text: str, size: float) -> float:
        """The width of a clean text, in points."""
        widths = self._widths
        try:
            return sum([widths[character] for character in text]) * size
        except KeyError:
            for character in set(text) - widths.keys():
                widths[character] = 1.0 if self._is_east_asian(character) else self._font.stringWidth(character, 1)
            return self.width(text, size)

    def cut(self, text: str, size: float, room: float) -> str:
        """A clean text, cut with an ellipsis where it is wider than `room` points."""
        if self.width(text, size) <= room:
            return text
        left = room - self.width(_ELLIPSIS, size)
        end = 0
        for end, character in enumerate(text):  # noqa: B007 - where it stops is what is wanted
            left -= self.width(character, size)
            if left < 0:
                break
        return text[:end].rstrip() + _ELLIPSIS

    def clean(self, text: str) -> str:
        """The text on one line, of characters that can be drawn."""
        if text.isascii() and text.isprintable():
            return text
        return "".join(map(self._drawable, joined(unicodedata.normalize("NFC", text))))

    def write(self, page: Any, x: float, y: float, text: str, size: float) -> None:
        """Write a clean text into a text object of reportlab."""
        page.setTextOrigin(x, y)
        text = placed(text)
        if text.isascii() or not _EAST_ASIAN.search(text):
            page.textOut(text)
            return
        for font, run in self._runs(text):
            page.setFont(font, size)
            page.textOut(run)
        page.setFont(self.name, size)

    def _runs(self, text: str) -> Iterator[tuple[str, str]]:
        for is_east_asian, characters in groupby(text, self._is_east_asian):
            yield _east_asian_font(text) if is_east_asian else self.name, "".join(characters)

    def _is_east_asian(self, character: str) -> bool:
        return ord(character) not in self._font.face.charToGlyph and bool(_EAST_ASIAN.match(character))

    def _drawable(self, character: str) -> str:
        category = unicodedata.category(character)
        if category in ("Cc", "Zl", "Zp", "Zs"):
            return " "
        if category in ("Cf", "Mn") and ord(character) not in self._font.face.charToGlyph:
            return ""
        if category == "Cf":  # what turns the direction of the rest
            return ""
        # Beyond the first plane reportlab writes a table of characters that readers can't make sense of.
        is_known = ord(character) in self._font.face.charToGlyph and ord(character) <= _FIRST_PLANE
        return character if is_known or _EAST_ASIAN.match(character) else _UNKNOWN


@cache
def face(name: str) -> Face:
    """A face by the name of its font."""
    return Face(name)


def _registered(name: str) -> Any:
    if name not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont(name, _font_file(name)))
    return pdfmetrics.getFont(name)


def _font_file(name: str) -> Path:
    """DejaVu comes with matplotlib, which need not be imported for that."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"


def _east_asian_font(text: str) -> str:
    name = _CHINESE_FONT
    if _HANGUL.search(text):
        name = _KOREAN_FONT
    if _KANA.search(text):
        name = _JAPANESE_FONT
    if name not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    return name
