"""Medians, spread and ratios of many rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

#: Figures of a name, one of each round.
Rounds = Mapping[str, Sequence[float]]
#: Those of each part, by what was measured.
Costs = Mapping[str, Rounds]

#: What ours is held against where the others can't do the same: they would have to send single tasks.
_INSTEAD: Final = {
    "end to end/s, batches of 500": "end to end/s, single",
    "accepted/s, batches of 500": "POST/s, worker running",
    "drain/s, 1 worker": "drain of that/s",
    "drain/s, 2 workers": "drain of that/s",
}


def table(results: Mapping[str, Rounds]) -> str:
    """A Markdown table: our medians and their spread, those of the others, and how many times theirs ours are."""
    ours, *others = results
    return "\n".join(_lines(results, ours, others))


def _lines(results: Mapping[str, Rounds], ours: str, others: Sequence[str]) -> Iterator[str]:
    yield "| figure | " + " | ".join([ours, *(f"{name} | ours / theirs" for name in others)]) + " |"
    yield "|---" * (2 + 2 * len(others)) + "|"
    for figure, values in results[ours].items():
        cells = [_spread(values)]
        for other in others:
            theirs = results[other].get(figure) or results[other].get(_INSTEAD.get(figure, ""), [])
            cells += [_spread(theirs), _ratio(values, theirs)]
        yield f"| {figure} | {' | '.join(cells)} |"


def costs_table(costs: Mapping[str, Costs]) -> str:
    """A Markdown table: the median of each part's CPU microseconds, by what was measured and by contender."""
    rows = [(name, contender) for name in _in_order(costs) for contender in costs if name in costs[contender]]
    parts = list(dict.fromkeys(part for measured in costs.values() for cost in measured.values() for part in cost))
    lines = [f"| CPU µs per task | | {' | '.join(parts)} |", "|---" * (2 + len(parts)) + "|"]
    for name, contender in rows:
        cost = costs[contender][name]
        cells = [f"{median(cost[part]):,.0f}" if part in cost else "" for part in parts]
        lines.append(f"| {name} | {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _in_order(costs: Mapping[str, Costs]) -> Iterator[str]:
    yield from dict.fromkeys(name for measured in costs.values() for name in measured)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = _figure(median(values))
    return middle if len(values) == 1 else f"{middle} ({_figure(min(values))} to {_figure(max(values))})"


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """By round, since the machine's speed wanders between them; then the median."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    return f"{median(ratios):.2f}×" if ratios else ""


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
