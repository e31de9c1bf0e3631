"""Removes the containers of a test run that died before it could do so itself.

Testcontainers has a container for that, whose image cannot be had everywhere.
"""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import threading
import uuid
from typing import Final

import docker  # type: ignore[import-untyped]

_LABEL: Final = "org.taskmill.test-run"
_one_at_a_time: Final = threading.Lock()


def label() -> dict[str, str]:
    """The label of all containers of this process, which a reaper now watches over."""
    with _one_at_a_time:
        return {_LABEL: _watched_run()}


@functools.cache
def _watched_run() -> str:
    run_id = uuid.uuid4().hex
    _watch(run_id)
    return run_id


def _watch(run_id: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Its standard input closes when we end, in whatever way, and must not close before.
    atexit.register(process.communicate)


def reap(run_id: str) -> None:
    """Wait for the end of the test run, then remove what is left of it."""
    sys.stdin.read()
    label_filter = {"label": f"{_LABEL}={run_id}"}
    client = docker.from_env()
    for container in client.containers.list(all=True, filters=label_filter):
        container.remove(force=True, v=True)


if __name__ == "__main__":
    reap(sys.argv[1])
