"""How tasks are born: rows, keys and doorbells of many submissions in one transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from shared.domain.ring import Ring
from shared.domain.status import TaskStatus
from shared.domain.task import Accepted, NewTask
from shared.errors import IdempotencyConflictError
from shared.store.connection import Connection
from shared.store.database import Database
from shared.store.rows import AMONG, among
from shared.store.statement import text

#: Seconds that an Idempotency-Key is remembered.
IDEMPOTENCY_S: Final = 24 * 3600.0


@dataclass(slots=True)
class Born:
    """What became of a batch: an answer for each task in order, and the doorbells left in the outbox."""

    answers: list[Accepted | IdempotencyConflictError] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)


class _Holder(NamedTuple):
    task_id: UUID
    fingerprint: bytes


class _Row(NamedTuple):
    status: str
    created_at: datetime
    outbox_id: int | None


class Submissions:
    """Accepts tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, tasks: Sequence[NewTask]) -> Born:
        """Store tasks, each with its doorbell if it is due; or find the task that a key already stands for.

        All or nothing. Safe to repeat with the same tasks: what an earlier call already stored is found again.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away; nothing is known of the batch.
        """
        if not any(task.idempotency or task.unique for task in tasks):
            async with self._database.by_key() as connection:
                return await _insert(connection, tasks, originals={})
        async with self._database.transaction() as connection:
            return await _accept_keyed(connection, tasks)


async def accept_with(connection: Connection, tasks: Sequence[NewTask]) -> Born:
    """The same in a transaction of the caller's: the tasks are born if it commits."""
    if any(task.idempotency or task.unique for task in tasks):
        return await _accept_keyed(connection, tasks)
    return await _insert(connection, tasks, originals={})


async def _accept_keyed(connection: Connection, tasks: Sequence[NewTask]) -> Born:
    """Idempotency keys first, then uniqueness keys of what is still new: one order of locks, so no deadlocks."""
    conflicts: set[UUID] = set()
    originals: dict[UUID, UUID] = {}

    keyed = [task for task in tasks if task.idempotency]
    holders = await _take(connection, "idempotency", keyed, _idempotency_entry)
    for task in keyed:
        holder = holders[_idempotency_entry(task).key]
        if holder.fingerprint != _idempotency_entry(task).fingerprint:
            conflicts.add(task.id)
        elif holder.task_id != task.id:
            originals[task.id] = holder.task_id
    conflicts = await _spread_conflicts(connection, keyed, conflicts)

    unique = [task for task in tasks if task.unique and task.id not in originals and task.id not in conflicts]
    holders = await _take(connection, "unique", unique, _unique_entry)
    for task in unique:
        holder = holders[_unique_entry(task).key]
        if holder.task_id != task.id:
            originals[task.id] = holder.task_id

    # A repeat must find the task that its first request was answered with, not one that was never stored.
    await _point_keys_at_originals(connection, keyed, originals)
    # Two in this batch may have found each other's task: follow to the one that is stored.
    originals = {task_id: _last(original, originals) for task_id, original in originals.items()}
    return await _insert(connection, tasks, originals, conflicts)


async def _spread_conflicts(connection: Connection, keyed: Sequence[NewTask], conflicts: set[UUID]) -> set[UUID]:
    """All tasks of a request (they share its fingerprint) conflict when one does, and give back their keys."""
    if not conflicts:
        return conflicts
    requests = {_idempotency_entry(task).fingerprint for task in keyed if task.id in conflicts}
    refused = [task for task in keyed if _idempotency_entry(task).fingerprint in requests]
    await connection.execute(
        _GIVE_BACK_KEYS,
        {"keys": [_idempotency_entry(task).key for task in refused], "ids": [task.id for task in refused]},
    )
    return {task.id for task in refused}


class _KeyEntry(NamedTuple):
    key: bytes
    task_id: UUID
    fingerprint: bytes
    is_open: bool
    keep_s: float


def _idempotency_entry(task: NewTask) -> _KeyEntry:
    assert task.idempotency is not None
    return _KeyEntry(task.idempotency.key, task.id, task.idempotency.fingerprint, False, IDEMPOTENCY_S)


def _unique_entry(task: NewTask) -> _KeyEntry:
    assert task.unique is not None
    return _KeyEntry(task.unique.key, task.id, b"", True, task.unique.for_s or 0.0)


async def _take(
    connection: Connection, kind: str, tasks: Sequence[NewTask], entry_of: Callable[[NewTask], _KeyEntry]
) -> dict[bytes, _Holder]:
    """Who holds each key now: the first task of this batch that asked for it, or an earlier one."""
    first: dict[bytes, _KeyEntry] = {}
    for task in tasks:
        entry = entry_of(task)
        first.setdefault(entry.key, entry)
    if not first:
        return {}
    entries = [first[key] for key in sorted(first)]
    rows = await connection.execute(
        _TAKE_KEYS,
        {
            "kind": kind,
            "keys": [entry.key for entry in entries],
            "ids": [entry.task_id for entry in entries],
            "fingerprints": [entry.fingerprint for entry in entries],
            "opens": [entry.is_open for entry in entries],
            "keeps": [entry.keep_s for entry in entries],
        },
    )
    return {key: _Holder(task_id, fingerprint) for key, task_id, fingerprint in rows}


async def _point_keys_at_originals(
    connection: Connection, keyed: Iterable[NewTask], originals: dict[UUID, UUID]
) -> None:
    astray = [task for task in keyed if task.id in originals]
    if astray:
        await connection.execute(
            _POINT_KEYS,
            {
                "keys": [_idempotency_entry(task).key for task in astray],
                "ids": [task.id for task in astray],
                "originals": [originals[task.id] for task in astray],
            },
        )


def _last(task_id: UUID, originals: dict[UUID, UUID]) -> UUID:
    while task_id in originals:
        task_id = originals[task_id]
    return task_id


async def _insert(
    connection: Connection,
    tasks: Sequence[NewTask],
    originals: dict[UUID, UUID],
    conflicts: set[UUID] | frozenset[UUID] = frozenset(),
) -> Born:
    known = conflicts | originals.keys()
    new = [task for task in tasks if task.id not in known] if known else tasks
    rows = await connection.execute(_INSERT, _columns(new)) if new else ()
    born = {task_id: _Row(status, created_at, outbox_id) for task_id, status, created_at, outbox_id in rows}
    earlier_ids = set(originals.values()) - born.keys()
    if len(born) < len(new):
        earlier_ids.update(task.id for task in new if task.id not in born)
    earlier = await _existing(connection, earlier_ids) if earlier_ids else {}

    result = Born()
    for task in tasks:
        if (row := born.get(task.id)) is not None:
            result.answers.append(Accepted(task.id, row.status, task.type, task.queue, row.created_at))
            if row.outbox_id is not None:
                result.rings.append(Ring(row.outbox_id, task.id, 1, task.queue, task.priority, task.type))
        elif task.id in conflicts:
            result.answers.append(IdempotencyConflictError())
        elif task.id in originals:
            result.answers.append(_duplicate(originals[task.id], earlier, born, tasks))
        else:  # stored by an earlier try of this very batch, whose answer was lost; the relay has its doorbell
            result.answers.append(earlier[task.id])
    return result


def _duplicate(
    original: UUID, earlier: dict[UUID, Accepted], born: dict[UUID, _Row], tasks: Sequence[NewTask]
) -> Accepted:
    if original in earlier:
        known = earlier[original]
        return Accepted(known.task_id, known.status, known.type, known.queue, known.created_at, duplicate=True)
    task = next(task for task in tasks if task.id == original)
    row = born[original]
    return Accepted(original, row.status, task.type, task.queue, row.created_at, duplicate=True)


async def _existing(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Accepted]:
    rows = await connection.execute(_EXISTING, among(list(ids)))
    return {row.id: Accepted(row.id, row.status, row.type, row.queue, row.created_at) for row in rows}


def _columns(tasks: Sequence[NewTask]) -> dict[str, list[object]]:
    return {
        "ids": [task.id for task in tasks],
        "types": [task.type for task in tasks],
        "queues": [task.queue for task in tasks],
        "priorities": [task.priority for task in tasks],
        "payloads": [task.payload for task in tasks],
        "max_attempts": [task.max_attempts for task in tasks],
        "timeouts": [task.timeout_s for task in tasks],
        "soft_timeouts": [task.soft_timeout_s for task in tasks],
        "delays": [task.delay_s for task in tasks],
        "run_ats": [_in_utc(task.run_at) for task in tasks],
        "expiries": [task.expires_in_s for task in tasks],
        "tags": [_array_literal(task.tags) for task in tasks],
        "unique_keys": [None if task.unique is None else task.unique.key for task in tasks],
        "parents": [task.parent_id for task in tasks],
        "request_ids": [task.request_id for task in tasks],
        "submitters": [task.submitted_by for task in tasks],
        "callback_urls": [task.callback_url for task in tasks],
    }


def _in_utc(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise ValueError("run_at must be aware")
    return moment


def _array_literal(values: Sequence[str]) -> str:
    """An array in PostgreSQL's text form: `unnest` would flatten an array of arrays."""
    quoted = ('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


# `ON CONFLICT (id)`: the same batch may come twice when the answer to its commit was lost.
_INSERT: Final = text(f"""
    WITH item AS (
        SELECT *, coalesce(run_at_given, now() + make_interval(secs => delay_s)) AS run_at FROM unnest(
            CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:queues AS text[]), CAST(:priorities AS text[]),
            CAST(:payloads AS text[]), CAST(:max_attempts AS int[]), CAST(:timeouts AS float8[]),
            CAST(:soft_timeouts AS float8[]), CAST(:delays AS float8[]), CAST(:run_ats AS timestamptz[]),
            CAST(:expiries AS float8[]), CAST(:tags AS text[]), CAST(:unique_keys AS bytea[]),
            CAST(:parents AS uuid[]), CAST(:request_ids AS text[]), CAST(:submitters AS text[]),
            CAST(:callback_urls AS text[])
        ) AS i(id, type, queue, priority, payload, max_attempts, timeout_s, soft_timeout_s, delay_s, run_at_given,
               expires_in_s, tags, unique_key, parent_id, request_id, submitted_by, callback_url)
    ), born AS (
        INSERT INTO tasks (id, type, queue, priority, status, attempt, attempts_before, max_attempts, timeout_s,
                           soft_timeout_s, payload, errors, tags, created_at, queued_at, run_at, expires_at,
                           cancel_requested, unique_key, parent_id, request_id, submitted_by, callback_url, version)
        SELECT id, type, queue, priority,
               CASE WHEN run_at > now() THEN '{TaskStatus.SCHEDULED}' ELSE '{TaskStatus.QUEUED}' END,
               0, 0, max_attempts, timeout_s, soft_timeout_s, payload, '{{}}', CAST(tags AS text[]), now(),
               CASE WHEN run_at > now() THEN NULL ELSE now() END, run_at,
               now() + make_interval(secs => expires_in_s), false, unique_key, parent_id, request_id, submitted_by,
               callback_url, 1
        FROM item
        ON CONFLICT (id) DO NOTHING
        RETURNING id, status, queue, priority, type, created_at
    ), named AS (
        INSERT INTO queues (name)
        SELECT DISTINCT i.queue FROM item i WHERE NOT EXISTS (SELECT FROM queues q WHERE q.name = i.queue)
        ON CONFLICT DO NOTHING
    ), rung AS (
        INSERT INTO outbox (task_id, attempt, queue, priority, type, due_at)
        SELECT id, 1, queue, priority, type, now() + interval '5 seconds' FROM born
        WHERE status = '{TaskStatus.QUEUED}'
        RETURNING id, task_id
    )
    SELECT b.id, b.status, b.created_at, r.id AS outbox_id FROM born b LEFT JOIN rung r ON r.task_id = b.id""")

# The conflicting row is always updated, so that it is locked and its holder is returned. A key that its own task
# asks for again, because the answer to its birth was lost, stays as it is: that task may have ended meanwhile, and
# nobody would release the key a second time.
_KEPT: Final = "k.open OR k.keep_until > now() OR k.task_id = excluded.task_id"
_TAKE_KEYS: Final = text(f"""
    INSERT INTO task_keys AS k (kind, key, task_id, fingerprint, open, keep_until)
    SELECT :kind, e.key, e.task_id, e.fingerprint, e.open, now() + make_interval(secs => e.keep_s)
    FROM unnest(CAST(:keys AS bytea[]), CAST(:ids AS uuid[]), CAST(:fingerprints AS bytea[]),
                CAST(:opens AS bool[]), CAST(:keeps AS float8[])) AS e(key, task_id, fingerprint, open, keep_s)
    ON CONFLICT (kind, key) DO UPDATE
    SET task_id = CASE WHEN {_KEPT} THEN k.task_id ELSE excluded.task_id END,
        fingerprint = CASE WHEN {_KEPT} THEN k.fingerprint ELSE excluded.fingerprint END,
        open = CASE WHEN {_KEPT} THEN k.open ELSE excluded.open END,
        keep_until = CASE WHEN {_KEPT} THEN k.keep_until ELSE excluded.keep_until END
    RETURNING key, task_id, fingerprint""")

_POINT_KEYS: Final = text("""
    UPDATE task_keys k SET task_id = o.original
    FROM unnest(CAST(:keys AS bytea[]), CAST(:ids AS uuid[]), CAST(:originals AS uuid[])) AS o(key, id, original)
    WHERE k.kind = 'idempotency' AND k.key = o.key AND k.task_id = o.id""")

_GIVE_BACK_KEYS: Final = text("""
    DELETE FROM task_keys k USING unnest(CAST(:keys AS bytea[]), CAST(:ids AS uuid[])) AS g(key, id)
    WHERE k.kind = 'idempotency' AND k.key = g.key AND k.task_id = g.id""")

_EXISTING: Final = text(f"SELECT t.id, t.status, t.type, t.queue, t.created_at FROM tasks t WHERE {AMONG}")
