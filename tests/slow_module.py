"""A task module that takes a process of the pool long to import."""

import multiprocessing
import time
from typing import Any

from worker_service import TaskContext, task

#: Seconds; longer than the attempts of the test may run.
IMPORT_S = 2.0

if multiprocessing.parent_process() is not None:
    time.sleep(IMPORT_S)


@task("slow_module.echo", cpu=True)
def echo(payload: Any, ctx: TaskContext) -> Any:
    """Return the payload."""
    return payload
