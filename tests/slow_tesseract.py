"""A stand-in for Tesseract that never ends, for tests of what becomes of it."""

import os
from pathlib import Path

_SCRIPT = """#!/bin/sh
if [ "$1" = --list-langs ]; then
    printf 'List of available languages (1):\\neng\\n'
    exit 0
fi
echo $$ >> {pids}
exec sleep 600
"""


class SlowTesseract:
    """Installs it in a folder of its own.

    Attributes:
        path: The search path on which it is found first.
    """

    def __init__(self, folder: Path) -> None:
        self._pids = folder / "pids"
        program = folder / "bin" / "tesseract"
        program.parent.mkdir()
        program.write_text(_SCRIPT.format(pids=self._pids))
        program.chmod(0o755)
        self.path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def started(self) -> list[int]:
        """The processes that were started so far."""
        return [int(line) for line in self._pids.read_text().split()] if self._pids.exists() else []

    def living(self) -> list[int]:
        """Those of them that still run."""
        return [pid for pid in self.started() if _lives(pid)]


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
