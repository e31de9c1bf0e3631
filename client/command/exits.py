"""How the command ends: exit statuses, and one line with the remedy for each error."""

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from client.errors import TaskmillError

OK: Final = 0
#: What was asked for came out badly: a task failed, a move was refused, a deployment is ill.
FAILED: Final = 1
#: Wrong usage: an option, a value or a payload that is not valid.
USAGE: Final = 2
NOT_FOUND: Final = 3
#: Nothing answers, or it can't at the moment: try again.
UNAVAILABLE: Final = 4
#: The API key is missing, unknown, or of another scope.
NOT_ALLOWED: Final = 5
#: As the command `timeout` has it.
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "it is done; with `--wait`: the task succeeded",
    FAILED: "the task did not succeed; what was asked for was refused (409); `verify` or `doctor` found a fault",
    USAGE: "wrong usage: an option, a value or a payload is not valid",
    NOT_FOUND: "there is no such task, queue, schedule, …",
    UNAVAILABLE: "nothing answers, or it can't at the moment: try again later",
    NOT_ALLOWED: "the API key is missing, unknown, or lacks a scope",
    TIMED_OUT: "`--wait-timeout` is over; the task goes on",
    INTERRUPTED: "interrupted by Ctrl-C; a task that was submitted goes on",
}


class CommandError(Exception):
    """The command can't go on, for a reason of its own.

    Args:
        message: One sentence with the remedy.
        status: The exit status.
        code: A stable word for programs.
    """

    def __init__(self, message: str, *, status: int = USAGE, code: str = "usage") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def file_refusal(error: OSError) -> CommandError:
    """What a file that can't be read or written means: a name that is wrong, or a machine that is in trouble."""
    if error.filename is None:
        return CommandError(str(error), status=FAILED, code="file")
    return CommandError(f"can't use the file {os.fsdecode(error.filename)}: {error.strerror}", code="file")


def status_of(error: "TaskmillError") -> int:
    """The exit status that an error stands for."""
    from client import errors

    kinds: list[tuple[type[TaskmillError], int]] = [
        (errors.NotFoundError, NOT_FOUND),
        (errors.UnavailableError, UNAVAILABLE),
        (errors.RateLimitedError, UNAVAILABLE),
        (errors.UnauthorizedError, NOT_ALLOWED),
        (errors.ForbiddenError, NOT_ALLOWED),
        (errors.InvalidError, USAGE),
        (errors.WaitTimeoutError, TIMED_OUT),
    ]
    return next((status for kind, status in kinds if isinstance(error, kind)), FAILED)


def remedy_of(error: "TaskmillError") -> str | None:
    """What to do about an error, where its own words don't say it."""
    from client import errors

    match error:
        case errors.UnreachableError():
            return "is it running? `taskmill run` starts one here; --url or TASKMILL_URL names another"
        case errors.UnauthorizedError():
            return "set TASKMILL_API_KEY to a key of this Taskmill"
        case errors.ForbiddenError():
            return "use a key with that scope: an operator makes one with `taskmill keys create`"
        case errors.RateLimitedError():
            return f"try again in {error.retry_after_s or 1:g} s"
        case errors.WaitTimeoutError():
            return f"it goes on: taskmill watch {error.task.task_id}"
        case errors.ServerError() if error.request_id:
            return f"its log has the request as {error.request_id}"
    return None


def document_of(error: Exception) -> dict[str, Any]:
    """An error for machines."""
    from client.errors import TaskmillError

    if not isinstance(error, TaskmillError):
        status = getattr(error, "status", FAILED)
        return {"error": {"code": getattr(error, "code", "error"), "message": str(error), "exit": status}}
    faults = [{"pointer": fault.pointer, "message": fault.message} for fault in error.errors]
    return {
        "error": {
            "code": error.code,
            "message": error.detail,
            "remedy": remedy_of(error),
            "status": error.status,
            "errors": faults,
            "request_id": error.request_id,
            "exit": status_of(error),
        }
    }


def line_of(error: Exception) -> str:
    """An error for people."""
    from client.errors import TaskmillError

    remedy = remedy_of(error) if isinstance(error, TaskmillError) else None
    return f"taskmill: {error}" + (f" ({remedy})" if remedy else "")
