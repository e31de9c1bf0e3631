"""What processes cost: CPU and memory of whole trees, read from /proc."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MIB: Final = 1024


def tree(root: int) -> list[int]:
    """A process and all that came from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds that the trees have used, their ended children included."""
    pids = (pid for root in roots for pid in tree(root))
    return sum(sum(map(int, fields[11:15])) / _TICKS_PER_S for pid in pids if (fields := _stat(pid)))


def memory_mib(roots: Iterable[int]) -> float:
    """What the trees hold in memory now (proportional set size), in MiB."""
    return sum(_pss_kib(pid) for root in roots for pid in tree(root)) / _MIB


def freeze(roots: Sequence[int]) -> None:
    """Stop whole trees."""
    _signal(roots, signal.SIGSTOP)


def thaw(roots: Sequence[int]) -> None:
    """Let them go on."""
    _signal(roots, signal.SIGCONT)


def speed_ms() -> float:
    """Milliseconds for a fixed piece of Python: how fast this core is right now."""
    began, total = time.perf_counter(), 0
    for number in range(200_000):
        total += number * number % 7
    return (time.perf_counter() - began) * 1000


def _stat(pid: int) -> list[str]:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has ended
        return []


def _pss_kib(pid: int) -> int:
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _signal(roots: Sequence[int], number: signal.Signals) -> None:
    for root in roots:
        for pid in tree(root):
            os.kill(pid, number)
