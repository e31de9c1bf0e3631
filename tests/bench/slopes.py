"""Whether what a soak has watched stayed level: its first third against its last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """A figure rises if its last third is more than `factor` times its first and `slack` on top."""

    factor: float
    slack: float


#: Figures without a rule are shown and not judged.
RULES: Final[Mapping[str, Rule]] = {
    "api memory MiB": Rule(1.1, 5),
    "worker memory MiB": Rule(1.1, 5),
    "api open files": Rule(1.1, 10),
    "worker open files": Rule(1.1, 10),
    "api threads": Rule(1.1, 5),
    "worker threads": Rule(1.1, 5),
    "POST p50 ms": Rule(1.3, 1),
    "POST p99 ms": Rule(1.5, 10),
    "end to end p50 ms": Rule(1.3, 2),
    "end to end p99 ms": Rule(1.5, 20),
    "sum, CPU µs per request": Rule(1.25, 50),
    "PostgreSQL, CPU µs per request": Rule(1.5, 50),
    "requests in flight": Rule(1.5, 50),
    "outbox rows": Rule(1.5, 500),
    "outbox MiB": Rule(1.5, 16),
    "task_keys bytes per row": Rule(1.25, 50),
    "tasks bytes per row": Rule(1.15, 50),
    "tasks dead rows, share": Rule(1.5, 0.05),
    "messages at RabbitMQ": Rule(1.5, 500),
    # Bounded by what it may take, and level only once it has grown so far.
    "event stream MiB": Rule(1.2, 64),
}


@dataclass(frozen=True, slots=True)
class Slope:
    """The medians of one figure in the first and in the last third of a soak."""

    name: str
    first: float
    last: float

    @property
    def rises(self) -> bool:
        """Whether it has grown by more than noise explains."""
        rule = RULES.get(self.name)
        return rule is not None and self.last > self.first * rule.factor + rule.slack

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.name not in RULES:
            return "not judged"
        return "RISES" if self.rises else "level"


def slopes(samples: Sequence[Mapping[str, float]]) -> list[Slope]:
    """Each figure, judged over all samples, of which there must be three."""
    third = len(samples) // 3
    return [
        Slope(
            name,
            median(sample[name] for sample in samples[:third]),
            median(sample[name] for sample in samples[-third:]),
        )
        for name in samples[0]
    ]


def slopes_table(found: Sequence[Slope]) -> str:
    """A Markdown table with the verdicts."""
    lines = ["| soak | first third | last third | verdict |", "|---|---|---|---|"]
    lines += [f"| {slope.name} | {slope.first:,.4g} | {slope.last:,.4g} | {slope.verdict} |" for slope in found]
    rising = [slope.name for slope in found if slope.rises]
    return "\n".join([*lines, "", f"The soak shows a slope: {', '.join(rising)}" if rising else "The soak is level."])
