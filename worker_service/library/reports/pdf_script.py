"""Hebrew and Arabic for a page, whose text is placed from left to right: letters joined, words in reading order.

Pure. It follows the Unicode Bidirectional Algorithm (UAX #9) for one line without explicit directions and without
its rule for pairs of brackets, and the joining rules of Arabic as the names of the presentation forms tell them.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import groupby, pairwise
from typing import Final

_RIGHT_TO_LEFT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_ARABIC: Final = re.compile("[\u0620-\u06ff]")
_FORMS: Final = range(0xFE80, 0xFEFD)
_TATWEEL: Final = "\u0640"  # joins on both sides and has one form
_MIRRORED: Final = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))

_NEUTRAL: Final = frozenset({"B", "S", "WS", "ON", "ES", "ET", "CS", "BN"})
_NUMBER: Final = frozenset({"EN", "AN"})


def joined(text: str) -> str:
    """The text with its Arabic letters in the forms that join them; still in the order in which it is spoken."""
    if not _ARABIC.search(text):
        return text
    letters = _clusters(_with_ligatures(text))
    return "".join(
        _formed(before, letter, after)
        for before, letter, after in zip(["", *letters[:-1]], letters, [*letters[1:], ""], strict=True)
    )


def placed(text: str) -> str:
    """The text in the order in which its characters stand on the page, from left to right."""
    if not _RIGHT_TO_LEFT.search(text):
        return text
    clusters = _clusters(text)
    kinds = [unicodedata.bidirectional(cluster[0]) for cluster in clusters]
    levels = _levels(kinds)
    order = list(range(len(clusters)))
    for level in range(max(levels), 0, -1):
        order = _turned(order, [levels[place] >= level for place in order])
    return "".join(
        _MIRRORED.get(clusters[place], clusters[place]) if levels[place] % 2 else clusters[place] for place in order
    )


def _clusters(text: str) -> list[str]:
    """Letters with the marks that stand on them."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.category(character) == "Mn":
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


# Joining ............................................................................


@cache
def _forms() -> dict[str, dict[str, str]]:
    """For letters and pairs of letters, the forms there are: `isolated`, `final`, `initial`, `medial`."""
    forms: dict[str, dict[str, str]] = {}
    for code in _FORMS:
        kind, *letters = unicodedata.decomposition(chr(code)).split()
        forms.setdefault("".join(chr(int(letter, 16)) for letter in letters), {})[kind.strip("<>")] = chr(code)
    return forms


def _with_ligatures(text: str) -> str:
    """Lam and alef become one sign; it has the forms of a letter."""
    for pair, forms in _forms().items():
        if len(pair) == 2:
            text = text.replace(pair, forms["isolated"])
    return text


@cache
def _forms_of(sign: str) -> dict[str, str]:
    for pair, forms in _forms().items():
        if sign in (pair, forms.get("isolated")):
            return forms
    return {}


def _formed(before: str, letter: str, after: str) -> str:
    forms = _forms_of(letter[0])
    to_before = "final" in forms and _joins_next(before)
    to_after = "initial" in forms and _joins_previous(after)
    kind = {(True, True): "medial", (True, False): "final", (False, True): "initial"}.get((to_before, to_after))
    return forms.get(kind or "isolated", letter[0]) + letter[1:]


def _joins_next(letter: str) -> bool:
    return letter[:1] == _TATWEEL or (letter != "" and "initial" in _forms_of(letter[0]))


def _joins_previous(letter: str) -> bool:
    return letter[:1] == _TATWEEL or (letter != "" and "final" in _forms_of(letter[0]))


# Order ..............................................................................


def _levels(kinds: Sequence[str]) -> list[int]:
    """The level of each cluster: odd runs from right to left. The base is that of the first strong one."""
    base = next((int(kind != "L") for kind in kinds if kind in ("L", "R", "AL")), 0)
    strong = _resolved(kinds, "LR"[base])
    by_kind = {"L": 2 * base, "R": 1, "EN": 2, "AN": 2}
    levels = [by_kind[kind] for kind in strong]
    for place in reversed(range(len(kinds))):  # spaces at the end belong to the line
        if kinds[place] not in ("WS", "S", "B"):
            break
        levels[place] = base
    return levels


def _resolved(kinds: Sequence[str], base: str) -> list[str]:
    """Each kind as one of L, R, EN, AN (rules W2 to W7, N1 and N2)."""
    found = _with_separators(_with_numbers(kinds, base))
    neutral = [kind in _NEUTRAL for kind in found]
    place = 0
    while place < len(found):
        if not neutral[place]:
            place += 1
            continue
        end = next((after for after in range(place, len(found)) if not neutral[after]), len(found))
        before = _direction(found[place - 1]) if place else base
        after_it = _direction(found[end]) if end < len(found) else base
        found[place:end] = [before if before == after_it else base] * (end - place)
        place = end
    return found


def _with_numbers(kinds: Sequence[str], base: str) -> list[str]:
    """Numbers after Arabic are Arabic numbers, and those after Latin letters belong to them."""
    found: list[str] = []
    strong = base
    for kind in kinds:
        if kind in ("L", "R", "AL"):
            strong = kind
        if kind == "EN" and strong in ("AL", "L"):
            kind = "AN" if strong == "AL" else "L"
        found.append("R" if kind == "AL" else kind)
    return [kind if kind in ("L", "R", "EN", "AN") or kind in _NEUTRAL else "ON" for kind in found]


def _with_separators(kinds: list[str]) -> list[str]:
    """A point within a number is a part of it, and so is a sign of currency or a percent sign beside it."""
    found = list(kinds)
    for place in range(1, len(found) - 1):
        around = {found[place - 1], found[place + 1]}
        if (found[place] in ("ES", "CS") and around == {"EN"}) or (found[place] == "CS" and around == {"AN"}):
            found[place] = found[place - 1]
    for places in (range(len(found)), reversed(range(len(found)))):
        for before, place in pairwise(places):
            if found[place] == "ET" and found[before] == "EN":
                found[place] = "EN"
    return found


def _direction(kind: str) -> str:
    return "R" if kind in _NUMBER else kind


def _turned(order: list[int], chosen: Sequence[bool]) -> list[int]:
    """The order with each run of chosen ones turned round."""
    turned: list[int] = []
    for is_chosen, run in groupby(range(len(order)), lambda place: chosen[place]):
        places = list(run)
        turned += [order[place] for place in (reversed(places) if is_chosen else places)]
    return turned
