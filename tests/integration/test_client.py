"""The Python client, blocking and async, against the real API and a worker."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path

import pytest

from client import (
    AsyncTaskmill,
    ConflictError,
    InvalidError,
    NewTask,
    NotFoundError,
    Retrying,
    TaskFailedError,
    Taskmill,
    WaitTimeoutError,
)
from client.calls import submitting
from tests.embedded import ROOT, running
from tests.servers.proxy import Proxy

QUICK = Retrying(repeats=40, first_s=0.05, longest_s=0.2)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("client")) as address:
        yield address


@pytest.fixture
def taskmill(url: str) -> Iterator[Taskmill]:
    with Taskmill(url) as client:
        yield client


@pytest.fixture
async def async_taskmill(url: str) -> AsyncIterator[AsyncTaskmill]:
    async with AsyncTaskmill(url) as client:
        yield client


# Tasks ...............................................................................


def test_a_result_is_waited_for(taskmill: Taskmill) -> None:
    accepted = taskmill.submit("demo.sleep", {"seconds": 0.2}, tags=["client"], priority="high")

    assert taskmill.result(accepted.task_id, timeout_s=30) == {"seconds": 0.2}

    task = taskmill.get(accepted.task_id)
    assert (task.status, task.tags, task.priority) == ("succeeded", ["client"], "high")
    assert task.progress is not None
    assert task.progress.percent == 100


async def test_the_async_client_does_the_same(async_taskmill: AsyncTaskmill) -> None:
    accepted = await asyncio.gather(*(async_taskmill.submit("demo.echo", n) for n in range(20)))

    results = [await async_taskmill.result(one.task_id, timeout_s=30) for one in accepted]

    assert results == list(range(20))


def test_a_failure_is_told_with_its_reason(taskmill: Taskmill) -> None:
    accepted = taskmill.submit("demo.fail", {"times": 9}, max_attempts=1)

    with pytest.raises(TaskFailedError, match="failed: RuntimeError: failed on purpose") as failed:
        taskmill.result(accepted.task_id, timeout_s=30)

    assert failed.value.task.error is not None
    [letter] = [letter for letter in taskmill.dead_letters(type="demo.fail") if letter.id == accepted.task_id]
    assert taskmill.dead_letter(letter.id).error == failed.value.task.error
    taskmill.replay(letter.id, payload={"times": 0})
    assert taskmill.wait(accepted.task_id, timeout_s=30).status == "succeeded"


def test_dead_letters_are_replayed_in_bulk_and_discarded(taskmill: Taskmill) -> None:
    ids = {taskmill.submit("demo.fail", {"times": 1}, max_attempts=1).task_id for _ in range(3)}
    for task_id in ids:
        taskmill.wait(task_id, timeout_s=30)

    asked = taskmill.replay_all(type="demo.fail", per_second=100)
    taskmill.result(asked.task_id, timeout_s=60)

    assert asked.matching == 3
    assert {taskmill.wait(task_id, timeout_s=30).attempt for task_id in ids} == {2}
    for letter in taskmill.dead_letters():
        taskmill.discard(letter.id)
    assert not list(taskmill.dead_letters())


def test_a_wait_has_an_end(taskmill: Taskmill) -> None:
    accepted = taskmill.submit("demo.sleep", {"seconds": 60})

    with pytest.raises(WaitTimeoutError) as timed_out:
        taskmill.wait(accepted.task_id, timeout_s=0.3)

    assert not timed_out.value.task.is_final
    taskmill.cancel(accepted.task_id)
    assert taskmill.wait(accepted.task_id, timeout_s=30).status == "cancelled"
    with pytest.raises(ConflictError):
        taskmill.cancel(accepted.task_id)
    assert taskmill.retry(accepted.task_id).status == "queued"
    taskmill.cancel(accepted.task_id)


def test_many_are_handed_in_batch_by_batch_and_listed_page_by_page(
    taskmill: Taskmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "MAX_BATCH", 100)
    tag = "client-many"
    items = taskmill.submit_many({"type": "demo.echo", "payload": n, "tags": [tag]} for n in range(250))

    listed = list(taskmill.tasks(tag=tag, page_size=60))

    assert len({item.task_id for item in items}) == 250
    assert {task.task_id for task in listed} == {item.task_id for item in items}


def test_faults_of_a_submission_have_places(taskmill: Taskmill) -> None:
    with pytest.raises(InvalidError) as refused:
        taskmill.submit("demo.sleep", {"seconds": "long"}, delay=-1)

    assert {"/delay"} <= {fault.pointer for fault in refused.value.errors}
    with pytest.raises(NotFoundError, match="there is no task nope"):
        taskmill.get("nope")


def test_the_same_key_gives_the_same_task(taskmill: Taskmill) -> None:
    first, second = (taskmill.submit("demo.echo", idempotency_key="client-once") for _ in range(2))

    assert first.task_id == second.task_id
    assert (first.duplicate, second.duplicate) == (False, True)


# Answers that are lost ...............................................................


async def test_a_submission_whose_answer_is_lost_never_doubles(url: str, async_taskmill: AsyncTaskmill) -> None:
    async with Proxy(url) as proxy, AsyncTaskmill(proxy.url, retries=QUICK) as far:
        for round_ in range(3):
            tag = f"lost-{round_}"
            proxy.mute()
            submitting = asyncio.create_task(far.submit("demo.echo", tags=[tag]))
            first = await _first(async_taskmill, tag)
            assert not submitting.done()

            await proxy.cut()
            await proxy.heal()
            accepted = await asyncio.wait_for(submitting, 30)

            assert accepted.task_id == first
            assert not accepted.duplicate
            assert [task.task_id async for task in async_taskmill.tasks(tag=tag)] == [first]


async def test_a_batch_whose_answer_is_lost_never_doubles(url: str, async_taskmill: AsyncTaskmill) -> None:
    async with Proxy(url) as proxy, AsyncTaskmill(proxy.url, retries=QUICK) as far:
        proxy.mute()
        new: list[NewTask] = [{"type": "demo.echo", "payload": n, "tags": ["lost-batch"]} for n in range(200)]
        submitting = asyncio.create_task(far.submit_many(new))
        await _first(async_taskmill, "lost-batch")

        await proxy.cut()
        await proxy.heal()
        items = await asyncio.wait_for(submitting, 30)

        listed = {task.task_id async for task in async_taskmill.tasks(tag="lost-batch", page_size=500)}
        assert {item.task_id for item in items} == listed
        assert len(listed) == 200
        assert not any(item.duplicate for item in items)


async def test_a_stream_goes_on_after_a_cut(url: str) -> None:
    async with Proxy(url) as proxy, AsyncTaskmill(proxy.url, retries=QUICK) as far:
        task_id = (await far.submit("demo.sleep", {"seconds": 3})).task_id
        seen = []
        async with aclosing(far.watch(task_id)) as events:
            async for event in events:
                seen.append(event)
                if len(seen) == 2:
                    await proxy.cut()
                    await proxy.heal()

    assert seen[0].kind == "snapshot"
    assert seen[-1].data["status"] == "succeeded"
    ids = [event.id for event in seen if event.kind == "progress"]
    assert len(ids) == len(set(ids)) >= 2


async def _first(taskmill: AsyncTaskmill, tag: str) -> str:
    """The first task with a tag, once it is there; those of a batch are there together."""
    while True:
        found = [task.task_id async for task in taskmill.tasks(tag=tag)]
        if found:
            return found[-1]
        await asyncio.sleep(0.02)


# Events ..............................................................................


def test_a_task_is_watched_to_its_end(taskmill: Taskmill) -> None:
    accepted = taskmill.submit("demo.sleep", {"seconds": 1})

    events = list(taskmill.watch(accepted.task_id))

    assert events[0].kind == "snapshot"
    assert "progress" in {event.kind for event in events}
    assert events[-1].is_final


def test_everything_is_watched_at_once(url: str, taskmill: Taskmill) -> None:
    with Taskmill(url) as watcher:
        events = watcher.watch_all(type="demo.echo")
        submitted = taskmill.submit("demo.echo", delay=2).task_id
        seen = next(event for event in events if event.data.get("task_id") == submitted)
        events.close()

    assert seen.data["type"] == "demo.echo"


# Files ...............................................................................


def test_files_go_up_and_come_down(taskmill: Taskmill, tmp_path: Path) -> None:
    source = tmp_path / "große zahlen.csv"
    source.write_bytes(b"a,b\n" * 300_000)

    by_path = taskmill.upload(source)
    by_stream = taskmill.upload(io.BytesIO(b"x"), name="x.bin", media_type="application/x-x")
    size = taskmill.download(by_path.artifact_id, tmp_path / "back.csv")
    stream = io.BytesIO()
    taskmill.download(by_stream.artifact_id, stream)

    assert (by_path.size, by_path.media_type) == (1_200_000, "text/csv")
    assert size == 1_200_000
    assert (tmp_path / "back.csv").read_bytes() == source.read_bytes()
    assert by_stream.media_type == "application/x-x"
    assert stream.getvalue() == b"x"


async def test_the_async_client_moves_files_too(async_taskmill: AsyncTaskmill, tmp_path: Path) -> None:
    uploaded = await async_taskmill.upload(io.BytesIO(b"y" * 700_000), name="y")

    size = await async_taskmill.download(uploaded.artifact_id, tmp_path / "y")

    assert size == 700_000
    assert (tmp_path / "y").read_bytes() == b"y" * 700_000


def test_nothing_is_left_of_a_download_that_fails(taskmill: Taskmill, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        taskmill.download_of_task("01a20101-ddbb-74e0-89d7-445f4ad44de7", "x.pdf", tmp_path / "x.pdf")

    assert not list(tmp_path.iterdir())


def test_a_report_is_made_and_fetched(taskmill: Taskmill, tmp_path: Path) -> None:
    rows = [{"n": n, "square": n * n} for n in range(20)]
    job = taskmill.report("heavy", format="excel", title="Squares", rows=rows)
    made = taskmill.wait(job.job_id, timeout_s=60)
    shown = taskmill.report_job(job.job_id)

    assert made.status == shown.status == "succeeded", made.error
    [file] = shown.artifacts
    assert taskmill.download_of_task(job.job_id, file.name, tmp_path / file.name) == file.size


# Operating ...........................................................................


def test_queues_are_paused_resumed_and_purged(taskmill: Taskmill) -> None:
    assert taskmill.pause_queue("client-queue").paused
    waiting = taskmill.submit("demo.echo", queue="client-queue").task_id

    assert taskmill.explain(waiting).code == "queue_paused"
    assert taskmill.purge_queue("client-queue").purged == 1
    assert taskmill.get(waiting).status == "cancelled"
    assert not taskmill.resume_queue("client-queue").paused
    assert "client-queue" in {queue.name for queue in taskmill.queues()}
    assert "queue.purge" in {entry.action for entry in islice(taskmill.audit(target="client-queue"), 10)}


def test_schedules_are_kept(taskmill: Taskmill) -> None:
    made = taskmill.create_schedule("client-nightly", "demo.echo", cron="0 3 * * *", payload={"n": 1})
    changed = taskmill.put_schedule("client-nightly", "demo.echo", every=3600)
    started = taskmill.run_schedule("client-nightly")

    assert made.cron == "0 3 * * *"
    assert len(made.next_runs) == 5
    assert changed.every == 3600
    assert taskmill.wait(started.task_id, timeout_s=30).status == "succeeded"
    assert taskmill.pause_schedule("client-nightly").paused
    assert not taskmill.resume_schedule("client-nightly").paused
    assert taskmill.schedule("client-nightly").last_runs[0].task_id == started.task_id
    assert "client-nightly" in {schedule.name for schedule in taskmill.schedules()}
    taskmill.delete_schedule("client-nightly")
    with pytest.raises(NotFoundError):
        taskmill.schedule("client-nightly")


def test_what_there_is_can_be_asked(taskmill: Taskmill) -> None:
    echo = next(type_ for type_ in taskmill.task_types() if type_.name == "demo.echo")
    taskmill.result(taskmill.submit("demo.echo", echo.example).task_id, timeout_s=30)

    [worker] = taskmill.workers()
    assert worker.healthy
    assert taskmill.health() == {"status": "ok"}
    assert taskmill.readiness().components["postgresql"].state == "up"
    assert sum(minute.succeeded for minute in taskmill.stats(minutes=5).items) > 0
    assert taskmill.diagnostics().status != "bad"


def test_the_examples_of_the_page_on_the_client_run(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASKMILL_URL", url)
    page = (ROOT / "docs" / "client.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    for number, example in enumerate(examples):
        exec(compile(example, f"client.md, example {number}", "exec"), {"__name__": "example"})

    printed = capsys.readouterr().out
    assert "{'seconds': 1.0}" in printed
    assert "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" in printed
    assert "status succeeded" in printed


def test_an_answer_is_json_again(taskmill: Taskmill) -> None:
    task_id = taskmill.submit("demo.echo", {"ä": [1, None]}).task_id
    taskmill.wait(task_id, timeout_s=30)

    document = taskmill.get(task_id).document()

    assert json.loads(json.dumps(document))["result"] == {"ä": [1, None]}
