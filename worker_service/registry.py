"""The types of task that this process can run, and the decorator that makes them."""

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from shared.domain.retry import RetryPolicy
from shared.domain.task_type import DEFAULT_MAX_ATTEMPTS, DEFAULT_QUEUE, QUEUE_PATTERN, TaskTypeInfo
from shared.errors import TaskmillError
from worker_service.examples import example_of

Handler = TypeVar("Handler", bound=Callable[..., Any])

_NAME: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,99}")


class TaskDefinitionError(TaskmillError):
    """A handler can't be a task as it is written."""

    code = "task_definition"


@dataclass(frozen=True, slots=True)
class TaskType:
    """A handler and what was declared about it.

    Attributes:
        info: What is announced. A `timeout_s` of 0 stands for the worker's TASK_TIMEOUT.
        runs_in: Where the handler runs: on the event loop, in a thread, or in a process that can be killed.
        payload: Turns the payload's JSON into the annotated class.
        result: Turns what the handler returned into JSON.
    """

    info: TaskTypeInfo
    handler: Callable[..., Any]
    runs_in: Literal["loop", "thread", "process"]
    payload: TypeAdapter[Any]
    result: TypeAdapter[Any]


class Registry:
    """Task types by name."""

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}

    def add(self, task_type: TaskType) -> None:
        """Make a type known.

        Raises:
            TaskDefinitionError: Another handler has its name.
        """
        name = task_type.info.name
        known = self._types.get(name)
        if known is not None and _place(known.handler) != _place(task_type.handler):
            raise TaskDefinitionError(
                f"two handlers are named {name!r}: {_place(known.handler)}, {_place(task_type.handler)}"
            )
        self._types[name] = task_type

    def get(self, name: str) -> TaskType:
        """The type of this name; KeyError if this process doesn't know it."""
        return self._types[name]

    def of(self, handler: Callable[..., Any]) -> TaskType:
        """The type whose handler this is.

        Raises:
            TaskDefinitionError: The function was not decorated.
        """
        for task_type in self._types.values():
            if task_type.handler is handler:
                return task_type
        raise TaskDefinitionError(f"{_place(handler)} has no @task decorator")

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return sorted(self._types)

    def all(self) -> list[TaskType]:
        """Every known type, by name."""
        return [self._types[name] for name in self.names()]


#: What `@task` fills.
registry: Final = Registry()


def task(
    name: str,
    *,
    queue: str = DEFAULT_QUEUE,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    timeout: float | None = None,
    soft_timeout: float | None = None,
    retry: RetryPolicy | None = None,
    cpu: bool = False,
    example: Any = None,
) -> Callable[[Handler], Handler]:
    """Make a function the handler of a type of task. It takes `(payload, ctx)`; annotations become JSON Schemas.

    `async def` handlers run on the event loop, `def` handlers in threads, those with `cpu=True` in processes.

    Args:
        name: Stable and dotted, like `billing.invoice`; stored with each task.
        queue: Where tasks go unless the client names another queue.
        max_attempts: Attempts in total, the first one included.
        timeout: Hard limit of one attempt in seconds; None for the worker's TASK_TIMEOUT.
        soft_timeout: Seconds after which `ctx.check_cancelled()` raises SoftTimeout; None for never.
        retry: The wait between attempts; None for 2 s, doubling up to 10 min, half of it random.
        cpu: Whether the handler keeps a core busy; it must be a plain function at the top of a module.
        example: A payload for Swagger UI; None makes one from the schema.

    Raises:
        TaskDefinitionError: The function or a value does not fit.
    """

    def decorate(handler: Handler) -> Handler:
        _require_sane(name, queue, max_attempts, timeout, soft_timeout)
        payload, result = _adapters(name, handler)
        payload_schema = payload.json_schema()
        info = TaskTypeInfo(
            name=name,
            queue=queue,
            summary=(inspect.getdoc(handler) or "").split("\n")[0],
            payload_schema=payload_schema,
            result_schema=result.json_schema(mode="serialization"),
            max_attempts=max_attempts,
            timeout_s=timeout or 0.0,
            soft_timeout_s=soft_timeout,
            retry=retry or RetryPolicy(),
            example=example_of(payload_schema) if example is None else example,
        )
        registry.add(TaskType(info, handler, _place_to_run(name, handler, cpu=cpu), payload, result))
        return handler

    return decorate


def import_task_modules(names: Sequence[str]) -> None:
    """Import modules so that their handlers become known.

    Raises:
        TaskDefinitionError: A module can't be imported; the message names it and says why.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except TaskDefinitionError:
            raise
        except Exception as error:
            raise TaskDefinitionError(
                f"TASK_MODULES: can't import {name!r}: {type(error).__name__}: {error}"
            ) from error


def _require_sane(
    name: str, queue: str, max_attempts: int, timeout: float | None, soft_timeout: float | None
) -> None:
    faults = {
        f"{name!r} is no name of a type": not _NAME.fullmatch(name),
        f"queue={queue!r} is no name of a queue (a-z 0-9 . _ -)": not re.fullmatch(QUEUE_PATTERN, queue),
        f"max_attempts={max_attempts!r} is not from 1 to 100": not 1 <= max_attempts <= 100,
        f"timeout={timeout!r} is not positive": timeout is not None and timeout <= 0,
        f"soft_timeout={soft_timeout!r} is not positive and below timeout": soft_timeout is not None
        and not 0 < soft_timeout < (timeout or float("inf")),
    }
    for fault, is_so in faults.items():
        if is_so:
            raise TaskDefinitionError(f"task {name!r}: {fault}")


def _adapters(name: str, handler: Callable[..., Any]) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    parameters = list(inspect.signature(handler).parameters.values())
    if len(parameters) != 2:
        raise TaskDefinitionError(f"task {name!r}: {_place(handler)} must take exactly (payload, ctx)")
    try:
        hints = get_type_hints(handler, include_extras=True)
        return TypeAdapter(hints.get(parameters[0].name, Any)), TypeAdapter(hints.get("return", Any))
    except (PydanticUserError, NameError, TypeError) as error:
        raise TaskDefinitionError(f"task {name!r}: annotations of {_place(handler)}: {error}") from error


def _place_to_run(name: str, handler: Callable[..., Any], *, cpu: bool) -> Literal["loop", "thread", "process"]:
    if not inspect.iscoroutinefunction(handler):
        return "process" if cpu else "thread"
    if cpu:
        raise TaskDefinitionError(f"task {name!r}: a cpu=True handler is a plain 'def', not 'async def'")
    return "loop"


def _place(handler: Callable[..., Any]) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"
