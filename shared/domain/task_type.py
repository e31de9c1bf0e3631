"""What a worker announces about a type of task, and what the API needs to accept one."""

from dataclasses import dataclass
from typing import Any, Final

from shared.domain.retry import RetryPolicy

#: Seconds that an attempt may run where neither the task nor its type says otherwise.
DEFAULT_TIMEOUT_S: Final = 3600.0
#: Attempts in total, the first one included, where neither the task nor its type says otherwise.
DEFAULT_MAX_ATTEMPTS: Final = 3
DEFAULT_QUEUE: Final = "default"
#: Where Taskmill's own tasks run (webhooks, monitoring, clean-up). Every worker takes from it, whatever else it does.
SYSTEM_QUEUE: Final = "system"
#: Names of queues, as a client may write them.
QUEUE_PATTERN: Final = r"^[a-z0-9._-]{1,64}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTypeInfo:
    """A type of task as every service sees it.

    Attributes:
        name: Stable and dotted, like `billing.invoice`.
        queue: Where its tasks go unless the client names another.
        summary: One line for people.
        payload_schema: JSON Schema of the payload; `{}` accepts any JSON.
        result_schema: JSON Schema of the result.
        max_attempts: Attempts in total, the first one included.
        timeout_s: Hard limit of one attempt, in seconds.
        soft_timeout_s: When the handler is told that its time runs out, in seconds; None for never.
        retry: The wait between attempts.
        example: A payload that the schema accepts.
    """

    name: str
    queue: str = DEFAULT_QUEUE
    summary: str = ""
    payload_schema: dict[str, Any]
    result_schema: dict[str, Any]
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout_s: float = DEFAULT_TIMEOUT_S
    soft_timeout_s: float | None = None
    retry: RetryPolicy = RetryPolicy()
    example: Any = None
