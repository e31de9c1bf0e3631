"""The end of attempts: outcomes, files and what follows from them, in one guarded statement."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from shared.domain.artifact import Artifact, artifacts_json
from shared.domain.outcome import Outcome
from shared.domain.status import FINAL, FINISH, TaskStatus
from shared.domain.task import TaskRecord, failure_json
from shared.store.connection import Connection, Row
from shared.store.rows import (
    AMONG,
    BURY,
    CALL_BACK,
    COLUMNS,
    PUBLISHED_DIRECTLY,
    RELEASE_KEYS,
    Moved,
    among,
    ring_due_and_called,
    rings_of,
    select_moved_and_called,
    task_from,
)
from shared.store.statement import sql_list, text


class Ending(NamedTuple):
    """An attempt that has ended on this worker.

    Attributes:
        task: The row as it was claimed.
        outcome: As decided.
        progress: What is not stored of it yet.
        artifacts: Its files.
    """

    task: TaskRecord
    outcome: Outcome
    progress: str | None = None
    artifacts: tuple[Artifact, ...] = ()


@dataclass(slots=True)
class Finished(Moved):
    """What `finish` did. `refused` holds the tasks that were no longer this attempt's to finish."""

    refused: list[UUID] = field(default_factory=list)


async def finish(connection: Connection, endings: Sequence[Ending], *, worker: str) -> Finished:
    """End attempts; see `Lifecycle.finish`."""
    endings = sorted(endings, key=lambda ending: ending.task.id)  # one order of locks for all statements
    if all(map(_moves_one_row, endings)):
        rows = await connection.execute(_SUCCEED, _success_parameters(endings, worker))
    else:
        rows = await connection.execute(_FINISH, _finish_parameters(endings, worker))
    finished = _finished_from(rows, endings)
    written = {task.id for task in finished.tasks}
    missing = [ending for ending in endings if ending.task.id not in written]
    if missing:
        earlier = await _finished_earlier(connection, missing, worker)
        finished.tasks += earlier
        written.update(task.id for task in earlier)
    finished.refused = [ending.task.id for ending in missing if ending.task.id not in written]
    return finished


async def _finished_earlier(connection: Connection, missing: Sequence[Ending], worker: str) -> list[TaskRecord]:
    rows = await connection.execute(_SELECT_MANY, among([ending.task.id for ending in missing]))
    expected = {ending.task.id: ending for ending in missing}
    return [
        task
        for task in map(task_from, rows)
        if task.worker == worker and task.attempt == _attempt_after(expected[task.id]) and _has_ended(task)
    ]


def _attempt_after(ending: Ending) -> int:
    return ending.task.attempt - 1 if ending.outcome.returns_attempt else ending.task.attempt


def _has_ended(task: TaskRecord) -> bool:
    return task.status != TaskStatus.RUNNING


def _moves_one_row(ending: Ending) -> bool:
    """Whether nothing follows from the end but the task's own move, as is mostly the case."""
    task = ending.task
    return (
        ending.outcome.status == TaskStatus.SUCCEEDED
        and task.attempt == 1  # no earlier one has left files
        and not ending.artifacts
        and task.unique_key is None
        and task.callback_url is None
    )


def _success_parameters(endings: Sequence[Ending], worker: str) -> dict[str, object]:
    return {
        **among([ending.task.id for ending in endings]),
        "attempts": [ending.task.attempt for ending in endings],
        "results": [ending.outcome.result for ending in endings],
        "progress": [ending.progress for ending in endings],
        "sources": sorted(FINISH.sources),
        "worker": worker,
    }


def _finish_parameters(endings: Sequence[Ending], worker: str) -> dict[str, object]:
    outcomes = [ending.outcome for ending in endings]
    return {
        **among([ending.task.id for ending in endings]),
        "attempts": [ending.task.attempt for ending in endings],
        "statuses": [outcome.status.value for outcome in outcomes],
        "results": [outcome.result for outcome in outcomes],
        "errors": [_error(outcome) for outcome in outcomes],
        "delays": [outcome.delay_s for outcome in outcomes],
        "returned": [outcome.returns_attempt for outcome in outcomes],
        "progress": [ending.progress for ending in endings],
        "artifacts": [artifacts_json(ending.artifacts) for ending in endings],
        "sources": sorted(FINISH.sources),
        "worker": worker,
        **_artifact_parameters(endings),
    }


def _error(outcome: Outcome) -> str | None:
    return None if outcome.failure is None else failure_json(outcome.failure)


def _artifact_parameters(endings: Sequence[Ending]) -> dict[str, object]:
    # An attempt that is given back has made nothing that counts: it runs again.
    files = [file for ending in endings if not ending.outcome.returns_attempt for file in ending.artifacts]
    return {
        "file_ids": [file.id for file in files],
        "file_tasks": [file.task_id for file in files],
        "file_attempts": [file.attempt for file in files],
        "file_names": [file.name for file in files],
        "file_types": [file.media_type for file in files],
        "file_sizes": [file.size_bytes for file in files],
    }


def _finished_from(rows: Sequence[Row], endings: Sequence[Ending]) -> Finished:
    """The tasks as they are now: as they were claimed, but for what this worker has written and what it was told."""
    finished = Finished()
    ended = {(ending.task.id, ending.task.attempt): ending for ending in endings}
    for outbox_id, callback_id, task_id, attempt, *changed in rows:
        ending = ended[task_id, attempt]
        task, outcome, error = ending.task, ending.outcome, _error(ending.outcome)
        now = task._replace(
            result=outcome.result,
            error=error,
            errors=task.errors if error is None else [*task.errors, error],
            artifacts=task.artifacts if outcome.returns_attempt else artifacts_json(ending.artifacts),
            **dict(zip(_CHANGED_FIELDS, changed, strict=True)),
        )
        finished.tasks.append(now)
        finished.rings += rings_of(now, outbox_id, callback_id)
    return finished


#: The fields that may be other than this worker knows when it has finished a task.
_CHANGED_FIELDS: Final = (
    "status",
    "attempt",
    "progress",
    "queued_at",
    "run_at",
    "finished_at",
    "cancel_requested",
    "version",
)
_CHANGED: Final = ", ".join(f"t.{name}" for name in _CHANGED_FIELDS)

# Wishes beat retries: what would wait again becomes cancelled if that was asked meanwhile.
_TARGET: Final = (
    "CASE WHEN t.cancel_requested AND e.status IN ('retrying', 'queued') THEN 'cancelled' ELSE e.status END"
)

_SELECT_MANY: Final = text(f"SELECT {COLUMNS} FROM tasks t WHERE {AMONG}")

# A task has the files of the last attempt that ended; the sweep finds those of earlier ones.
_REPLACE_ARTIFACTS: Final = """
    DELETE FROM artifacts a USING moved m, ending e
    WHERE a.task_id = ANY(ARRAY(SELECT id FROM moved WHERE attempt > 1))
      AND a.task_id = m.id AND e.id = m.id AND NOT e.returned"""
_KEEP_ARTIFACTS: Final = """
    INSERT INTO artifacts (id, task_id, attempt, name, media_type, size_bytes, created_at)
    SELECT f.id, f.task_id, f.attempt, f.name, f.media_type, f.size_bytes, now()
    FROM unnest(
        CAST(:file_ids AS uuid[]), CAST(:file_tasks AS uuid[]), CAST(:file_attempts AS int[]),
        CAST(:file_names AS text[]), CAST(:file_types AS text[]), CAST(:file_sizes AS bigint[])
    ) AS f(id, task_id, attempt, name, media_type, size_bytes)
    JOIN moved m ON m.id = f.task_id"""

# The same as `_FINISH` for endings from which nothing else follows, at half the price.
_SUCCEED: Final = text(f"""
    UPDATE tasks t
    SET status = '{TaskStatus.SUCCEEDED}', result = e.result, error = NULL,
        progress = coalesce(e.progress, t.progress), finished_at = now(), version = t.version + 1
    FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:results AS text[]), CAST(:progress AS text[]))
        AS e(id, attempt, result, progress)
    WHERE {AMONG} AND t.id = e.id AND t.status = ANY(CAST(:sources AS text[]))
      AND t.attempt = e.attempt AND t.worker = :worker
    RETURNING NULL AS outbox_id, NULL AS callback_id, t.id, e.attempt AS ended, {_CHANGED}""")

_FINISH: Final = text(f"""
    WITH ending AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:statuses AS text[]), CAST(:results AS text[]),
            CAST(:errors AS text[]), CAST(:delays AS float8[]), CAST(:returned AS bool[]),
            CAST(:progress AS text[]), CAST(:artifacts AS text[])
        ) AS e(id, attempt, status, result, error, delay_s, returned, progress, artifacts)
    ), moved AS (
        UPDATE tasks t
        SET status = {_TARGET},
            artifacts = CASE WHEN e.returned THEN t.artifacts ELSE e.artifacts END,
            attempt = CASE WHEN e.returned THEN e.attempt - 1 ELSE e.attempt END,
            result = e.result,
            progress = coalesce(e.progress, t.progress),
            error = e.error,
            errors = CASE WHEN e.error IS NULL THEN t.errors ELSE t.errors || e.error END,
            run_at = CASE WHEN {_TARGET} = 'retrying' THEN now() + make_interval(secs => e.delay_s) ELSE t.run_at END,
            queued_at = CASE WHEN {_TARGET} = 'queued' THEN now() ELSE t.queued_at END,
            finished_at = CASE WHEN {_TARGET} IN ({sql_list(FINAL)}) THEN now() END,
            version = t.version + 1
        FROM ending e
        WHERE {AMONG} AND t.id = e.id AND t.status = ANY(CAST(:sources AS text[]))
          AND t.attempt = e.attempt AND t.worker = :worker
        RETURNING t.id, e.attempt AS ended, t.type, t.queue, t.priority, t.error, t.unique_key, t.request_id,
                  t.callback_url,
                  {_CHANGED}
    ), keys AS ({RELEASE_KEYS}), dead AS ({BURY}), called AS ({CALL_BACK}),
    replaced AS ({_REPLACE_ARTIFACTS}), kept AS ({_KEEP_ARTIFACTS}),
    rung AS ({ring_due_and_called(due_in=PUBLISHED_DIRECTLY)})
    {select_moved_and_called("t.id, t.ended, " + _CHANGED)}""")
