"""Running a task in a test of one's own."""

import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from worker_service import Permanent, SoftTimeout, Stopped, TaskContext, task
from worker_service import registry as registry_module
from worker_service.registry import Registry, TaskDefinitionError
from worker_service.testing import FakeSignals, Kept, Submitted, run_task


class Invoice(BaseModel):
    order_id: int = 7


class Receipt(BaseModel):
    number: str
    attempt: int


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "registry", Registry())
    monkeypatch.setattr("worker_service.testing.registry", registry_module.registry)
    task("probe.invoice")(invoice)
    task("probe.blocking")(blocking)
    task("probe.obedient")(obedient)


async def invoice(payload: Invoice, ctx: TaskContext) -> Receipt:
    await ctx.progress(1, 2, "printing")
    ctx.progress(2, 2)
    await ctx.submit("mail.send", {"order": payload.order_id}, queue="mail")
    return Receipt(number=f"R-{payload.order_id}", attempt=ctx.attempt)


def blocking(payload: Any, ctx: TaskContext) -> str:
    ctx.submit_blocking("mail.send", payload, delay=5)
    return threading.current_thread().name


def obedient(payload: Any, ctx: TaskContext) -> bool:
    ctx.check_cancelled()
    return ctx.cancelled


def test_the_result_is_what_a_client_would_see() -> None:
    assert run_task(invoice, {"order_id": 1}, attempt=3).result == {"number": "R-1", "attempt": 3}


def test_no_payload_stands_for_an_empty_one() -> None:
    assert run_task(invoice).result["number"] == "R-7"


def test_progress_is_recorded_in_order() -> None:
    assert [(report["percent"], report["message"]) for report in run_task(invoice).progress] == [
        (50.0, "printing"),
        (100.0, ""),
    ]


def test_submitted_tasks_are_recorded_and_stored_nowhere() -> None:
    assert run_task(invoice).submitted == [Submitted("mail.send", {"order": 7}, {"queue": "mail"})]


def test_a_plain_function_may_wait_for_what_it_submits() -> None:
    run = run_task(blocking, [1])

    assert run.submitted == [Submitted("mail.send", [1], {"delay": 5})]
    assert run.result != threading.current_thread().name


async def stepwise(payload: list[str], ctx: TaskContext) -> list[str]:
    done = await ctx.marks()
    for step in payload:
        if step not in done:
            await ctx.mark(step)
    return sorted(await ctx.marks())


def stepwise_in_a_thread(payload: list[str], ctx: TaskContext) -> list[str]:
    for step in set(payload) - ctx.marks_blocking():
        ctx.mark_blocking(step)
    return sorted(ctx.marks_blocking())


@pytest.mark.parametrize("handler", [stepwise, stepwise_in_a_thread])
def test_what_earlier_attempts_have_marked_is_known_and_new_marks_are_recorded(handler: Any) -> None:
    task("probe.steps")(handler)

    run = run_task(handler, ["a", "b"], marks=["a"])

    assert run.marks == ["b"]
    assert run.result == ["a", "b"]


@pytest.mark.parametrize("mark", ["", "x" * 501, "a\x00"])
def test_what_can_be_no_mark_is_refused(mark: str) -> None:
    task("probe.steps")(stepwise)

    with pytest.raises(ValueError, match="a mark has 1 to 500 characters"):
        run_task(stepwise, [mark])


def test_a_payload_that_does_not_fit_is_refused_as_in_earnest() -> None:
    with pytest.raises(ValidationError):
        run_task(invoice, {"order_id": "x"})


def test_the_handler_sees_the_wishes_it_is_given() -> None:
    with pytest.raises(Stopped):
        run_task(obedient, signals=FakeSignals(stopped=True))
    with pytest.raises(SoftTimeout):
        run_task(obedient, signals=FakeSignals(soft_timed_out=True))
    assert run_task(obedient).result is False


def test_a_function_that_is_no_task_can_not_be_run() -> None:
    async def unknown(payload: Any, ctx: TaskContext) -> None: ...

    with pytest.raises(TaskDefinitionError):
        run_task(unknown)


async def test_it_runs_inside_a_running_loop_too() -> None:
    assert run_task(invoice, {"order_id": 2}).result["number"] == "R-2"


def test_every_built_in_task_that_ends_by_itself_runs_on_its_own_example() -> None:
    from worker_service.library import demo

    task("demo.echo")(demo.echo)

    assert run_task(demo.echo, {"hello": "world"}).result == {"hello": "world"}


# Files ................................................................................


async def copying(payload: str, ctx: TaskContext) -> str:
    path = await ctx.fetch(payload)
    (ctx.scratch / "twice").write_bytes(path.read_bytes() * 2)
    ctx.artifact("once.bin", path.read_bytes(), "text/plain")
    ctx.artifact("once.bin", b"the later one wins")
    await ctx.artifact("twice.csv", ctx.scratch / "twice")
    return path.name


def copying_in_a_thread(payload: str, ctx: TaskContext) -> str:
    path = ctx.fetch_blocking(payload)
    ctx.artifact("once.bin", path)
    return path.name


def test_files_are_given_and_recorded() -> None:
    task("probe.copying")(copying)

    run = run_task(copying, "/tasks/x/artifacts/a%20b.csv", files={"/tasks/x/artifacts/a%20b.csv": b"hello"})

    assert run.result == "a b.csv"
    assert run.artifacts == {
        "once.bin": Kept("application/octet-stream", b"the later one wins"),
        "twice.csv": Kept("text/csv", b"hellohello"),
    }


def test_files_are_given_to_a_handler_in_a_thread_too(tmp_path: Path) -> None:
    task("probe.copying")(copying_in_a_thread)
    (tmp_path / "file").write_bytes(b"from a file")

    run = run_task(copying_in_a_thread, "some id", files={"some id": tmp_path / "file"})

    assert run.result == "some id"
    assert run.artifacts["once.bin"].data == b"from a file"


def test_a_file_that_is_not_given_is_not_there() -> None:
    task("probe.copying")(copying)

    with pytest.raises(Permanent, match="no artifact 'other'"):
        run_task(copying, "other", files={"some id": b""})


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "nul\x00", "line\n", "x" * 201, "\u202eexe"]
)
def test_a_name_that_leads_somewhere_is_refused(name: str) -> None:
    async def naming(payload: Any, ctx: TaskContext) -> None:
        ctx.artifact(payload, b"")

    task("probe.naming")(naming)

    with pytest.raises(Permanent, match="can't be the name of an artifact"):
        run_task(naming, name)


def test_a_text_is_neither_bytes_nor_a_path() -> None:
    async def texting(payload: Any, ctx: TaskContext) -> None:
        ctx.artifact("a.txt", "hello")  # type: ignore[arg-type]

    task("probe.texting")(texting)

    with pytest.raises(TypeError, match="bytes or of a file's Path, not of str"):
        run_task(texting)
