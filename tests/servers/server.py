"""A server as the tests see it."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Self

from tests.servers.control import Control
from tests.servers.errors import ServerFailedError

_START_DEADLINE_S: Final = 120.0
_POLL_INTERVAL_S: Final = 0.05


class Server(ABC):
    """One real server. Its address stays the same whatever is done to it.

    All methods block; call them through `asyncio.to_thread` where a loop must go on.

    Attributes:
        url: Where clients connect, with the user and the default database.
    """

    kind: ClassVar[str]
    variable: ClassVar[str]  # the environment variable with the address of one to use
    image: ClassVar[str]
    package: ClassVar[str]  # Debian's package with the program

    def __init__(self, url: str, control: Control) -> None:
        self.url = url
        self._control = control

    # How one comes to be ...

    @classmethod
    @abstractmethod
    def at(cls, url: str) -> Self:
        """A server that somebody else runs."""

    @classmethod
    @abstractmethod
    def in_container(cls, *, durable: bool) -> Self:
        """A server in a container of its own."""

    @classmethod
    @abstractmethod
    def as_program(cls, *, durable: bool) -> Self:
        """A server from the programs of this machine, run privately."""

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool:
        """Whether `as_program` can find its program."""

    # What tests do to it ...

    def start(self) -> None:
        """Start and return when clients are served. Data are kept from the last run.

        Raises:
            ServerFailedError: It ended, or did not answer within two minutes.
        """
        self._control.start()
        self.wait_until_ready()

    def stop(self) -> None:
        """End gracefully, the way an operator would."""
        self._control.stop()

    def kill(self) -> None:
        """End at once, every process of it, as a power cut would."""
        self._control.kill()

    def restart(self) -> None:
        """Stop gracefully and start again."""
        self.stop()
        self.start()

    def mend(self) -> None:
        """Bring it back, whatever was done to it."""
        self._control.resume()
        if self._control.death():
            self._control.start()
        self.wait_until_ready()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._control.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self._control.resume()

    def wipe(self) -> None:
        """Delete everything that the stopped server has stored.

        Raises:
            NotStoppedError: It still runs.
        """
        self._control.wipe()

    def close(self) -> None:
        """End for good and leave nothing behind. May be called at any time, twice too."""
        self._control.close()

    def pids(self) -> list[int]:
        """The processes, of this machine, below which all of the server are; none where that is not known."""
        return self._control.pids()

    # Whether it serves ...

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether a client that connects now is served."""

    def wait_until_ready(self) -> None:
        """Return when clients are served.

        Raises:
            ServerFailedError: It ended, or did not answer within two minutes.
        """
        deadline = time.monotonic() + _START_DEADLINE_S
        while not self.is_ready():
            if death := self._control.death():
                raise ServerFailedError(self.kind, death, self._control.log_tail())
            if time.monotonic() > deadline:
                reason = f"did not answer within {_START_DEADLINE_S:.0f} s"
                raise ServerFailedError(self.kind, reason, self._control.log_tail())
            time.sleep(_POLL_INTERVAL_S)

    @classmethod
    def given_url(cls) -> str | None:
        """The address that the environment gives for this kind of server."""
        return os.environ.get(cls.variable) or None
