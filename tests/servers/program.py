"""Servers run from programs of this machine, each below a keeper of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path, PurePath
from typing import ClassVar, Final

from tests.servers import keeper
from tests.servers.errors import NotStoppedError
from tests.servers.sandbox import Account, search_path

_STOP_DEADLINE_S: Final = 60.0
_KILL_DEADLINE_S: Final = 30.0
_LOG_TAIL_LINES: Final = 20


class Program(ABC):
    """How one kind of server is run: its data, its command, its signal to stop."""

    name: ClassVar[str]
    process_name: ClassVar[str]  # of the process that takes `stop_signal`
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    quit_signal: ClassVar[signal.Signals] = signal.SIGKILL  # when its data no longer matter

    def __init__(self) -> None:
        self.account = Account()
        self.folder = self.account.new_folder(self.name)
        self.data = self.folder / "data"

    @abstractmethod
    def prepare(self) -> None:
        """Make what the command needs; called when there is no data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments, to run in the foreground."""

    def environment(self) -> dict[str, str]:
        """All environment variables of the program; nothing is inherited."""
        return {"PATH": search_path(), "HOME": str(self.folder), "LANG": "C.UTF-8"}


class ProgramControl:
    """Runs a `Program`. Whatever becomes of us, its keeper ends it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._log = program.folder / "server.log"
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, unless it runs; prepare it first if there are no data."""
        if self.death() is None:
            return
        self._forget_keeper()
        if not self._program.data.exists():
            self._program.prepare()
        charge = keeper.Charge(
            parent=os.getpid(),
            user=self._program.account.uid,
            group=self._program.account.gid,
            folder=str(self._program.folder),
            quit_signal=self._program.quit_signal,
            command=self._program.command(),
        )
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, json.dumps(charge)],
                stdin=subprocess.PIPE,  # never written to: closes by `close`, or when we die
                stdout=log,
                stderr=log,
                cwd=self._program.folder,
                env=self._program.environment(),
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
            )

    def stop(self) -> None:
        """Signal the program's main process and wait until the whole tree has ended."""
        self.resume()
        for process in self._tree():
            if process.name == self._program.process_name:
                _send(process.pid, self._program.stop_signal)
                break
        self._wait_for_keeper(_STOP_DEADLINE_S)

    def kill(self) -> None:
        """Have the keeper kill the whole tree."""
        if self._keeper is not None:
            self._keeper.terminate()
        self._wait_for_keeper(_KILL_DEADLINE_S)

    def pause(self) -> None:
        """Stop every process, parents first, so that none can be born unseen."""
        for process in self._tree():
            _send(process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue every process."""
        for process in self._tree():
            _send(process.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Remove the data folder."""
        if self._keeper is not None:
            raise NotStoppedError
        shutil.rmtree(self._program.data, ignore_errors=True)

    def close(self) -> None:
        """End what runs, in a hurry, and remove the folder."""
        self.resume()
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._wait_for_keeper(_KILL_DEADLINE_S)
        shutil.rmtree(self._program.folder, ignore_errors=True)

    def death(self) -> str | None:
        """The exit code, once the keeper has gone."""
        if self._keeper is None:
            return "was stopped"
        code = self._keeper.poll()
        return None if code is None else f"ended with code {code}"

    def pids(self) -> list[int]:
        """The keeper."""
        return [] if self._keeper is None or self.death() else [self._keeper.pid]

    def log_tail(self) -> str:
        """The end of what the program printed."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def put_file(self, path: PurePath, content: str) -> None:
        """Write it, readable for the account."""
        Path(path).write_text(content)

    def _tree(self) -> list[keeper.Process]:
        return [] if self._keeper is None else keeper.descendants(self._keeper.pid)

    def _wait_for_keeper(self, timeout_s: float) -> None:
        if self._keeper is None:
            return
        try:
            self._keeper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._keeper.terminate()
            self._keeper.wait(_KILL_DEADLINE_S)
        self._forget_keeper()

    def _forget_keeper(self) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper = None


def _send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
