import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from client.verify import main

Answers = dict[str, tuple[int, dict[str, Any]]]


class Liar(BaseHTTPRequestHandler):
    """Says that all is well, and does not accept tasks."""

    answers: ClassVar[Answers] = {
        "/health": (200, {"status": "ok"}),
        "/health/live": (200, {"status": "ok"}),
        "/health/ready": (200, {"status": "ok", "components": {"postgresql": {"state": "up", "latency_ms": 1.0}}}),
        "/task-types": (200, {"items": [{"name": f"demo.{name}"} for name in ("cpu", "echo", "fail", "sleep")]}),
        "/tasks": (201, {"task_id": "1"}),
    }

    def do_GET(self) -> None:
        status, document = self.answers.get(self.path, (404, {"detail": "nothing here"}))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Stranger(Liar):
    """Wants a key that nobody has."""

    answers: ClassVar[Answers] = {**Liar.answers, "/task-types": (401, {"detail": "this key is not known"})}


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("url", [Liar], indirect=True)
def test_a_step_that_does_not_hold_is_shown_and_decides_the_exit_status(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--url", url])

    printed = capsys.readouterr().out
    assert status == 1
    assert "✓ the API is alive" in printed
    assert "postgresql up in 1 ms" in printed
    assert "✗ a task is accepted" in printed
    assert "POST /tasks answered 201 instead of 202" in printed


@pytest.mark.parametrize("url", [Stranger], indirect=True)
def test_a_key_that_is_refused_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--url", url, "--key", "wrong"])

    assert status == 2
    assert "refuses the API key" in capsys.readouterr().err


def test_an_address_where_nothing_answers_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    status = main(["--url", f"http://127.0.0.1:{port}"])

    assert status == 2
    assert capsys.readouterr().err.startswith(f"verify: nothing answers at http://127.0.0.1:{port}: ")


@pytest.mark.parametrize("arguments", [["--url", "localhost:8000"], ["--timeout", "-1"], ["--nonsense"]])
def test_wrong_usage_has_a_status_of_its_own(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err
