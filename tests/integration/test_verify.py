import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.verify import main
from tests.embedded import environment, running


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("verify")) as address:
        yield address


def test_everything_holds_on_a_sound_deployment(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--url", url])

    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "✗" not in printed
    assert "All 21 checks hold" in printed


def test_it_may_be_interrupted_without_a_traceback(url: str) -> None:
    verify = subprocess.Popen(
        [sys.executable, "-m", "client.verify", "--url", url],
        env=environment(PYTHONIOENCODING="ascii"),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert verify.stdout
    started = [verify.stdout.readline() for _ in range(2)]

    verify.send_signal(signal.SIGINT)
    rest, _ = verify.communicate(timeout=30)

    assert verify.returncode == 130
    assert "Traceback" not in rest
    assert started[1].startswith("  + the API is alive")  # in ASCII, since the terminal knows no more
