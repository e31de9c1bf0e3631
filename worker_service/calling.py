"""Calls a handler and turns whatever it does into a report. Nothing a handler raises gets past here."""

import asyncio
import traceback
from typing import Any, Final

from pydantic import ValidationError

from shared import jsontext
from shared.domain.outcome import Failed, Failure, Report, Returned
from shared.errors import JsonError
from shared.jsontext import printable
from worker_service.context import TaskContext
from worker_service.errors import Permanent, Retry
from worker_service.registry import TaskType

#: Characters of a traceback that are kept: its end, where the fault is.
_TRACEBACK_CHARS: Final = 8000
#: Bytes of a result; more belongs into a file or another store.
_MAX_RESULT_BYTES: Final = 4 * 1024 * 1024


class _InvalidError(Exception):
    """Payload or result does not fit the annotations; another attempt would not either."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


async def call_on_loop(task_type: TaskType, payload: str, ctx: TaskContext) -> Report:
    """Run an `async def` handler. Cancellation passes through; the executor knows why it came."""
    try:
        return _returned(task_type, await task_type.handler(_parsed(task_type, payload), ctx))
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a handler's sys.exit() must not end the worker
        return report_of(error)


def call_blocking(task_type: TaskType, payload: str, ctx: TaskContext) -> Report:
    """Run a `def` handler, in a thread or in a process of the pool."""
    try:
        return _returned(task_type, task_type.handler(_parsed(task_type, payload), ctx))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises is reported, with its traceback
        return report_of(error)


def report_of(error: BaseException) -> Failed:
    """The report of an attempt whose handler raised."""
    message = _message(error)
    match error:
        case _InvalidError(kind=kind):
            return Failed(Failure(kind, message), permanent=True)
        case Permanent():
            return Failed(Failure("permanent", message, _traceback(error)), permanent=True)
        case Retry(after=after):
            return Failed(Failure("retry", message), retry_after_s=after)
        case _:
            return Failed(Failure(type(error).__name__, message, _traceback(error)))


def _parsed(task_type: TaskType, payload: str) -> Any:
    try:
        return task_type.payload.validate_python(jsontext.loads(payload))
    except ValidationError as error:
        raise _InvalidError("invalid_payload", _first_faults(error)) from None


def _returned(task_type: TaskType, value: Any) -> Returned:
    try:
        text = jsontext.dumps(task_type.result.dump_python(value, mode="python", warnings="error"))
    except (JsonError, ValueError) as error:
        raise _InvalidError(
            "invalid_result", f"the handler returned what its annotation or JSON does not allow: {error}"
        ) from None
    if len(text) > _MAX_RESULT_BYTES // 4 and (size_bytes := len(text.encode())) > _MAX_RESULT_BYTES:
        raise _InvalidError("invalid_result", f"the result has {size_bytes} bytes, {_MAX_RESULT_BYTES} are allowed")
    return Returned(text)


def _first_faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False)[:5]
    return "; ".join(f"/{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


def _message(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return printable(str(error)) or name
    except Exception:  # noqa: BLE001 - its own __str__ is at fault
        return name


def _traceback(error: BaseException) -> str:
    return printable("".join(traceback.format_exception(error)), _TRACEBACK_CHARS)
