"""The ground a private server stands on: a user, a folder, ports."""

from __future__ import annotations

import atexit
import os
import pwd
import random
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

# Below the ports that the kernel hands out by itself: there, while the server is stopped, a
# client that keeps knocking could be given the very port it knocks at, and hold it.
_PORTS: Final = range(10_000, 32_000)
_TRIES: Final = 200


def free_port() -> int:
    """A loopback port that nobody has, kept from other test runs until this process ends.

    Raises:
        OSError: None was found.
    """
    for port in random.sample(_PORTS, _TRIES):
        if _is_free(port) and _reserve(port):
            return port
    raise OSError(f"none of {_TRIES} ports tried is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _reserve(port: int) -> bool:
    """Take the machine-wide name of the port, which the kernel frees when we die."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0taskmill-tests-port-{port}")
    except OSError:
        claim.close()
        return False
    atexit.register(claim.close)
    return True


class Account:
    """Whom private servers run as: ourselves, or nobody when we are root.

    PostgreSQL refuses to run as root, and the others have no need to.
    """

    def __init__(self) -> None:
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.uid = user.pw_uid if user else None
        self.gid = user.pw_gid if user else None

    def own(self, path: Path) -> Path:
        """Give a file or folder, and what is in it, to the account."""
        if self.uid is not None and self.gid is not None:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.uid, self.gid, follow_symlinks=False)
        return path

    def new_folder(self, name: str) -> Path:
        """A fresh temporary folder that belongs to the account and that it can reach."""
        folder = tempfile.mkdtemp(prefix=f"taskmill-{name}-", dir=self._reachable_base())
        return self.own(Path(folder))

    def can_reach(self, path: Path) -> bool:
        """Whether the account may read `path` and pass through every folder above it."""
        if self.uid is None:
            return os.access(path, os.R_OK)
        above = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
        return above and bool(path.stat().st_mode & stat.S_IROTH)

    def _reachable_base(self) -> Path:
        bases = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
        return next((base for base in bases if self.can_reach(base)), bases[0])


def find_program(name: str, *patterns: str) -> Path | None:
    """A program: the newest that a pattern of absolute paths matches, else by PATH."""
    for pattern in patterns:
        matches = sorted(Path("/").glob(pattern.removeprefix("/")))
        if matches:
            return matches[-1]
    found = shutil.which(name, path=search_path())
    return Path(found) if found else None


def search_path() -> str:
    """PATH with the folders of servers, which a normal user's often lacks."""
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"))
