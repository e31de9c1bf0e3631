"""What processes cost: CPU and memory of whole trees, read from /proc."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MIB: Final = 1024
_PROC: Final = Path("/proc")


class Processes:
    """All processes of the machine at one moment, and the CPU time of each, its ended children included.

    Attributes:
        busy_s: CPU seconds that the whole machine has been busy, or was kept waiting by its host.
    """

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._cpu_s: dict[int, float] = {}
        for entry in _PROC.iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                self._children.setdefault(int(fields[1]), []).append(int(entry.name))
                self._cpu_s[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS_PER_S
        user, nice, system, _, _, *interrupts_and_steal = map(int, _machine())
        self.busy_s = (user + nice + system + sum(interrupts_and_steal)) / _TICKS_PER_S

    def tree(self, root: int) -> list[int]:
        """A process and all that came from it."""
        found = [root]
        for pid in found:  # grows while we walk
            found += self._children.get(pid, [])
        return found

    def cpu_s(self, roots: Iterable[int]) -> float:
        """CPU seconds that the trees have used."""
        return sum(self._cpu_s.get(pid, 0.0) for root in roots for pid in self.tree(root))


def tree(root: int) -> list[int]:
    """A process and all that came from it, now."""
    return Processes().tree(root)


def pss_mib(roots: Iterable[int]) -> float:
    """What the trees hold in memory now, shared pages divided among those that share them (PSS), in MiB."""
    return _total_kib(roots, "smaps_rollup", "Pss:") / _MIB


def peak_rss_mib(roots: Iterable[int]) -> float:
    """The most that each process of the trees ever held, pages shared with others in full, summed up, in MiB."""
    return _total_kib(roots, "status", "VmHWM:") / _MIB


def open_files(roots: Iterable[int]) -> int:
    """Open files and sockets of the trees."""
    return _entries(roots, "fd")


def threads(roots: Iterable[int]) -> int:
    """Threads of the trees."""
    return _entries(roots, "task")


@contextmanager
def frozen(roots: Sequence[int]) -> Iterator[None]:
    """Hold whole trees still meanwhile."""
    _signal(roots, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(roots, signal.SIGCONT)


def _machine() -> list[str]:
    return (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has ended
        return []


def _total_kib(roots: Iterable[int], file: str, field: str) -> int:
    total = 0
    for pid in _pids(roots):
        with suppress(OSError):  # it has ended
            lines = (_PROC / str(pid) / file).read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
    return total


def _entries(roots: Iterable[int], folder: str) -> int:
    total = 0
    for pid in _pids(roots):
        with suppress(OSError):  # it has ended
            total += sum(1 for _ in (_PROC / str(pid) / folder).iterdir())
    return total


def _signal(roots: Sequence[int], number: signal.Signals) -> None:
    for pid in _pids(roots):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids(roots: Iterable[int]) -> list[int]:
    processes = Processes()
    return [pid for root in roots for pid in processes.tree(root)]
