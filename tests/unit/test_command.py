"""The command line itself: its words, what it prints, how fast it starts. Nothing listens anywhere."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from client import errors
from client.command import exits, words
from client.command.app import app, main
from client.command.output import Output, clean
from client.models import Event
from tests.embedded import ROOT, environment


def python(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


# Words ...............................................................................


@pytest.mark.parametrize(
    "text, seconds", [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("0", 0)]
)
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    assert words.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "5x", "1e9", "soon", "١", "1 h", "nan", "1h30m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no duration"):
        words.seconds(text)


@pytest.mark.parametrize("text", ["", "{bad", "[" * 100_000, "nul"])
def test_a_payload_that_is_no_json_is_refused_with_an_example(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["submit", "t", text])

    said = capsys.readouterr().err
    assert status == exits.USAGE
    assert said.startswith("taskmill: Invalid value: PAYLOAD is not JSON")
    assert said.count("\n") == 1


@given(st.binary())
def test_no_bytes_of_a_file_are_a_traceback(content: bytes) -> None:
    with suppress(typer.BadParameter):
        words.json_value(words._decoded(content, "payload"), "payload")


@pytest.mark.parametrize(
    "line",
    ["nonsense", "dead nonsense", "dead", "submit", "submit t --delay", "submit t --delay 5x", "--nope", "get",
     "submit t 1 --file f", "watch x --queue q", "stats --minutes x", "list --limit 0", "submit t NaN"],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_a_status_of_its_own(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(line.split())

    printed = capsys.readouterr()
    assert status == exits.USAGE, printed
    assert printed.out == ""
    assert re.fullmatch(r"taskmill: [^\n]+\n", printed.err), printed.err


def test_wrong_usage_is_json_where_json_is_spoken(capsys: pytest.CaptureFixture[str]) -> None:
    main(["dead", "nonsense", "--json"])

    assert json.loads(capsys.readouterr().err)["error"]["exit"] == exits.USAGE


def test_without_words_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    printed = capsys.readouterr().out
    assert "Commands:" in printed
    for status, meaning in exits.MEANINGS.items():
        assert f"{status:3}  {meaning}".replace("`", "") in printed


def test_every_command_explains_itself_and_takes_the_common_options() -> None:
    group: Any = typer.main.get_command(app)
    nested = [(name, command) for name, command in group.commands.items() if not hasattr(command, "commands")]
    for name in ("dead", "schedules", "artifacts", "keys"):
        nested += [(f"{name} {word}", command) for word, command in group.commands[name].commands.items()]

    assert len(nested) >= 40
    for name, command in nested:
        options = {option for parameter in command.params for option in parameter.opts}
        assert command.help, name
        if name not in ("run", "api", "worker", "migrate"):
            assert {"--json", "--url", "--api-key"} <= options, name


# Ends ................................................................................


@pytest.mark.parametrize(
    "error, status",
    [
        (errors.NotFoundError("x"), exits.NOT_FOUND),
        (errors.UnreachableError("x"), exits.UNAVAILABLE),
        (errors.UnavailableError("x"), exits.UNAVAILABLE),
        (errors.RateLimitedError("x"), exits.UNAVAILABLE),
        (errors.UnauthorizedError("x"), exits.NOT_ALLOWED),
        (errors.ForbiddenError("x"), exits.NOT_ALLOWED),
        (errors.InvalidError("x"), exits.USAGE),
        (errors.ConflictError("x"), exits.FAILED),
        (errors.ServerError("x"), exits.FAILED),
    ],
)
def test_each_kind_of_error_has_its_status(error: errors.TaskmillError, status: int) -> None:
    assert exits.status_of(error) == status
    assert exits.document_of(error)["error"]["exit"] == status
    assert exits.line_of(error).startswith("taskmill: x")


class Refuser(BaseHTTPRequestHandler):
    """Answers everything with the status that the path begins with."""

    def do_GET(self) -> None:
        status = int(self.path.split("/")[1])
        body = b'{"detail": "because", "code": "some_code"}' if status != 200 else b"<html>hello</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def refuser() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuser)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer, status",
    [(401, 5), (403, 5), (404, 3), (405, 2), (409, 1), (422, 2), (429, 4), (500, 1), (503, 4), (307, 1), (200, 1)],
)
def test_each_answer_of_a_server_has_its_exit_status(
    refuser: str, answer: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = main(["get", "x", "--url", f"{refuser}/{answer}"])

    printed = capsys.readouterr()
    assert (ended, printed.out) == (status, "")
    assert re.fullmatch(r"taskmill: [^\n]+\n", printed.err), printed.err
    if answer not in (200, 307):
        assert "because" in printed.err


# What is printed .....................................................................


@given(st.text())
def test_nothing_that_is_printed_moves_the_cursor(text: str) -> None:
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", clean(text))


def test_json_is_json_whatever_the_terminal_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "from client.command.output import Output; Output(as_json=True).json({'ä': '\\ud800\\x9b\\u2028'})"

    for encoding in ("utf-8:backslashreplace", "ascii"):
        printed = python("-c", script, PYTHONIOENCODING=encoding)
        assert json.loads(printed.stdout) == {"ä": "\ud800\x9b\u2028"}, printed.stderr
        assert "\x9b" not in printed.stdout


def test_a_table_in_a_pipe_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table(["name", "note"], [["a", None], ["long", "[red]x[/red]\x1b[2J"]])

    assert capsys.readouterr().out == "NAME  NOTE\na     -\nlong  [red]x[/red]\\x1b[2J\n"


def test_events_of_any_shape_can_be_shown() -> None:
    from client.command.watching import _line

    shapes: list[Any] = [None, 7, "text", [], {}, {"progress": None}, {"error": "x"}, {"percent": None}, {"at": 5}]
    for data in shapes:
        for kind in ("snapshot", "status", "progress", "log", "gap", "new"):
            assert kind in _line(Event(kind=kind, data=data), with_id=True)


# The process .........................................................................


def test_help_loads_neither_http_nor_tables() -> None:
    script = "import sys; from client.command.app import main; main(['--help']); print(sorted(sys.modules))"

    printed = python("-c", script).stdout

    for module in ("httpx", "pydantic", "rich", "asyncio"):
        assert f"'{module}'" not in printed.splitlines()[-1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_had(shell: str) -> None:
    script = python("-m", "client", "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")

    assert script.returncode == 0, script.stderr
    assert "_TASKMILL_COMPLETE" in script.stdout


def test_names_of_commands_are_completed() -> None:
    completed = python("-m", "client", _TASKMILL_COMPLETE="complete_bash", COMP_WORDS="taskmill sch", COMP_CWORD="1")

    assert completed.stdout.strip() == "schedules"


def test_completion_is_silent_where_nothing_listens() -> None:
    completed = python(
        "-m", "client", _TASKMILL_COMPLETE="complete_bash", COMP_WORDS="taskmill submit d", COMP_CWORD="2",
        TASKMILL_URL="http://127.0.0.1:1",
    )  # fmt: skip

    assert completed.returncode == 0
    assert completed.stdout.strip() == ""
    assert completed.stderr == ""


@pytest.mark.parametrize(
    "line, module, setting",
    [
        ("run --port 0 --data-dir d", "deploy.embedded", ("API_PORT", "0")),
        ("api --host ::1", "api_service", ("API_HOST", "::1")),
        ("worker --queues reports:4", "worker_service", ("WORKER_QUEUES", "reports:4")),
        ("migrate", "alembic", ("PYTHONPATH", f"{ROOT}{os.pathsep}{Path.cwd()}")),
    ],
)
def test_processes_are_started_with_their_settings(
    line: str, module: str, setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(os, "execve", lambda path, words_, env: became.append((words_, env)))

    main(line.split())

    [(words_, env)] = became
    assert words_[:4] == [sys.executable, "-P", "-m", module]
    assert env[setting[0]] == setting[1]
