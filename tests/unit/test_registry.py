"""The decorator that makes a function a task, and what it refuses."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from shared.domain.retry import RetryPolicy
from worker_service import TaskContext, task
from worker_service import registry as registry_module
from worker_service.registry import Registry, TaskDefinitionError, TaskType, import_task_modules


class Invoice(BaseModel):
    order_id: int


class Sent(BaseModel):
    number: str


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty one, in place of that of the process."""
    empty = Registry()
    monkeypatch.setattr(registry_module, "registry", empty)
    return empty


async def on_the_loop(payload: Invoice, ctx: TaskContext) -> Sent:
    """Send the invoice of one order.

    More words.
    """
    return Sent(number=str(payload.order_id))


def in_a_thread(payload: Any, ctx: TaskContext) -> Any:
    return payload


def bare(payload, ctx):  # type: ignore[no-untyped-def]
    return payload


def made(handler: Callable[..., Any], registry: Registry, **options: Any) -> TaskType:
    task("billing.invoice", **options)(handler)
    return registry.get("billing.invoice")


# What is declared .....................................................................


def test_a_type_announces_what_its_function_says(registry: Registry) -> None:
    info = made(on_the_loop, registry, queue="billing", max_attempts=5, timeout=60, soft_timeout=50).info

    assert (info.name, info.queue, info.summary) == ("billing.invoice", "billing", "Send the invoice of one order.")
    assert (info.max_attempts, info.timeout_s, info.soft_timeout_s) == (5, 60, 50)
    assert info.payload_schema["required"] == ["order_id"]
    assert info.result_schema["properties"]["number"]["type"] == "string"
    assert info.example == {"order_id": 1}


def test_a_function_without_annotations_takes_and_gives_any_json(registry: Registry) -> None:
    task_type = made(bare, registry)

    assert (task_type.info.payload_schema, task_type.info.result_schema) == ({}, {})
    assert task_type.info.summary == ""


def test_without_a_limit_of_its_own_a_type_has_that_of_its_worker(registry: Registry) -> None:
    info = made(on_the_loop, registry).info

    assert (info.timeout_s, info.soft_timeout_s, info.max_attempts) == (0, None, 3)
    assert info.retry == RetryPolicy()


def test_the_decorated_function_stays_what_it_was(registry: Registry) -> None:
    assert task("billing.invoice")(in_a_thread) is in_a_thread
    assert registry.of(in_a_thread).info.name == "billing.invoice"


def test_an_example_of_its_own_is_kept(registry: Registry) -> None:
    assert made(on_the_loop, registry, example={"order_id": 4711}).info.example == {"order_id": 4711}


@pytest.mark.parametrize(
    "handler, cpu, runs_in",
    [(on_the_loop, False, "loop"), (in_a_thread, False, "thread"), (in_a_thread, True, "process")],
)
def test_a_handler_runs_where_it_belongs(
    registry: Registry, handler: Callable[..., Any], cpu: bool, runs_in: str
) -> None:
    assert made(handler, registry, cpu=cpu).runs_in == runs_in


# What is refused ......................................................................


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "Billing"},
        {"queue": ""},
        {"queue": "billing\n"},
        {"queue": "q" * 65},
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"timeout": 0},
        {"timeout": -1},
        {"soft_timeout": 0},
        {"timeout": 5, "soft_timeout": 5},
    ],
    ids=repr,
)
def test_values_that_do_not_fit_are_refused(registry: Registry, options: dict[str, Any]) -> None:
    with pytest.raises(TaskDefinitionError, match=r"^task 'billing\.invoice': "):
        made(on_the_loop, registry, **options)
    assert registry.names() == []


@pytest.mark.parametrize("name", ["", ".a", "a b", "a\n", "ä", "a" * 101, "a/b"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(TaskDefinitionError, match="is no name of a type"):
        task(name)(on_the_loop)


def test_a_coroutine_can_not_run_in_the_process_pool(registry: Registry) -> None:
    with pytest.raises(TaskDefinitionError, match="plain 'def'"):
        made(on_the_loop, registry, cpu=True)


def test_a_handler_takes_a_payload_and_a_context() -> None:
    with pytest.raises(TaskDefinitionError, match=r"must take exactly \(payload, ctx\)"):
        task("billing.invoice")(lambda payload: payload)


def test_annotations_that_mean_nothing_are_refused() -> None:
    def handler(payload: "Missing", ctx: TaskContext) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with pytest.raises(TaskDefinitionError, match="annotations of"):
        task("billing.invoice")(handler)


def test_two_handlers_can_not_have_one_name(registry: Registry) -> None:
    made(on_the_loop, registry)

    with pytest.raises(TaskDefinitionError, match=r"two handlers are named 'billing.invoice'"):
        made(in_a_thread, registry)


def test_a_module_may_be_imported_again(registry: Registry) -> None:
    first = made(on_the_loop, registry)

    assert made(on_the_loop, registry).info == first.info


def test_a_function_that_was_not_decorated_is_no_task(registry: Registry) -> None:
    with pytest.raises(TaskDefinitionError, match="has no @task decorator"):
        registry.of(on_the_loop)


def test_a_type_that_nobody_defined_is_not_found(registry: Registry) -> None:
    with pytest.raises(KeyError):
        registry.get("billing.invoice")


# Modules ..............................................................................


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "their_tasks.py"
    sys.modules.pop("their_tasks", None)


def test_importing_a_module_makes_its_tasks_known(registry: Registry, module: Path) -> None:
    module.write_text(
        "from worker_service import registry\n@registry.task('their.own')\ndef own(payload, ctx): ...\n"
    )

    import_task_modules(["their_tasks"])

    assert registry.names() == ["their.own"]


@pytest.mark.parametrize(
    "source, reason",
    [("import nothing_like_it", "ModuleNotFoundError"), ("def (", "SyntaxError"), ("1 / 0", "ZeroDivisionError")],
)
def test_a_module_that_can_not_be_imported_is_named_with_the_reason(module: Path, source: str, reason: str) -> None:
    module.write_text(source + "\n")

    with pytest.raises(TaskDefinitionError, match=rf"TASK_MODULES: can't import 'their_tasks': {reason}"):
        import_task_modules(["their_tasks"])


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(TaskDefinitionError, match="can't import 'no_such_module'"):
        import_task_modules(["no_such_module"])


def test_a_task_in_a_module_that_does_not_fit_says_so_itself(module: Path) -> None:
    module.write_text("from worker_service import task\n@task('bad name')\ndef own(payload, ctx): ...\n")

    with pytest.raises(TaskDefinitionError, match=r"^task 'bad name'"):
        import_task_modules(["their_tasks"])
