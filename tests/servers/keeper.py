"""The parent of one server program: when the test run is gone, so is the server.

Run as a script of its own for each start of a server. It adopts whatever the server leaves
behind (a daemon, a grandchild that outlived its parent), so that the whole server is always
the tree below this process. The tree dies

* when the server's own process has ended,
* on SIGTERM,
* when our standard input closes: the test run is done with the server, or has itself ended in
  any way, SIGKILL included. Then the folder is removed too.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

_PR_SET_CHILD_SUBREAPER: Final = 36
_CHECK_INTERVAL_S: Final = 0.5
_QUIT_DEADLINE_S: Final = 2.0
_STDIN: Final = 0


class Charge(TypedDict):
    """What the test run asks of the keeper, as JSON in its only argument."""

    parent: int  # pid of the test run
    user: int | None  # whom the server runs as; None: the same user
    group: int | None
    folder: str  # removed when the test run is done with the server
    quit_signal: int  # how the server ends when its data no longer matter
    command: list[str]


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    name: str


def processes() -> Iterator[Process]:
    """Every process of the machine that is alive at some moment of the call."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name stands in parentheses and may itself hold spaces and parentheses.
            head, _, rest = (entry / "stat").read_text().rpartition(")")
        except OSError:
            continue
        yield Process(int(entry.name), int(rest.split()[1]), head.partition("(")[2])


def descendants(pid: int) -> list[Process]:
    """All processes below `pid`, parents before their children."""
    children: dict[int, list[Process]] = {}
    for process in processes():
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(pid, []))
    for process in found:  # grows while we walk: breadth first
        found += children.get(process.pid, [])
    return found


class Keeper:
    """Starts the server of a charge and sees it to its end."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._told_to_end = False
        self._exit_code: int | None = None
        self._server_pid = 0

    def run(self) -> int:
        """Keep the server until one of the three ends; return the server's exit code."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake = self._listen_to_signals()
        self._server_pid = self._start_server()
        abandoned = False
        while self._exit_code is None and not self._told_to_end and not abandoned:
            readable, _, _ = select.select([_STDIN, wake], [], [], _CHECK_INTERVAL_S)
            if wake in readable:
                os.read(wake, 64)
            # Another child of the test run may hold our pipe open after its death.
            abandoned = _STDIN in readable or os.getppid() != self._charge["parent"]
            self._reap()
        if abandoned and self._exit_code is None:
            self._quit()
        self._kill_tree()
        if abandoned:
            shutil.rmtree(self._charge["folder"], ignore_errors=True)
        return self._exit_code or 0

    def _listen_to_signals(self) -> int:
        """The file descriptor that becomes readable when a signal has come."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        return reading

    def _end(self, *_: object) -> None:
        self._told_to_end = True

    def _start_server(self) -> int:
        user, group = self._charge["user"], self._charge["group"]
        server = subprocess.Popen(
            self._charge["command"],
            stdin=subprocess.DEVNULL,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
        return server.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._server_pid:
                self._exit_code = os.waitstatus_to_exitcode(status)

    def _quit(self) -> None:
        os.kill(self._server_pid, self._charge["quit_signal"])
        deadline = time.monotonic() + _QUIT_DEADLINE_S
        while self._exit_code is None and time.monotonic() < deadline:
            time.sleep(0.01)
            self._reap()

    def _kill_tree(self) -> None:
        # Again and again: a process may have forked between the look and the kill.
        while alive := descendants(os.getpid()):
            for process in alive:
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self._reap()
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(Keeper(json.loads(sys.argv[1])).run())
