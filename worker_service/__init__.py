"""The engine of Taskmill, and what handlers import from it."""

from shared.domain.retry import RetryPolicy
from worker_service.context import TaskContext
from worker_service.errors import Permanent, Retry, SoftTimeout, Stopped
from worker_service.registry import task

__all__ = ["Permanent", "Retry", "RetryPolicy", "SoftTimeout", "Stopped", "TaskContext", "task"]
