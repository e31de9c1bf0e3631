"""The ground that private servers stand on."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Redis, sandbox
from tests.servers.sandbox import LOOPBACK, Account, find_program, free_port
from tests.servers.urls import host_and_port, with_path

ASK_FOR_THE_PORT = """
from tests.servers import sandbox
sandbox._PORTS, sandbox._TRIES = range({port}, {port} + 1), 1
try:
    print(sandbox.free_port())
except OSError as error:
    print(error)
"""


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that everybody can reach, which `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50


def test_a_port_that_is_given_is_kept_from_other_processes() -> None:
    script = ASK_FOR_THE_PORT.format(port=free_port())

    other = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )

    assert other.stdout.strip() == "none of 1 ports tried is free"


def test_a_port_in_use_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as busy:
        port = busy.getsockname()[1]
        monkeypatch.setattr(sandbox, "_PORTS", range(port, port + 1))
        monkeypatch.setattr(sandbox, "_TRIES", 1)

        with pytest.raises(OSError, match="none of 1 ports"):
            free_port()


def test_ports_are_not_those_that_clients_get_from_the_kernel() -> None:
    first, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()

    assert free_port() < int(first)


def test_a_folder_belongs_to_somebody_but_root() -> None:
    folder = Account().new_folder("unit")

    owner = folder.stat().st_uid
    folder.rmdir()

    assert owner == (os.getuid() or pwd.getpwnam("nobody").pw_uid)


@pytest.mark.parametrize("mode, reached", [(0o755, True), (0o700, False)])
def test_a_program_in_a_closed_folder_is_out_of_reach(ground: Path, mode: int, reached: bool) -> None:
    account = Account()
    account.uid, account.gid = os.getuid(), os.getgid()  # looked at as somebody else
    program = ground / "place" / "program"
    program.parent.mkdir()
    program.touch()

    program.parent.chmod(mode)

    assert account.can_reach(program) is reached


def test_the_newest_program_of_a_pattern_is_found(tmp_path: Path) -> None:
    for version in ("16", "18", "17"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "server").touch()

    assert find_program("server", f"{tmp_path}/*/server") == tmp_path / "18" / "server"
    assert find_program("no-such-server", f"{tmp_path}/*/other") is None


def test_workers_get_redis_databases_behind_the_given_one() -> None:
    assert Redis.at("redis://host:1/5").database_url(2) == "redis://host:1/7"
    assert Redis.at("redis://host:1").database_url(0) == "redis://host:1/0"


def test_an_address_keeps_all_but_its_path() -> None:
    assert (
        with_path("amqp://a:b%2Fc@host:1/old?heartbeat=5", "new/one") == "amqp://a:b%2Fc@host:1/new%2Fone?heartbeat=5"
    )
    assert host_and_port("redis://host/0", 6379) == ("host", 6379)
