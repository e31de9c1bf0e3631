"""The handle by which a server is started and disturbed, whatever it runs in."""

from __future__ import annotations

from pathlib import PurePath
from typing import Protocol


class Control(Protocol):
    """Starts, stops and disturbs one server, whatever it runs in. Ports never change."""

    def start(self) -> None:
        """Begin to start; return before the server answers."""

    def stop(self) -> None:
        """End gracefully, the way an operator would."""

    def kill(self) -> None:
        """End at once, every process of it, as a power cut would."""

    def pause(self) -> None:
        """Freeze every process: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Undo `pause`."""

    def wipe(self) -> None:
        """Delete all data of a stopped server; the next start is its first."""

    def close(self) -> None:
        """End for good and leave nothing behind. May be called at any time, twice too."""

    def death(self) -> str | None:
        """How the server came to its end, or None while it lives."""

    def pids(self) -> list[int]:
        """The processes, of this machine, below which all of the server are; none while it is stopped."""

    def log_tail(self) -> str:
        """The last lines that the server has logged."""

    def put_file(self, path: PurePath, content: str) -> None:
        """Give the server a file, which stays there through everything but `close`."""
