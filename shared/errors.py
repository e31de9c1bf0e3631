"""The one tree of errors. Each has a `code` that clients may rely on and builds its message from facts."""

from collections.abc import Iterable, Sequence
from typing import ClassVar
from uuid import UUID


class TaskmillError(Exception):
    """Base of all our errors; anything else that escapes is a bug."""

    code: ClassVar[str] = "internal"


class SettingsError(TaskmillError):
    """A setting is invalid or misspelt; the process must not start."""

    code = "settings"


class DatabaseUnavailableError(TaskmillError):
    """PostgreSQL can't be reached or broke off; the caller may try again."""

    code = "database_unavailable"

    def __init__(self, reason: object) -> None:
        super().__init__(f"PostgreSQL is not available: {reason}")


class DatabaseRefusedError(TaskmillError):
    """PostgreSQL is there and lets us not in: a wrong password, a missing role or database."""

    code = "database_refused"

    def __init__(self, reason: object) -> None:
        super().__init__(f"PostgreSQL refuses the connection: {reason}: correct DATABASE_URL")


class SchemaMissingError(TaskmillError):
    """The database has not been migrated to the schema this code needs."""

    code = "schema_missing"

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"the database is at schema {found or 'none'}, {wanted} is needed: run 'alembic upgrade head'"
        )


class PartitionsBusyError(TaskmillError):
    """The partitions of the tasks can't be changed just now; the next round tries again."""

    code = "partitions_busy"

    def __init__(self) -> None:
        super().__init__("the partitions can't be changed: another worker does it, or a statement takes long")


class BrokerUnavailableError(TaskmillError):
    """The broker can't be reached or broke off; what was to be published stays in the outbox."""

    code = "broker_unavailable"

    def __init__(self, reason: object) -> None:
        super().__init__(f"the broker is not available: {reason}")


class TopologyMismatchError(TaskmillError):
    """A queue or exchange exists at the broker with other arguments than ours."""

    code = "topology_mismatch"

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(
            f"{name} exists at the broker with other arguments ({reason}): delete it once it is empty"
            " (its tasks are safe in PostgreSQL and will be sent again), or set BROKER_QUEUE_TYPE to its type"
        )
        self.name = name


class CacheUnavailableError(TaskmillError):
    """The cache or the event stream can't be reached; everything goes on without it, slower."""

    code = "cache_unavailable"

    def __init__(self, reason: object) -> None:
        super().__init__(f"Redis is not available: {reason}")


class ArtifactsUnavailableError(TaskmillError):
    """The artifact store can't be reached, or can't be written to; the caller may try again."""

    code = "artifacts_unavailable"

    def __init__(self, reason: object) -> None:
        super().__init__(f"the artifact store is not available (see ARTIFACTS_URL): {reason}")


class ArtifactNotFoundError(TaskmillError):
    """There is no such file, or no longer."""

    code = "artifact_not_found"

    def __init__(self, wanted: object) -> None:
        super().__init__(f"there is no artifact {wanted}")


class ArtifactNameError(TaskmillError):
    """A file can't have this name."""

    code = "artifact_name"

    def __init__(self, name: str, longest: int) -> None:
        super().__init__(
            f"{name[:longest]!r} can't be the name of an artifact: use 1 to {longest} printable characters, no / or"
            " \\, and no dot at the beginning"
        )


class MalformedMessageError(TaskmillError):
    """A message that was not written by us: no number of deliveries will make it readable."""

    code = "malformed_message"


class JsonError(TaskmillError):
    """Text that is not JSON, or a value that JSON can't hold."""

    code = "not_json"


class TaskNotFoundError(TaskmillError):
    """No task has this id."""

    code = "task_not_found"

    def __init__(self, task_id: object) -> None:
        super().__init__(f"there is no task {task_id}")


class QueueNotFoundError(TaskmillError):
    """No task and no worker has named this queue yet."""

    code = "queue_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no queue {name!r}: it is known once a task or a worker has named it, and GET /queues lists"
            " those that are"
        )


class WorkerNotFoundError(TaskmillError):
    """No worker has this id, or it has left."""

    code = "worker_not_found"

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"there is no worker {worker_id!r}: GET /workers lists those that have not left")


class DeadLetterNotFoundError(TaskmillError):
    """No dead letter has this id."""

    code = "dead_letter_not_found"

    def __init__(self, dead_letter_id: object) -> None:
        super().__init__(f"there is no dead letter {dead_letter_id}")


class NotReplayableError(TaskmillError):
    """A dead letter that never was a task can be read and discarded, but not run."""

    code = "not_replayable"

    def __init__(self, dead_letter_id: UUID) -> None:
        super().__init__(
            f"dead letter {dead_letter_id} is a message without a readable task: it can only be discarded"
        )


class IllegalMoveError(TaskmillError):
    """A task was asked for a move that the table of moves does not allow from where it stands."""

    code = "illegal_move"

    def __init__(self, task_id: UUID, status: str, move: str) -> None:
        super().__init__(f"task {task_id} is {status}: it can't be asked to {move}")
        self.status = status


class UniqueConflictError(TaskmillError):
    """A task can't run again while another one with the same unique key is open."""

    code = "unique_conflict"

    def __init__(self, task_id: UUID, holder: UUID) -> None:
        super().__init__(f"task {task_id} can't run again: task {holder} has the same unique key and is not final")


class IdempotencyConflictError(TaskmillError):
    """The Idempotency-Key was used within the last 24 hours for another body."""

    code = "idempotency_conflict"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another body: send a fresh key with a changed request")


class KeyNotFoundError(TaskmillError):
    """No API key in the database has this name."""

    code = "key_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no API key {name!r}")


class KeyNameTakenError(TaskmillError):
    """An API key has, or had, this name."""

    code = "key_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"an API key is or was called {name!r}: choose another name, for those of revoked keys are not used again"
        )


class KeyNotStoredError(TaskmillError):
    """A key of the environment can't be revoked over the API."""

    code = "key_from_environment"

    def __init__(self, name: str) -> None:
        super().__init__(f"the API key {name!r} comes from API_KEYS: take it out there and start the API again")


class NoKeysError(SettingsError):
    """The API would be reachable beyond loopback, and no key would be asked for."""

    def __init__(self, host: str, looked: str) -> None:
        super().__init__(
            f"API_HOST={host} is not loopback, and there is no API key ({looked}): anybody who reaches it could run"
            " tasks. Set API_KEYS, or API_HOST=127.0.0.1, or AUTH=off if something in front of it decides who gets in"
        )


class CannotListenError(TaskmillError):
    """The API can't listen where it is told to, mostly because something else does."""

    code = "cannot_listen"

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"can't listen on {host}:{port}: {reason}: stop what listens there, or set another API_PORT or API_HOST"
        )


class OperatorsTypeError(TaskmillError):
    """A task of a type that works on Taskmill itself was sent by somebody who may not operate it."""

    code = "scope_missing"

    def __init__(self, type_: str) -> None:
        super().__init__(f"tasks of the type {type_!r} work on Taskmill itself: they take the scope operate too")


class UnknownTaskTypeError(TaskmillError):
    """A type that no worker has announced."""

    code = "unknown_task_type"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none yet: is a worker running?"
        super().__init__(f"no worker has announced the type {name!r}; known types: {names}")


class RhythmError(TaskmillError):
    """When a schedule is to run can't be understood, or would be never.

    Attributes:
        field: What is wrong: `cron`, `every` or `timezone`.
        fault: What is wrong with it.
    """

    code = "invalid_rhythm"

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field = field
        self.fault = fault


class ScheduleNotFoundError(TaskmillError):
    """No schedule has this name."""

    code = "schedule_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no schedule {name!r}")


class ScheduleExistsError(TaskmillError):
    """A schedule of this name is there already."""

    code = "schedule_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a schedule {name!r} already: PUT /schedules/{name} replaces it")


class ScheduleOverlapError(TaskmillError):
    """A schedule whose runs must not overlap can't run while its last task is not final."""

    code = "schedule_overlap"

    def __init__(self, name: str, task_id: UUID) -> None:
        super().__init__(f"schedule {name!r} skips what overlaps, and its task {task_id} is not final")


class ScheduleNotRunnableError(TaskmillError):
    """What a schedule would submit is no longer accepted."""

    code = "schedule_not_runnable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"schedule {name!r} can't run: {reason}")


class InvalidInputError(TaskmillError):
    """Input that does not fit the contract.

    Attributes:
        faults: One (JSON pointer, message) for each fault.
    """

    code = "invalid_input"

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{pointer or '/'}: {message}" for pointer, message in faults[:5]))
        self.faults = list(faults)
