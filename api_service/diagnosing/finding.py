"""One thing that was looked at, and what all of them have in common."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warn", "bad"]

#: What a server is called that is part of this process.
IN_PROCESS: Final = "in-process"
#: Seconds by which a clock may differ before it is worth a word, and before it does harm.
_SKEW_WARN_S: Final = 1.0
_SKEW_BAD_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What.
        text: What was found.
        remedy: What to do about it; None where it is well.
    """

    check: str
    level: Level
    text: str
    remedy: str | None = None


def worst_of(findings: Sequence[Finding]) -> Level:
    """The level of the whole."""
    levels: tuple[Level, ...] = ("bad", "warn")
    return next((level for level in levels if any(finding.level == level for finding in findings)), "ok")


def away(check: str, reason: str, remedy: str, *, level: Level = "bad") -> Finding:
    """Something could not be asked."""
    return Finding(check, level, f"does not answer: {reason}", remedy)


def either(check: str, is_well: bool, text: str, level: Level, remedy: str) -> Finding:
    """A finding that is well, or else of `level` with its remedy."""
    return Finding(check, "ok", text) if is_well else Finding(check, level, text, remedy)


def skew(check: str, ahead_s: float) -> Finding:
    """How far another clock is from this host's."""
    level: Level = "bad" if abs(ahead_s) > _SKEW_BAD_S else "warn"
    which = "ahead of" if ahead_s > 0 else "behind"
    return either(
        check,
        abs(ahead_s) < _SKEW_WARN_S,
        f"{abs(ahead_s):.2f} s {which} the API's",
        level,
        "set both by NTP: delays and schedules are reckoned by one and kept by the other",
    )


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare; empty, and older than any, where it can't be read."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()
