"""What is checked, in order. Each check submits its own tasks, so one that fails leaves the others meaningful."""

from collections.abc import Callable
from typing import Final, NamedTuple

from client.checks import (
    accepting,
    controlling,
    failing,
    filing,
    health,
    listening,
    reporting,
    scheduling,
    stopping,
    watching,
)
from client.site import Site


class Check(NamedTuple):
    """One step.

    Attributes:
        title: What holds if it passes.
        run: Raises DoesNotHoldError if it does not; returns a few words on what was seen.
        is_vital: Whether the steps after it make no sense without it.
    """

    title: str
    run: Callable[[Site], str]
    is_vital: bool = False


CHECKS: Final = (
    Check("the API is alive", health.is_alive, is_vital=True),
    Check("it is ready to accept tasks", health.is_ready),
    Check("workers have announced the types of task", health.types_are_announced, is_vital=True),
    Check("a task is accepted, run, and its result is its payload", accepting.task_runs, is_vital=True),
    Check("workers and queues are shown", health.workers_and_queues_are_shown),
    Check("a task that keeps a core busy runs in a process of its own", accepting.busy_task_runs),
    Check("an answer that is known is not sent again", accepting.known_answer_is_not_repeated),
    Check("wrong input is refused with what is wrong", accepting.wrong_input_is_refused),
    Check("an Idempotency-Key makes repeats one task", accepting.repeats_are_one_task),
    Check("a unique task exists once while it is open", accepting.unique_task_exists_once),
    Check("a batch is accepted whole, runs, and is listed in pages", accepting.batch_runs),
    Check("a batch with a fault is refused whole", accepting.faulty_batch_is_refused),
    Check("priority is accepted", accepting.priority_is_accepted),
    Check("progress is seen while a task runs", watching.progress_is_seen),
    Check("a task is told of while it runs, and again after a break", listening.task_is_streamed),
    Check("a delayed task starts when it is due", watching.delayed_task_starts_when_due),
    Check("a task says what it waits for", watching.task_is_explained),
    Check("a task that is not started in time expires", watching.late_task_expires),
    Check("a waiting task is cancelled at once, and runs if retried", stopping.waiting_task_is_cancelled),
    Check("a running task is cancelled", stopping.running_task_is_cancelled),
    Check("a failed attempt is tried again", failing.failure_is_retried),
    Check("a dead letter is listed, read and replayed", failing.dead_letter_is_replayed),
    Check("a dead letter is discarded", failing.dead_letter_is_discarded),
    Check("dead letters are replayed by a filter", controlling.dead_letters_are_replayed_by_filter),
    Check("a queue is paused and resumed", controlling.queue_is_paused_and_resumed),
    Check("a queue is purged", controlling.queue_is_purged),
    Check("a file is uploaded and comes back, whole and in part", filing.file_comes_back),
    Check("a picture is made smaller, from upload to download", filing.thumbnail_is_made),
    Check("a report is made and downloaded", reporting.report_is_made),
    Check("what happens is counted by the minute", listening.minutes_are_counted),
    Check("a schedule submits a task at each tick", scheduling.schedule_runs_each_second),
)
