"""What talks to Taskmill over HTTP: it knows the contract and nothing of what is behind it.

`Taskmill` and `AsyncTaskmill` are for programs, `python -m client` (the command `taskmill`) is for people and
scripts, and `python -m client.verify` checks a deployment from outside.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from client.asynchronous import AsyncTaskmill
    from client.blocking import Taskmill
    from client.calls import NewTask, TaskOptions
    from client.errors import (
        ConflictError,
        ForbiddenError,
        InvalidError,
        NotFoundError,
        RateLimitedError,
        ServerError,
        TaskFailedError,
        TaskmillError,
        UnauthorizedError,
        UnavailableError,
        UnreachableError,
        WaitTimeoutError,
    )
    from client.models import Event, Task
    from client.retrying import Retrying

__all__ = [
    "AsyncTaskmill",
    "ConflictError",
    "Event",
    "ForbiddenError",
    "InvalidError",
    "NewTask",
    "NotFoundError",
    "RateLimitedError",
    "Retrying",
    "ServerError",
    "Task",
    "TaskFailedError",
    "TaskOptions",
    "Taskmill",
    "TaskmillError",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "WaitTimeoutError",
]

_HOMES: Final = {
    "AsyncTaskmill": "client.asynchronous",
    "Event": "client.models",
    "NewTask": "client.calls",
    "Retrying": "client.retrying",
    "Task": "client.models",
    "TaskOptions": "client.calls",
    "Taskmill": "client.blocking",
}


# Loaded when first named: `taskmill --help` has no use for an HTTP library.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'client' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "client.errors")), name)
