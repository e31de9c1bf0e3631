"""Where the servers of a test run come from, in the order in which the ways are tried."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

from tests.servers import apt
from tests.servers.errors import (
    NoImageError,
    NoServerError,
    NotInstalledError,
    ServersError,
    UnavailableError,
)
from tests.servers.server import Server

S = TypeVar("S", bound=Server)
Say = Callable[[str], None]

_FORCED_WAY: Final = "TEST_SERVERS"


def find_server(kind: type[S], *, durable: bool, private: bool, say: Say) -> S:
    """A started server of a kind, by the first way that works here.

    The ways: the address in the environment, a container, the machine's programs, which
    root may have to install first. `TEST_SERVERS` (`docker` or `programs`) leaves only one.

    Args:
        durable: What was committed must outlive a kill.
        private: We must be able to stop it, so an address in the environment won't do.
        say: Gets a line when the way that was taken needs an explanation.

    Raises:
        NoServerError: No way works; the message says what to do.
        ServerFailedError: A server was found, but does not start.
    """
    if (url := kind.given_url()) and not private:
        return _started(kind.at(url))
    reasons: list[str] = []
    for way in _ways():
        try:
            return _started(way(kind, durable))
        except UnavailableError as error:
            reasons.append(str(error))
            if isinstance(error, NoImageError):
                say(f"{error}: trying the programs of this machine")
    raise NoServerError(kind.kind, variable=kind.variable, package=kind.package, reasons=reasons)


def _in_container(kind: type[S], durable: bool) -> S:
    # Loading the library takes half a second: only when it comes to that.
    from tests.servers import engine

    engine.require_image(kind.image)
    return kind.in_container(durable=durable)


def _as_program(kind: type[S], durable: bool) -> S:
    if not kind.is_installed():
        if not apt.can_install():
            raise NotInstalledError(kind.kind)
        apt.install(kind.package)
    return kind.as_program(durable=durable)


_WAYS: Final = {"docker": _in_container, "programs": _as_program}


def _ways() -> list[Callable[[type[S], bool], S]]:
    forced = os.environ.get(_FORCED_WAY)
    if not forced:
        return [_in_container, _as_program]
    if forced not in _WAYS:
        raise ServersError(f"{_FORCED_WAY} is {forced!r}, not one of {', '.join(_WAYS)}")
    return [_WAYS[forced]]


def _started(server: S) -> S:
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server
