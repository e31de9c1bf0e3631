"""Plots of an analysis: an overview, then box plots and histograms, a page after the other."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from worker_service.library.reports.kinds import shown
from worker_service.library.reports.numbers import Numbers, present
from worker_service.library.reports.profile import Tell


def _name_cache_folder() -> None:
    """Name a folder for matplotlib's list of fonts, unless somebody has: all processes share it, and make it once.

    Its own choice is the home folder, which a container does not have.
    """
    folder = Path(tempfile.gettempdir()) / f"taskmill-matplotlib-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.getuid():
            os.environ.setdefault("MPLCONFIGDIR", str(folder))


_name_cache_folder()
import matplotlib  # noqa: E402 - it reads the variable when it is imported
from matplotlib.backends.backend_pdf import PdfPages  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.font_manager import findfont, get_font  # noqa: E402
from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: E402

#: Columns of numbers that are drawn, and histograms of a page.
MAX_DRAWN: Final = 18
_A_PAGE: Final = 9
#: Columns of the heat map, and lines of the table on the first page.
_MAX_HEAT: Final = 16
_MAX_LINES: Final = 24
_BINS: Final = 30
#: Axes are computed from differences of values, which must stay numbers.
_LARGEST: Final = 1e150

_A4: Final = (11.69, 8.27)
_BLUE: Final = "#2f7ebc"
_FIGURES: Final = ("kind", "count", "missing", "distinct", "mean", "std", "min", "median", "max")

_STYLE: Final[Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 8,
    "pdf.fonttype": 42,  # outlines that a reader can search
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_plots(path: Path, document: Mapping[str, Any], values: Mapping[str, Numbers], tell: Tell) -> int:
    """Draw the pages of an analysis and return how many there are.

    Args:
        path: The file.
        document: The analysis.
        values: The columns of numbers.
        tell: Hears of each page.
    """
    drawn = {name: known for name, held in values.items() if (known := _drawable(held)).size}
    names = list(drawn)[:MAX_DRAWN]
    groups = [names[at : at + _A_PAGE] for at in range(0, len(names), _A_PAGE)]
    pages = 1 + bool(names) + len(groups)
    with matplotlib.rc_context(_STYLE), PdfPages(path, metadata={"Title": _label(document["title"], 200)}) as file:
        for number, figure in enumerate(_figures(document, drawn, names, groups), 1):
            tell((number - 1) / pages, f"drawing plots: page {number} of {pages}")
            figure.text(0.97, 0.02, f"page {number} of {pages}", ha="right", color="0.5")
            file.savefig(figure)
    return pages


def _figures(
    document: Mapping[str, Any], drawn: Mapping[str, Numbers], names: Sequence[str], groups: Sequence[Sequence[str]]
) -> Iterator[Figure]:
    yield _overview(document)
    if names:
        yield _heat_and_boxes(document["correlations"], drawn, names)
    for group in groups:
        yield _histograms(drawn, group)


def _overview(document: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=_A4)
    figure.text(0.03, 0.93, _label(document["title"], 80), fontsize=18, weight="bold", color="#1f5f99")
    columns = document["columns"]
    facts = f"{document['rows']:,} rows, {len(columns):,} columns"
    left_out = f", the first {_MAX_LINES} of them here" if len(columns) > _MAX_LINES else ""
    figure.text(0.03, 0.895, facts + left_out, fontsize=9, color="0.5")
    axes = figure.add_axes((0.03, 0.05, 0.94, 0.82))
    axes.axis("off")
    lines = [
        [_label(column["name"], 28), *(_label(shown(column.get(name)), 14) for name in _FIGURES)]
        for column in columns[:_MAX_LINES]
    ]
    table = axes.table(lines, colLabels=["column", *_FIGURES], loc="upper left", cellLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(7)
    table.auto_set_column_width(list(range(len(_FIGURES) + 1)))
    table.scale(1, 1.3)
    return figure


def _heat_and_boxes(correlations: Mapping[str, Any], drawn: Mapping[str, Numbers], names: Sequence[str]) -> Figure:
    figure = Figure(figsize=_A4, layout=ConstrainedLayoutEngine(rect=(0.02, 0.05, 0.96, 0.92)))
    heat, boxes = figure.subplots(1, 2)
    _heat_map(figure, heat, correlations)
    # Side by side, columns of any size: each is shown in its own standard deviations.
    boxes.boxplot([_standardised(drawn[name]) for name in names], orientation="horizontal", flierprops=_POINTS)
    boxes.set_yticklabels([_label(name, 18) for name in names])
    boxes.set_title("Box plots, in standard deviations from the mean")
    boxes.invert_yaxis()
    return figure


#: One picture instead of a path for each of a hundred thousand points.
_POINTS: Final = {"marker": ".", "markersize": 2, "markeredgecolor": _BLUE, "rasterized": True}


def _heat_map(figure: Figure, axes: Any, correlations: Mapping[str, Any]) -> None:
    names = correlations["columns"][:_MAX_HEAT]
    rows = [line[:_MAX_HEAT] for line in correlations["matrix"][:_MAX_HEAT]]
    matrix = np.array([[np.nan if r is None else r for r in line] for line in rows])
    picture = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(picture, ax=axes, shrink=0.6)
    axes.set_xticks(range(len(names)), [_label(name, 14) for name in names], rotation=45, ha="right")
    axes.set_yticks(range(len(names)), [_label(name, 14) for name in names])
    for (line, place), r in np.ndenumerate(matrix):
        text = "–" if np.isnan(r) else f"{round(r, 2) + 0.0:.2f}"
        axes.text(place, line, text, ha="center", va="center", color="white" if abs(r) > 0.6 else "black", fontsize=6)
    axes.set_title("Correlations (Pearson)")


def _histograms(drawn: Mapping[str, Numbers], names: Sequence[str]) -> Figure:
    figure = Figure(figsize=_A4, layout=ConstrainedLayoutEngine(rect=(0.02, 0.05, 0.96, 0.92)))
    figure.suptitle("Histograms", fontsize=10)
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(3, 3, place)
        counts, edges = _counted(drawn[name])
        axes.stairs(counts, edges, fill=True, color=_BLUE)
        axes.set_title(_label(name, 40))
        axes.ticklabel_format(axis="x", scilimits=(-4, 6))
    return figure


def _counted(values: Numbers) -> tuple[Any, Any]:
    least, greatest = float(values.min()), float(values.max())
    room = max(abs(least), abs(greatest)) * 1e-6 or 1.0
    if greatest - least < room:  # too near to each other to make bins of
        least, greatest = least - room, greatest + room
    return np.histogram(values, bins=_BINS, range=(least, greatest))


def _drawable(values: Numbers) -> Numbers:
    known = present(values)
    return known[np.abs(known) <= _LARGEST]


def _standardised(values: Numbers) -> Numbers:
    centred = values - values.mean()
    deviation = float(centred.std())
    return centred / deviation if deviation else np.zeros_like(values)


def _label(text: str, length: int) -> str:
    """A text as the font can draw it, on one line."""
    known = "".join(character if _can_draw(character) else "□" for character in " ".join(text[:500].split()))
    return known if len(known) <= length else known[: length - 1] + "…"


def _can_draw(character: str) -> bool:
    return character.isprintable() and ord(character) in _glyphs()


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
