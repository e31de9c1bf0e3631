"""Installing from Debian, with an apt-get that only writes down what it is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.servers import apt
from tests.servers.errors import InstallError

FAKE_APT_GET = """#!/bin/sh
for word; do case "$word" in install|update) echo "$word" >> "{log}" ;; esac; done
[ -e "{policy}" ] && echo held >> "{log}"
[ "$(grep -c install "{log}")" -gt {failures} ] && exit 0
echo "E: Unable to locate package"
exit 100
"""


class Debian:
    """A machine where the first installations fail."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.policy = folder / "policy-rc.d"
        self.log = folder / "log"
        monkeypatch.setattr(apt, "_POLICY", self.policy)
        monkeypatch.setattr(apt, "_LOCK", folder / "lock")
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def fail(self, *, times: int) -> None:
        program = self.folder / "apt-get"
        program.write_text(FAKE_APT_GET.format(log=self.log, policy=self.policy, failures=times))
        program.chmod(0o755)

    def did(self) -> list[str]:
        return self.log.read_text().split()


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    return Debian(tmp_path, monkeypatch)


def test_services_are_held_back_only_while_installing(debian: Debian) -> None:
    debian.fail(times=0)

    apt.install("some-server")

    assert debian.did() == ["install", "held"]
    assert not debian.policy.exists()


def test_a_machine_without_package_lists_gets_them(debian: Debian) -> None:
    debian.fail(times=1)

    apt.install("some-server")

    assert debian.did() == ["install", "held", "update", "held", "install", "held"]


def test_a_failure_tells_what_apt_said(debian: Debian) -> None:
    debian.fail(times=2)

    with pytest.raises(InstallError, match="could not install some-server: E: Unable to locate package"):
        apt.install("some-server")

    assert not debian.policy.exists()


def test_a_policy_of_the_machines_owner_is_kept(debian: Debian) -> None:
    debian.fail(times=0)
    debian.policy.write_text("the owner's")

    apt.install("some-server")

    assert debian.policy.read_text() == "the owner's"


def test_a_policy_left_behind_means_nothing() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()

    of_the_living = subprocess.run(["sh", "-c", apt._POLICY_TEXT.format(pid=os.getpid())], check=False)
    of_the_dead = subprocess.run(["sh", "-c", apt._POLICY_TEXT.format(pid=gone.pid)], check=False)

    assert of_the_living.returncode == 101
    assert of_the_dead.returncode == 0
