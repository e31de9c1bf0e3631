"""A server that somebody else runs: it may be used, not disturbed."""

from __future__ import annotations

from pathlib import PurePath
from typing import NoReturn

from tests.servers.errors import NotOursError


class ExternalControl:
    """Refuses everything but to start and close, which have nothing to do.

    Raises:
        NotOursError: From every method that would disturb the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self) -> None:
        """It runs already."""

    def close(self) -> None:
        """It goes on without us."""

    def _refuse(self) -> NoReturn:
        raise NotOursError(self._url)

    def stop(self) -> None:
        """Refused."""
        self._refuse()

    def kill(self) -> None:
        """Refused."""
        self._refuse()

    def pause(self) -> None:
        """Refused."""
        self._refuse()

    def resume(self) -> None:
        """Refused."""
        self._refuse()

    def wipe(self) -> None:
        """Refused."""
        self._refuse()

    def death(self) -> str | None:
        """Never known."""
        return None

    def pids(self) -> list[int]:
        """Not known."""
        return []

    def log_tail(self) -> str:
        """Out of reach."""
        return f"(kept by whoever runs {self._url})"

    def put_file(self, path: PurePath, content: str) -> None:
        """Not needed by a server that we never wipe."""
