import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.verify import main
from tests.embedded import ROOT, environment, running
from tests.servers.sandbox import free_port


@pytest.fixture(scope="module")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("verify")) as address:
        yield address


@pytest.fixture
def services_url(database_url: str, rabbitmq_url: str, redis_url: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": rabbitmq_url,
        "REDIS_URL": redis_url,
        "API_PORT": str(port),
        "WORKER_PROCESSES": "1",
    }
    with service("api_service", tmp_path, settings), service("worker_service", tmp_path, settings):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def service(name: str, folder: Path, settings: dict[str, str]) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", name], cwd=folder, env=environment(**settings), stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def test_everything_holds_where_all_is_one_process(embedded_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--url", embedded_url])

    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "checks hold" in printed


def test_everything_holds_on_services_that_are_about_to_start(
    services_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--url", services_url, "--start", "60"])

    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "checks hold" in printed


def test_it_may_be_interrupted_without_a_traceback(embedded_url: str) -> None:
    verify = subprocess.Popen(
        [sys.executable, "-m", "client.verify", "--url", embedded_url],
        env=environment(PYTHONIOENCODING="ascii"),
        cwd=ROOT,
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
