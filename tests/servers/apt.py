"""Getting server programs from Debian, without Debian starting them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.errors import InstallError

# Debian asks this program before it starts a service that was just installed.
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT: Final = """#!/bin/sh
# Written while the tests of Taskmill install servers that nobody asked to run.
# It says no until that process has ended, and means nothing after.
[ -d /proc/{pid} ] && exit 101
exit 0
"""
_LOCK: Final = Path(tempfile.gettempdir()) / "taskmill-tests-apt.lock"
_OPTIONS: Final = ("-qq", "-o", "DPkg::Lock::Timeout=600")


def can_install() -> bool:
    """Whether we are root on a machine with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str) -> None:
    """Install a package; its services are not started. One at a time on a machine.

    Raises:
        InstallError: apt-get failed.
    """
    with _locked(), _services_held_back():
        # A fresh machine has no lists, an old one has lists of versions long gone.
        if _apt_get("install", package).returncode == 0:
            return
        _apt_get("update")
        second = _apt_get("install", package)
        if second.returncode != 0:
            raise InstallError(package, second.stdout)


def _apt_get(action: str, *packages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *_OPTIONS, action, "--yes", "--no-install-recommends", *packages],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # Ctrl-C must not leave packages half installed
    )


@contextmanager
def _locked() -> Iterator[None]:
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_held_back() -> Iterator[None]:
    if _POLICY.exists():  # the machine's owner has decided
        yield
        return
    _POLICY.write_text(_POLICY_TEXT.format(pid=os.getpid()))
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
