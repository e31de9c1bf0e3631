"""How fast the machine is right now, whoever runs on it: a figure that moves together with these says nothing."""

from __future__ import annotations

import os
import tempfile
import time
from statistics import median
from typing import Final

#: The page of PostgreSQL: what a small commit writes.
_PAGE: Final = bytes(8192)
_FLUSHES: Final = 20


def figures() -> dict[str, float]:
    """What to print beside what was measured."""
    return {"speed of the machine ms": _speed_ms(), "flush to disk ms": flush_ms()}


def _speed_ms() -> float:
    """Milliseconds for a fixed piece of Python."""
    began, total = time.perf_counter(), 0
    for number in range(200_000):
        total += number * number % 7
    return (time.perf_counter() - began) * 1000


def flush_ms() -> float:
    """Milliseconds until one more page of a file is on the disk of the temporary folder, where the servers write."""
    with tempfile.TemporaryFile(buffering=0) as file:
        return median(_timed_flush(file.fileno()) for _ in range(_FLUSHES)) * 1000


def _timed_flush(descriptor: int) -> float:
    began = time.perf_counter()
    os.write(descriptor, _PAGE)
    os.fdatasync(descriptor)
    return time.perf_counter() - began
