"""What `taskmill doctor` adds to what the API finds: how the API looks from here."""

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from client.blocking import Taskmill
    from client.models import Diagnosis, Finding

#: Seconds after which an answer to the least of all questions is slow, and a clock is wrong.
_SLOW_S: Final = 1.0
_SKEW_S: Final = 5.0
_RANKS: Final = ("ok", "warn", "bad")


def examine(client: "Taskmill") -> "Diagnosis":
    """What the API finds, and what is seen from here.

    Raises:
        TaskmillError: The API does not answer, or does not let us.
    """
    from client.models import Diagnosis

    began = time.monotonic()
    client.health()
    took_s = time.monotonic() - began
    told = client.diagnostics()
    findings = [_answering(client.url, took_s), *_clock(told.facts), *told.findings]
    worst = max((finding.level for finding in findings), key=_rank)
    return Diagnosis(status=worst, findings=findings, facts=told.facts)


def _answering(url: str, took_s: float) -> "Finding":
    from client.models import Finding

    is_slow = took_s > _SLOW_S
    return Finding(
        check="api",
        level="warn" if is_slow else "ok",
        text=f"{url} answers within {took_s * 1000:.0f} ms",
        remedy="look at the load of its host and the way to it" if is_slow else None,
    )


def _clock(facts: dict[str, Any]) -> "list[Finding]":
    from client.models import Finding

    there = facts.get("clock")
    if not isinstance(there, int | float):
        return []
    skew_s = time.time() - there
    is_off = abs(skew_s) > _SKEW_S
    return [
        Finding(
            check="clock here",
            level="warn" if is_off else "ok",
            text=f"this machine's is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the API's",
            remedy="set it by NTP: --run-at and what is printed here follow it" if is_off else None,
        )
    ]


def _rank(level: str) -> int:
    return _RANKS.index(level) if level in _RANKS else 1
