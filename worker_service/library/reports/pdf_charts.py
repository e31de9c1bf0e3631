"""Charts of the columns of numbers on one page of a PDF: bars for a few rows, a curve for many."""

from collections.abc import Sequence
from typing import Any, Final

from reportlab.graphics import renderPDF
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.charts.lineplots import LinePlot
from reportlab.graphics.shapes import Drawing, String
from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas

from worker_service.library.reports.kinds import shown
from worker_service.library.reports.pdf_layout import MARGIN, Layout
from worker_service.library.reports.pdf_script import placed
from worker_service.library.reports.pdf_text import BOLD, PLAIN, face
from worker_service.library.reports.profile import BARS, Column, Profile

#: Charts on the page, two in a row.
CHARTS: Final = 6

_BLUE: Final = HexColor("#2f7ebc")
_INK: Final = HexColor("#1f2933")
_FAINT: Final = HexColor("#7b8794")
_SIZE: Final = 6.5
#: Axes are computed from products and quotients of values, which must stay numbers.
_LARGEST: Final = 1e100
_LEAST: Final = 1e-100


def draw_charts(canvas: Canvas, profile: Profile, layout: Layout) -> None:
    """Fill the page with charts of the first columns of numbers."""
    columns = profile.numbers()[:CHARTS]
    lines = -(-len(columns) // 2)
    width = (layout.width - 2 * MARGIN - 16) / 2
    height = min((layout.height - 2 * MARGIN - 30) / lines, 240)
    for place, column in enumerate(columns):
        drawing = Drawing(width, height - 12)
        drawing.add(_heading(column, profile, width, height - 24))
        chart = _bars(column, profile) if profile.rows <= BARS else _curve(column, profile.rows)
        chart.x, chart.y, chart.width, chart.height = 52, 28, width - 64, height - 64
        drawing.add(chart)
        x = MARGIN + (place % 2) * (width + 16)
        renderPDF.draw(drawing, canvas, x, layout.height - MARGIN - 26 - height * (place // 2 + 1))


def _heading(column: Column, profile: Profile, width: float, y: float) -> Any:
    font = face(BOLD)
    points = "" if profile.rows <= BARS else f" (means of {column.curve.rows_a_point:,} rows)"
    text = placed(font.cut(font.clean(column.name), 8, width - 110)) + points
    return String(4, y, text, fontName=BOLD, fontSize=8, fillColor=_INK)


def _bars(column: Column, profile: Profile) -> Any:
    chart = VerticalBarChart()
    heights = [_drawable(point) for point in column.curve.points()]
    chart.data = [[0.0 if height is None else height for height in heights]]
    chart.valueAxis.valueMin, chart.valueAxis.valueMax = _range([0.0, *heights])
    font = face(PLAIN)
    names = [placed(font.cut(font.clean(label), _SIZE, 60)) for label in profile.labels()]
    chart.categoryAxis.categoryNames = names
    chart.categoryAxis.labels.angle = 30
    chart.categoryAxis.labels.boxAnchor = "ne"
    chart.bars[0].fillColor = _BLUE
    chart.bars[0].strokeColor = None
    _style(chart.categoryAxis)
    _style(chart.valueAxis)
    return chart


def _curve(column: Column, rows: int) -> Any:
    chart = LinePlot()
    step = column.curve.rows_a_point
    heights = [_drawable(point) for point in column.curve.points()]
    # A row in the middle of those that the point stands for.
    chart.data = [
        [(place * step + step / 2, height) for place, height in enumerate(heights) if height is not None]
        or [(0.0, 0.0)]
    ]
    chart.xValueAxis.valueMin, chart.xValueAxis.valueMax = 0, rows
    chart.yValueAxis.valueMin, chart.yValueAxis.valueMax = _range(heights)
    chart.lines[0].strokeColor = _BLUE
    chart.lines[0].strokeWidth = 1.1
    _style(chart.xValueAxis, lambda value: f"{value:,.0f}")
    _style(chart.yValueAxis)
    return chart


def _style(axis: Any, form: Any = shown) -> None:
    axis.labels.fontName = PLAIN
    axis.labels.fontSize = _SIZE
    axis.labels.fillColor = _FAINT
    axis.strokeColor = _FAINT
    axis.strokeWidth = 0.4
    if hasattr(axis, "labelTextFormat"):
        axis.labelTextFormat = form
        axis.maximumTicks = 6


def _drawable(height: float | None) -> float | None:
    if height is None or abs(height) > _LARGEST:
        return None
    return height if abs(height) >= _LEAST else 0.0


def _range(heights: Sequence[float | None]) -> tuple[float, float]:
    """From the least to the greatest, with some room where all are the same."""
    known = [height for height in heights if height is not None] or [0.0]
    least, greatest = min(known), max(known)
    room = (greatest - least) * 0.05 or abs(greatest) * 0.1 or 1.0
    return (0.0 if 0 <= least <= (greatest - least) else least - room), greatest + room
