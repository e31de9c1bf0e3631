"""A CSV file as a table, read as a stream."""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from worker_service import Permanent
from worker_service.library.reports.table import column_names

#: What a header is searched for, the likeliest first.
DELIMITERS: Final = (",", ";", "\t", "|")

#: Characters of a line, and of a cell (the csv module's own limit): one quote that is missing must not make
#: a cell of the whole file.
_MAX_LINE: Final = 1024 * 1024
_MAX_CELL: Final = 131_072
_CHUNK_BYTES: Final = 64 * 1024


class CsvTable:
    """A CSV file whose first line names the columns.

    Args:
        path: The file: UTF-8, with or without a byte order mark.
        delimiter: What stands between two cells; None for what the header has most of.

    Raises:
        Permanent: Its header can't be read.
    """

    numbers_are_text: Final = True

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        self._path = path
        self._size_bytes = path.stat().st_size
        self._read = 0
        self._delimiter = delimiter or self._sniffed()
        header = next(self._records(), None)
        if header is None:
            raise Permanent("the CSV source is empty: its first line must name the columns")
        self.columns: Final = column_names(header[1])

    @property
    def share_read(self) -> float:
        """How much of the file the last `rows()` has read, from 0 to 1."""
        # Characters against bytes: near enough, and never more than there is.
        return min(1.0, self._read / max(1, self._size_bytes))

    def rows(self) -> Iterator[Sequence[str]]:
        """The rows after the header; a short one is filled with empty cells."""
        width = len(self.columns)
        records = self._records()
        next(records)
        for line, cells in records:
            if len(cells) != width:
                cells = _fitted(cells, width, line)
            yield cells

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """The number of the last line of each record that is not blank, and its cells."""
        with self._open() as file:
            reader = csv.reader(self._lines(file), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells
            except csv.Error as error:
                raise Permanent(f"the CSV source, line {reader.line_num}: {_reason(error)}") from None
            except UnicodeDecodeError:
                raise Permanent(_encoding_fault(self._path)) from None

    def _open(self) -> io.TextIOWrapper:
        return self._path.open(encoding="utf-8-sig", newline="")

    def _lines(self, file: io.TextIOWrapper) -> Iterator[str]:
        self._read = number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            if len(line) == _MAX_LINE and not line.endswith(("\n", "\r")):
                raise Permanent(f"the CSV source, line {number}: is longer than {_MAX_LINE:,} characters")
            self._read += len(line)
            yield line

    def _sniffed(self) -> str:
        with self._open() as file:
            try:
                header = next(self._lines(file), "")
            except UnicodeDecodeError:
                raise Permanent(_encoding_fault(self._path)) from None
        # What stands in quotes separates nothing.
        bare = "".join(header.split('"')[::2])
        return max(DELIMITERS, key=bare.count)


def _fitted(cells: list[str], width: int, line: int) -> list[str]:
    if any(cells[width:]):
        raise Permanent(f"the CSV source, line {line}: has {len(cells):,} cells, the header has {width:,}")
    return [*cells[:width], *[""] * (width - len(cells))]


def _reason(error: csv.Error) -> str:
    match str(error):
        case text if "field limit" in text:
            return f"a cell is longer than {_MAX_CELL:,} characters: is a closing quote missing?"
        case "unexpected end of data":
            return "the file ends within a quoted cell: the closing quote is missing"
        case text:
            return text


def _encoding_fault(path: Path) -> str:
    """Which line holds the first byte that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as raw:
        if raw.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "the CSV source is UTF-16: save it as UTF-8"
        while True:
            chunk = raw.read(_CHUNK_BYTES)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                line += bytes(error.object[: error.start]).count(b"\n")
                byte = error.object[error.start]
                return f"the CSV source, line {line}: byte 0x{byte:02x} is not UTF-8: save the file as UTF-8"
            if not chunk:  # it was mended meanwhile
                return "the CSV source is not UTF-8: save it as UTF-8"
