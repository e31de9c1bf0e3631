"""Our own services as a test disturbs them: real processes, stopped by their pid."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_STOP_DEADLINE_S: Final = 60.0


class ServiceProcess:
    """One `python -m …` of ours, in a session of its own, with its output in a file.

    Args:
        module: What to run.
        environment: Its settings, on top of ours.
        log: Where its output goes.
    """

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        self.module = module
        self.log = log
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(_ROOT)}
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.module} pid={self.pid}>"

    @property
    def pid(self) -> int | None:
        """Its process, while it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start it; returns at once."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module],
                env=self._environment,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, not to its children."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.pid is not None and self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_DEADLINE_S)

    async def ended(self) -> float:
        """Wait until it has ended by itself. Returns the seconds that it took."""
        assert self._process is not None
        began = time.monotonic()
        await asyncio.to_thread(self._process.wait, _STOP_DEADLINE_S)
        return time.monotonic() - began

    async def terminate(self) -> float:
        """SIGTERM, and wait until it has ended by itself. Returns the seconds that it took."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def close(self) -> None:
        """End it however it stands, frozen too."""
        if self.pid is not None:
            self.signal(signal.SIGCONT)
            self.kill()

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
