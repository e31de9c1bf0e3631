"""What is left of a server when the test run that started it is gone."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.servers.keeper import descendants
from tests.servers.program import Program, ProgramControl

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 30

# A server that leaves a daemon behind, as Erlang does with its name server.
SERVER: Final = """
setsid sh -c 'sleep 1000 & sleep 1000 & echo > daemon; wait' &
read _ < daemon
trap 'echo asked to stop; exit 7' TERM
echo > ready
sleep 1000 & wait
"""

TEST_RUN: Final = """
import json, time
from tests.integration.test_servers_keeper import started
control = started()
print(json.dumps([control._keeper.pid, str(control._program.folder)]), flush=True)
time.sleep(1000)
"""


class ShellProgram(Program):
    """A server made of shells."""

    name = "shell"
    process_name = "sh"

    def prepare(self) -> None:
        self.data.mkdir()
        for name in ("daemon", "ready"):
            os.mkfifo(self.folder / name)
        self.account.own(self.folder)

    def command(self) -> list[str]:
        return ["sh", "-c", SERVER]


def started() -> ProgramControl:
    """The server, with its daemon running."""
    control = ProgramControl(ShellProgram())
    control.start()
    (control._program.folder / "ready").read_text()  # until the server has written to it
    return control


class Tree:
    """All processes of a server, held by handles that no later process can be mistaken for."""

    def __init__(self, keeper_pid: int) -> None:
        self.pids = [keeper_pid, *(process.pid for process in descendants(keeper_pid))]
        self._handles = [os.pidfd_open(pid) for pid in self.pids]

    def is_gone(self, *, within_s: float = 0) -> bool:
        """Whether all of them have ended."""
        deadline = time.monotonic() + within_s
        while self._handles:
            ended, _, _ = select.select(self._handles, [], [], max(0, deadline - time.monotonic()))
            if not ended:
                return False
            for handle in ended:
                os.close(handle)
                self._handles.remove(handle)
        return True


def tree(control: ProgramControl) -> Tree:
    assert control._keeper is not None
    return Tree(control._keeper.pid)


@pytest.fixture
def control() -> Iterator[ProgramControl]:
    running = started()
    yield running
    running.close()


def test_stopping_asks_the_server_and_ends_all_of_it(control: ProgramControl) -> None:
    processes = tree(control)

    control.stop()

    assert processes.is_gone()
    assert "asked to stop" in control.log_tail()


def test_killing_asks_nobody(control: ProgramControl) -> None:
    processes = tree(control)

    control.kill()

    assert processes.is_gone()
    assert "asked to stop" not in control.log_tail()


def test_a_paused_server_can_be_stopped(control: ProgramControl) -> None:
    processes = tree(control)
    control.pause()

    control.stop()

    assert processes.is_gone()


def test_closing_leaves_no_folder(control: ProgramControl) -> None:
    processes = tree(control)

    control.close()

    assert processes.is_gone()
    assert not control._program.folder.exists()


def test_a_server_that_ends_by_itself_is_told_apart(control: ProgramControl) -> None:
    processes = tree(control)
    assert control.death() is None

    os.kill(processes.pids[1], signal.SIGTERM)

    assert processes.is_gone(within_s=PATIENCE_S)
    assert control.death() == "ended with code 7"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_test_run(ending: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", TEST_RUN], cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        keeper_pid, folder = json.loads(run.stdout.readline())
        processes = Tree(keeper_pid)
        assert len(processes.pids) >= 5

        run.send_signal(ending)

        assert processes.is_gone(within_s=PATIENCE_S)
        assert not Path(folder).exists()
