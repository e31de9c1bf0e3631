"""Hebrew and Arabic in their order on a page. Upper case stands for Hebrew where that is easier to read."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker_service.library.reports.pdf_script import joined, placed

_HEBREW = {chr(ord("A") + number): chr(0x05D0 + number) for number in range(26)}
_LATIN = {hebrew: latin for latin, hebrew in _HEBREW.items()}


def seen(text: str) -> str:
    """What stands on the page, where upper case is Hebrew."""
    shown = placed("".join(_HEBREW.get(character, character) for character in text))
    return "".join(_LATIN.get(character, character) for character in shown)


@pytest.mark.parametrize(
    "spoken, page",
    [
        ("latin only (1)", "latin only (1)"),
        ("ABC", "CBA"),
        ("ABC DEF", "FED CBA"),
        ("say ABC DEF now", "say FED CBA now"),
        ("ABC say DEF", "FED say CBA"),
        ("ABC 123", "123 CBA"),
        ("ABC 12.50 DEF", "FED 12.50 CBA"),
        ("ABC, DEF!", "!FED ,CBA"),
        ("(ABC)", "(CBA)"),
        ("total 5 ABC 7", "total 5 7 CBA"),
        ("ABC 5%", "5% CBA"),
        ("ABC  ", "  CBA"),
        ("", ""),
    ],
)
def test_text_stands_in_the_order_in_which_people_read_it(spoken: str, page: str) -> None:
    assert seen(spoken) == page


def test_marks_stay_with_their_letters() -> None:
    assert placed("\u05d1\u05bc\u05d0") == "\u05d0\u05d1\u05bc"


@given(st.text(alphabet=st.sampled_from("aZ1 .,-%$()\u05d0\u05d1\u05bc\u0628\u0661\u0644\u0627\n😀"), max_size=20))
def test_nothing_is_lost_or_invented(text: str) -> None:
    def counted(shown: str) -> Counter[str]:
        return Counter(shown.replace(")", "("))

    assert counted(placed(text)) == counted(text)


@pytest.mark.parametrize(
    "word, forms",
    [
        ("\u0628", ["ARABIC LETTER BEH ISOLATED FORM"]),
        (
            "\u0628\u0628\u0628",
            [f"ARABIC LETTER BEH {form} FORM" for form in ("INITIAL", "MEDIAL", "FINAL")],
        ),
        (
            "\u062f\u0628",  # dal joins nothing after it
            ["ARABIC LETTER DAL ISOLATED FORM", "ARABIC LETTER BEH ISOLATED FORM"],
        ),
        ("\u0644\u0627", ["ARABIC LIGATURE LAM WITH ALEF ISOLATED FORM"]),
        ("\u0628\u0644\u0627", ["ARABIC LETTER BEH INITIAL FORM", "ARABIC LIGATURE LAM WITH ALEF FINAL FORM"]),
        ("\u0628\u0640", ["ARABIC LETTER BEH INITIAL FORM", "ARABIC TATWEEL"]),
        ("\u0628 \u0628", ["ARABIC LETTER BEH ISOLATED FORM", "SPACE", "ARABIC LETTER BEH ISOLATED FORM"]),
    ],
    ids=["alone", "three", "after dal", "ligature", "ligature at the end", "tatweel", "two words"],
)
def test_arabic_letters_are_joined(word: str, forms: list[str]) -> None:
    assert [unicodedata.name(sign) for sign in joined(word)] == forms


@given(st.text(max_size=20))
def test_joining_takes_any_text(text: str) -> None:
    assert unicodedata.normalize("NFKC", joined(text)) == unicodedata.normalize("NFKC", text)
