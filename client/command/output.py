"""What the command prints: JSON for machines, tables for people, plain columns where no terminal is."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TextIO

#: What would move a terminal's cursor or worse; tabs and line ends come out as spaces.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_C1: Final = re.compile(r"[\x7f-\x9f]")

#: How a word is shown where there are colours.
_STYLES: Final[Mapping[str, str]] = {
    "succeeded": "green",
    "ok": "green",
    "up": "green",
    "running": "cyan",
    "queued": "blue",
    "scheduled": "blue",
    "retrying": "yellow",
    "degraded": "yellow",
    "warn": "yellow",
    "paused": "yellow",
    "cancelled": "magenta",
    "expired": "magenta",
    "failed": "red",
    "bad": "red",
    "down": "red",
    "stale": "red",
    "unhealthy": "red",
}


class Output:
    """Prints what a command has to say.

    Args:
        as_json: Standard output is for a machine: one JSON value, or one a line for streams, and nothing else.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    # For machines ...................................................................

    def json(self, value: Any) -> None:
        """Print a JSON value: indented on a terminal, else on one line."""
        print(_json(value, indent=2 if sys.stdout.isatty() else None), flush=True)

    def json_line(self, value: Any) -> None:
        """Print a JSON value on one line, at once."""
        print(_json(value, indent=None), flush=True)

    # For people .....................................................................

    def say(self, text: str) -> None:
        """Print a line."""
        print(clean(text), flush=True)

    def note(self, text: str) -> None:
        """Print a line that is not what was asked for, where a pipe does not see it."""
        print(clean(text), file=sys.stderr, flush=True)

    def value(self, value: Any) -> None:
        """Print a value that a task has returned, indented."""
        print(_json(value, indent=2), flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
        """Print rows under the names of their columns."""
        cells = [[_shown(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _print_rich(columns, cells, title)
        else:
            _print_plain(columns, cells, title)

    def fields(self, fields: Mapping[str, Any]) -> None:
        """Print names and values, one a line; those without a value are left out."""
        shown = {name: _shown(value) for name, value in fields.items() if value not in (None, "", [], {})}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            print(f"{name:{width}}  {value}")


def clean(text: str) -> str:
    """Text that can do a terminal no harm."""
    return _CONTROLS.sub(lambda found: " " if found[0] in "\t\r\n" else f"\\x{ord(found[0]):02x}", text)


def prepare(stream: TextIO) -> None:
    """Let a stream print whatever it is given: what it has no character for is escaped."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _json(value: Any, *, indent: int | None) -> str:
    is_unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not is_unicode, indent=indent, default=str)
    # JSON lets these stand; terminals take some of them for orders.
    return _C1.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(cell: Any) -> str:
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case float():
            return f"{cell:g}"
        case datetime():
            return f"{cell.astimezone():%Y-%m-%d %H:%M:%S}"
        case list() if all(isinstance(item, datetime) for item in cell):
            return ", ".join(map(_shown, cell))
        case dict() | list():
            return clean(json.dumps(cell, ensure_ascii=False, default=str))
    return clean(str(cell))


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    if title:
        print(title)
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in ([name.upper() for name in columns], *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for row in rows:
        # As Text: what users have sent is no markup.
        table.add_row(*(Text(cell, style=_STYLES.get(cell, ""), overflow="fold") for cell in row))
    Console().print(table)
