"""In which order the ways to a server are tried, with servers that only pretend."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar, Self

import pytest

from tests.servers import apt
from tests.servers.errors import (
    NoEngineError,
    NoImageError,
    NoServerError,
    NotOursError,
    ServerFailedError,
    ServersError,
)
from tests.servers.external import ExternalControl
from tests.servers.find import find_server
from tests.servers.server import Server


class Pretended(Server):
    """Remembers by which way it came."""

    kind: ClassVar[str] = "Pretence"
    variable: ClassVar[str] = "TEST_PRETENCE_URL"
    image: ClassVar[str] = "pretence:1"
    package: ClassVar[str] = "pretence-server"
    installed: ClassVar[bool] = True
    works: ClassVar[bool] = True
    closed: ClassVar[list[str]] = []

    @classmethod
    def at(cls, url: str) -> Self:
        return cls(url, ExternalControl(url))

    @classmethod
    def in_container(cls, *, durable: bool) -> Self:
        return cls.at("container")

    @classmethod
    def as_program(cls, *, durable: bool) -> Self:
        return cls.at("program")

    @classmethod
    def is_installed(cls) -> bool:
        return cls.installed

    def start(self) -> None:
        if not self.works:
            raise ServerFailedError(self.kind, "ended with code 1", "the last line")

    def close(self) -> None:
        self.closed.append(self.url)

    def is_ready(self) -> bool:
        return True


class Machine:
    """What there is on the machine, for the finder to see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = True
        self.image = True
        self.root = False
        self.installed: list[str] = []
        self.said: list[str] = []
        engine = ModuleType("engine")
        engine.require_image = self._require_image  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests.servers.engine", engine)
        monkeypatch.setattr("tests.servers.engine", engine, raising=False)
        monkeypatch.setattr(apt, "can_install", lambda: self.root)
        monkeypatch.setattr(apt, "install", self._install)
        monkeypatch.setattr(Pretended, "installed", True)
        monkeypatch.setattr(Pretended, "closed", [])
        monkeypatch.delenv("TEST_SERVERS", raising=False)
        monkeypatch.delenv("TEST_PRETENCE_URL", raising=False)

    def find(self, **options: Any) -> str:
        """The way by which a server is found."""
        wanted = {"durable": False, "private": False} | options
        return find_server(Pretended, say=self.said.append, **wanted).url

    def _require_image(self, image: str) -> None:
        if not self.engine:
            raise NoEngineError
        if not self.image:
            raise NoImageError(image)

    def _install(self, package: str) -> None:
        self.installed.append(package)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_an_address_in_the_environment_comes_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PRETENCE_URL", "given")

    assert machine.find() == "given"


def test_a_given_server_is_never_taken_to_be_broken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PRETENCE_URL", "given")

    assert machine.find(private=True) == "container"


def test_a_container_comes_before_a_program(machine: Machine) -> None:
    assert machine.find() == "container"


def test_without_an_engine_a_program_is_used_and_nothing_said(machine: Machine) -> None:
    machine.engine = False

    assert machine.find() == "program"
    assert machine.said == []
    assert machine.installed == []


def test_an_engine_without_the_image_is_said_in_one_line(machine: Machine) -> None:
    machine.image = False

    assert machine.find() == "program"
    assert machine.said == ["the Docker engine cannot get the image pretence:1: trying the programs of this machine"]


def test_root_installs_a_missing_program(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.engine, machine.root = False, True
    monkeypatch.setattr(Pretended, "installed", False)

    assert machine.find() == "program"
    assert machine.installed == ["pretence-server"]


def test_no_way_at_all_says_what_to_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.engine = False
    monkeypatch.setattr(Pretended, "installed", False)

    with pytest.raises(NoServerError) as caught:
        machine.find()

    assert str(caught.value) == (
        "the tests need Pretence: set TEST_PRETENCE_URL, start a Docker engine, install pretence-server, "
        "or run them as root on Debian (no Docker engine answers; Pretence is not installed)"
    )


@pytest.mark.parametrize("forced, found", [("docker", "container"), ("programs", "program")])
def test_one_way_can_be_forced(machine: Machine, monkeypatch: pytest.MonkeyPatch, forced: str, found: str) -> None:
    monkeypatch.setenv("TEST_SERVERS", forced)

    assert machine.find() == found


def test_an_unknown_way_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SERVERS", "magic")

    with pytest.raises(ServersError, match="TEST_SERVERS is 'magic', not one of docker, programs"):
        machine.find()


def test_a_server_that_does_not_start_is_cleared_away(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretended, "works", False)

    with pytest.raises(ServerFailedError, match="the last line"):
        machine.find()

    assert Pretended.closed == ["container"]


@pytest.mark.parametrize("disturb", ["stop", "kill", "pause", "resume", "wipe"])
def test_a_given_server_cannot_be_disturbed(disturb: str) -> None:
    server = Pretended.at("amqp://example.org")

    with pytest.raises(NotOursError, match=r"amqp://example\.org is not ours to control"):
        getattr(server, disturb)()
