"""What can go wrong with a server that the tests want to use."""

from __future__ import annotations


class ServersError(Exception):
    """Base of the errors of this package."""


class UnavailableError(ServersError):
    """One way to get a server does not work on this machine; another may."""


class NoEngineError(UnavailableError):
    """No Docker engine answers."""

    def __init__(self) -> None:
        super().__init__("no Docker engine answers")


class NoImageError(UnavailableError):
    """A Docker engine answers, and has no image and cannot get it."""

    def __init__(self, image: str) -> None:
        super().__init__(f"the Docker engine cannot get the image {image}")


class NotInstalledError(UnavailableError):
    """The server's program is not on this machine, and we may not install it."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} is not installed")


class InstallError(UnavailableError):
    """apt-get failed."""

    def __init__(self, package: str, output: str) -> None:
        last_line = (output.strip().splitlines() or ["it printed nothing"])[-1]
        super().__init__(f"apt-get could not install {package}: {last_line}")


class NoServerError(ServersError):
    """None of the ways to get a server works on this machine."""

    def __init__(self, kind: str, *, variable: str, package: str, reasons: list[str]) -> None:
        super().__init__(
            f"the tests need {kind}: set {variable}, start a Docker engine, install {package}, "
            f"or run them as root on Debian ({'; '.join(reasons)})"
        )


class ServerFailedError(ServersError):
    """A server ended, or did not answer in time, while it was being started."""

    def __init__(self, kind: str, reason: str, log_tail: str) -> None:
        super().__init__(f"{kind} {reason}; the end of its log:\n{log_tail}")


class NotOursError(ServersError):
    """A server whose address was given to us was to be stopped, killed or wiped."""

    def __init__(self, url: str) -> None:
        super().__init__(f"the server at {url} is not ours to control")


class NotStoppedError(ServersError):
    """Data were to be wiped under a server that still runs."""

    def __init__(self) -> None:
        super().__init__("a server must be stopped before its data are wiped")
