"""Programs that tests run, installed where they are missing and we may."""

import shutil

import pytest

from tests.servers import apt
from tests.servers.errors import InstallError


def require_program(program: str, package: str) -> None:
    """Do nothing once the program is there; the test fails with one sentence if it can't be."""
    if shutil.which(program):
        return
    reason = "it is not installed"
    if apt.can_install():
        try:
            apt.install(package)
        except InstallError as error:
            reason = str(error)
    if not shutil.which(program):
        pytest.fail(
            f"this test needs {program}: install {package}, or run it as root on Debian ({reason})", pytrace=False
        )
