"""The command `taskmill`, against a real Taskmill: what it prints where, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import Taskmill
from client.command.app import main
from tests.embedded import ROOT, environment, running
from tests.servers.sandbox import free_port

LAUNCHER = ROOT / "client" / "taskmill"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("command")) as address:
        yield address


@pytest.fixture(scope="module")
def taskmill(url: str) -> Iterator[Taskmill]:
    with Taskmill(url) as client:
        yield client


@pytest.fixture(autouse=True)
def _here(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKMILL_URL", url)
    monkeypatch.chdir(tmp_path)


class Ran:
    """A command that has ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def value(self) -> Any:
        """Its standard output as JSON: all of it."""
        assert self.status == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_(*words: str) -> Ran:
        capsys.readouterr()
        status = main(words)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Ran(status, printed.out, printed.err)

    return run_


def start(url: str, *words: str, **parts: Any) -> "subprocess.Popen[str]":
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "client", *words],
        cwd=ROOT,
        env=environment(TASKMILL_URL=url),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **parts},
    )


# Tasks ...............................................................................


def test_a_submission_prints_its_id_first(run: Any, taskmill: Taskmill) -> None:
    ran = run("submit", "demo.echo", '{"n": 1}', "--tag", "a", "--tag", "b", "--priority", "high", "--delay", "1s")

    task = taskmill.get(ran.out.split()[0])
    assert ran.status == 0
    assert (task.payload, task.tags, task.priority, task.status) == ({"n": 1}, ["a", "b"], "high", "scheduled")


def test_a_submission_that_is_waited_for_prints_the_result_and_nothing_else(run: Any) -> None:
    ran = run("submit", "demo.echo", '{"n": [1, "ä"]}', "--wait")

    assert ran.value == {"n": [1, "ä"]}
    assert ran.err == ""


def test_a_task_that_fails_is_a_failure_of_the_command(run: Any) -> None:
    ran = run("submit", "demo.fail", '{"times": 9}', "--max-attempts", "1", "--wait")

    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("taskmill: task ")
    assert "failed: RuntimeError: failed on purpose" in ran.err


def test_a_wait_that_takes_too_long_says_how_it_goes_on(run: Any, taskmill: Taskmill) -> None:
    ran = run("submit", "demo.sleep", '{"seconds": 60}', "--wait-timeout", "0.3")

    assert (ran.status, ran.out) == (124, "")
    task_id = ran.err.split()[2]
    assert f"taskmill watch {task_id}" in ran.err
    assert run("cancel", task_id, "--json").value["cancel_requested"]
    assert run("cancel", "nope").status == 3


def test_the_payload_may_come_from_a_file_or_a_pipe(run: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('["from", "a file"]')

    from_file = run("submit", "demo.echo", "--file", "payload.json", "--wait")
    piped = start(url, "submit", "demo.echo", "-", "--wait", "--json", stdin=subprocess.PIPE)
    out, _ = piped.communicate('"from a pipe"', timeout=60)

    assert from_file.value == ["from", "a file"]
    assert json.loads(out)["result"] == "from a pipe"


def test_options_of_a_submission_reach_the_task(run: Any, taskmill: Taskmill) -> None:
    first = run("submit", "demo.echo", "--unique-key", "cli", "--delay", "1h", "--json").value
    second = run("submit", "demo.echo", "--unique-key", "cli", "--delay", "1h", "--json").value
    keyed = [run("submit", "demo.echo", "--idempotency-key", "cli-key", "--json").value for _ in range(2)]

    assert second["task_id"] == first["task_id"]
    assert second["duplicate"]
    assert keyed[0]["task_id"] == keyed[1]["task_id"]
    run("cancel", first["task_id"])


def test_a_task_is_shown_listed_explained_and_retried(run: Any) -> None:
    task_id = run("submit", "demo.fail", '{"times": 1}', "--max-attempts", "1", "--tag", "cli-list", "--json").value[
        "task_id"
    ]
    assert run("get", task_id, "--wait").status == 1

    assert "failed on purpose" in run("get", task_id).out
    assert [task["task_id"] for task in run("list", "--tag", "cli-list", "--json").value] == [task_id]
    assert "RuntimeError" in run("dead", "list", "--type", "demo.fail").out
    assert "Traceback" in run("dead", "show", task_id).out
    assert run("explain", task_id, "--json").value["code"] == "final"
    assert run("retry", task_id).status == 0
    assert run("get", task_id, "--wait", "--json").value["status"] == "succeeded"
    assert run("retry", task_id).status == 1


def test_a_task_is_watched_line_by_line(run: Any) -> None:
    task_id = run("submit", "demo.sleep", '{"seconds": 0.5}', "--json").value["task_id"]

    lines = run("watch", task_id, "--json").out.splitlines()

    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "snapshot"
    assert events[-1]["data"]["status"] == "succeeded"


def test_ctrl_c_ends_the_wait_and_not_the_task(url: str, taskmill: Taskmill) -> None:
    waiting = start(url, "submit", "demo.sleep", '{"seconds": 30}', "--wait", "--tag", "cli-ctrl-c")
    while not (found := list(taskmill.tasks(tag="cli-ctrl-c", status="running"))):
        assert waiting.poll() is None

    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=60)

    [task] = found
    assert waiting.returncode == 130
    assert out == ""
    assert "the task goes on" in err
    assert f"taskmill cancel {task.task_id}" in err
    assert "Traceback" not in err
    assert taskmill.get(task.task_id).status == "running"
    taskmill.cancel(task.task_id)


def test_on_a_terminal_there_is_a_bar_that_leaves_nothing_behind_on_standard_output(url: str) -> None:
    terminal, side = pty.openpty()
    waiting = start(url, "submit", "demo.sleep", '{"seconds": 1}', "--wait", stderr=side)
    os.close(side)
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    out, _ = waiting.communicate(timeout=60)

    assert json.loads(out) == {"seconds": 1.0}
    assert "running" in seen.decode()
    assert "sleeping" in seen.decode()


def test_whoever_reads_only_the_head_causes_no_noise(url: str) -> None:
    reading = start(url, "types", "--json")
    assert reading.stdout
    reading.stdout.close()

    _, err = reading.communicate(timeout=60)

    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# Operating ...........................................................................


def test_queues_are_held_up_only_by_whoever_agrees(run: Any, taskmill: Taskmill) -> None:
    assert run("pause", "cli-queue", "--json").value["paused"]
    waiting = run("submit", "demo.echo", "--queue", "cli-queue", "--json").value["task_id"]

    assert "paused" in run("queues").out
    refused = run("purge", "cli-queue")
    assert refused.status == 2
    assert "--yes" in refused.err
    assert run("purge", "cli-queue", "--yes", "--json").value == {"purged": 1}
    assert taskmill.get(waiting).status == "cancelled"
    assert not run("resume", "cli-queue", "--json").value["paused"]
    assert run("audit", "--target", "cli-queue", "--json").value[0]["action"] == "queue.resume"


def test_dead_letters_are_replayed_and_discarded(run: Any, taskmill: Taskmill) -> None:
    ids = [taskmill.submit("demo.fail", {"times": 1}, max_attempts=1).task_id for _ in range(3)]
    for task_id in ids:
        taskmill.wait(task_id, timeout_s=60)

    assert run("dead", "replay", ids[0], "--payload", '{"times": 0}').status == 0
    assert run("dead", "discard", ids[1], "--yes", "--json").value == {"discarded": ids[1]}
    replay = run("dead", "replay", "--all", "--type", "demo.fail", "--per-second", "50", "--yes", "--json").value
    assert taskmill.result(replay["task_id"], timeout_s=60)
    assert taskmill.wait(ids[0], timeout_s=60).status == "succeeded"
    assert taskmill.wait(ids[2], timeout_s=60).status == "succeeded"
    assert run("dead", "show", ids[1]).status == 3
    assert run("dead", "replay").status == 2
    assert run("dead", "replay", ids[1], "--all").status == 2


def test_schedules_are_made_changed_and_removed(run: Any) -> None:
    made = run(
        "schedules", "create", "cli", "--type", "demo.echo", "--cron", "0 3 * * *", "--payload", "[1]", "--json"
    )
    changed = run("schedules", "update", "cli", "--every", "2h", "--json")

    assert made.value["cron"] == "0 3 * * *"
    assert (changed.value["every"], changed.value["cron"], changed.value["payload"]) == (7200, None, [1])
    assert run("schedules", "run", "cli", "--json").value["schedule"] == "cli"
    assert run("schedules", "pause", "cli", "--json").value["paused"]
    assert "paused" in run("schedules", "list").out
    assert run("schedules", "show", "cli").status == 0
    assert run("schedules", "resume", "cli", "--json").value["paused"] is False
    assert run("schedules", "delete", "cli", "--yes").status == 0
    assert run("schedules", "show", "cli").status == 3
    assert run("schedules", "create", "cli", "--type", "demo.echo").status == 2


def test_files_go_up_and_come_down(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")

    uploaded = run("artifacts", "put", "data.csv", "--json").value
    assert uploaded["media_type"] == "text/csv"
    assert run("artifacts", "get", uploaded["artifact_id"], "-o", "back.csv", "--json").value["size"] == 8
    assert (tmp_path / "back.csv").read_text() == "a,b\n1,2\n"
    missing = run("artifacts", "put", "nowhere.csv")
    assert missing.status == 2
    assert missing.err == "taskmill: can't use the file nowhere.csv: No such file or directory\n"
    assert run("artifacts", "get", "01a20101-ddbb-74e0-89d7-445f4ad44de7", "-o", "x").status == 3
    assert not (tmp_path / "x").exists()


def test_a_file_may_go_to_standard_output(url: str, taskmill: Taskmill, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    uploaded = taskmill.upload(tmp_path / "data.bin")

    with subprocess.Popen(
        [sys.executable, "-m", "client", "artifacts", "get", uploaded.artifact_id, "-o", "-"],
        cwd=ROOT,
        env=environment(TASKMILL_URL=url),
        stdout=subprocess.PIPE,
    ) as getting:
        out, _ = getting.communicate(timeout=60)

    assert out == bytes(range(256))


@pytest.mark.parametrize(
    "words",
    ["list", "types", "types demo.echo", "queues", "workers", "dead list", "schedules list", "keys list", "audit",
     "stats", "status", "doctor"],
)  # fmt: skip
def test_what_there_is_can_be_read_by_people_and_by_machines(run: Any, words: str) -> None:
    for_people, for_machines = run(*words.split()), run(*words.split(), "--json")

    assert for_people.status == 0
    assert for_people.err == ""
    assert for_machines.value is not None
    assert for_machines.err == ""


def test_the_common_options_may_stand_before_the_command(run: Any, url: str) -> None:
    assert run("--json", "--url", url, "queues").value


def test_doctor_has_a_word_on_each_part(run: Any) -> None:
    checks = {finding["check"] for finding in run("doctor", "--json").value["findings"]}

    assert {"api", "clock here", "postgresql durability", "broker", "cache", "artifacts", "workers"} <= checks


def test_drained_workers_are_a_warning(run: Any) -> None:
    [worker] = run("workers", "--json").value

    assert run("types", "nope").status == 3
    assert run("drain", "nobody").status == 3
    assert not worker["draining"]


# Where it can't ..........................................................................


@pytest.mark.parametrize("words", ["list", "status", "doctor", "submit demo.echo", "watch", "keys list", "verify"])
def test_where_nothing_listens_one_line_says_what_to_do(run: Any, words: str) -> None:
    ran = run("--url", f"http://127.0.0.1:{free_port()}", *words.split())

    assert (ran.status, ran.out) == (4, "")
    assert ran.err.count("\n") == 1
    assert "taskmill run" in ran.err


def test_an_error_is_json_where_json_is_spoken(run: Any) -> None:
    ran = run("submit", "demo.sleep", '{"seconds": -1}', "--json")

    error = json.loads(ran.err)["error"]
    assert (ran.status, ran.out) == (2, "")
    assert error["exit"] == 2
    assert error["errors"][0]["pointer"] == "/payload/seconds"


def test_the_launcher_works_wherever_it_is_called(url: str) -> None:
    ended = subprocess.run(
        [LAUNCHER, "status", "--url", url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith(f"Taskmill at {url}: ok")
