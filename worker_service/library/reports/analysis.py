"""The analysis of a table: statistics of each column, outliers, correlations; as JSON and as pages with plots."""

import json
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from worker_service import Permanent
from worker_service.library.reports.kinds import Kind, cell, is_missing, shown
from worker_service.library.reports.numbers import Numbers, as_numbers, correlations, outliers, statistics
from worker_service.library.reports.plots import draw_plots
from worker_service.library.reports.profile import ROWS_A_WORD, Column, Profile, Tell
from worker_service.library.reports.table import Table
from worker_service.library.reports.texts import Texts

#: Numbers that are held in memory at once, 8 bytes each.
MAX_NUMBERS: Final = 10_000_000
#: Columns of numbers that are compared with each other.
MAX_CORRELATED: Final = 40
#: Correlations that the result of the task names, the strongest first.
_STRONGEST: Final = 5

# Shares of the work, by what was measured.
_COLLECTED: Final = 0.5
_COMPUTED: Final = 0.6


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is worth knowing at once: `pages` of the PDF, and figures that fit a task's result."""

    pages: int
    highlights: dict[str, Any]


def analyse(pdf: Path, text: Path, title: str, table: Table, profile: Profile, tell: Tell) -> Analysis:
    """Analyse a table.

    Args:
        pdf: Where the plots go.
        text: Where everything that was found goes, as JSON.
        title: Heads both.
        table: The rows.
        profile: What is known of them.
        tell: Hears of every few rows and of each step.

    Raises:
        Permanent: The table has too many numbers.
    """
    numbers = {column.name: array("d") for column in profile.numbers()}
    if profile.rows * len(numbers) > MAX_NUMBERS:
        raise Permanent(
            f"an analysis holds up to {MAX_NUMBERS:,} numbers, and this table has {profile.rows * len(numbers):,}:"
            " leave out rows or columns"
        )
    texts = {column.name: Texts() for column in profile.columns if not column.is_number}
    _collect(table, profile, numbers, texts, lambda share, message: tell(share * _COLLECTED, message))
    tell(_COLLECTED, "computing statistics")
    values = {name: as_numbers(held) for name, held in numbers.items()}
    document = _document(title, profile, values, texts)
    text.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1), "utf-8")
    tell(_COMPUTED, "drawing plots")
    pages = draw_plots(
        pdf, document, values, lambda share, message: tell(_COMPUTED + (1 - _COMPUTED) * share, message)
    )
    return Analysis(pages, _highlights(document))


def _collect(
    table: Table, profile: Profile, numbers: "dict[str, array[float]]", texts: dict[str, Texts], tell: Tell
) -> None:
    taken = [(index, numbers[column.name]) for index, column in enumerate(profile.columns) if column.name in numbers]
    counted = [(index, texts[column.name]) for index, column in enumerate(profile.columns) if column.name in texts]
    for number, row in enumerate(table.rows(), 1):
        for index, held in taken:
            known: Any = cell(row[index], Kind.NUMBER)
            held.append(math.nan if known is None else float(known))
        for index, text in counted:
            if not is_missing(row[index]):
                text.add(shown(row[index]))
        if number % ROWS_A_WORD == 0:
            tell(number / profile.rows, f"collecting values: {number:,} of {profile.rows:,} rows")


def _document(title: str, profile: Profile, values: dict[str, Numbers], texts: dict[str, Texts]) -> dict[str, Any]:
    correlated = list(values)[:MAX_CORRELATED]
    return {
        "title": title,
        "rows": profile.rows,
        "columns": [_figures(column, values, texts) for column in profile.columns],
        "outliers": {name: outliers(held) for name, held in values.items()},
        "correlations": {"columns": correlated, "matrix": correlations([values[name] for name in correlated])},
    }


def _figures(column: Column, values: dict[str, Numbers], texts: dict[str, Texts]) -> dict[str, Any]:
    if column.name in values:
        return {**column.figures(), **statistics(values[column.name])}
    return {**column.figures(), **texts[column.name].figures()} if column.name in texts else column.figures()


def _highlights(document: dict[str, Any]) -> dict[str, Any]:
    names, matrix = document["correlations"]["columns"], document["correlations"]["matrix"]
    pairs = [
        {"columns": [names[one], names[other]], "r": matrix[one][other]}
        for one in range(len(names))
        for other in range(one)
        if matrix[one][other] is not None
    ]
    strongest = sorted(pairs, key=lambda pair: -abs(float(pair["r"])))[:_STRONGEST]
    return {
        "outliers": sum(found["count"] for found in document["outliers"].values()),
        "strongest_correlations": strongest,
    }
