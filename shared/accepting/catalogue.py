"""The types of task that workers have announced, with their schemas compiled."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import getitem
from typing import Any, Final

import jsonschema_rs
import structlog

from shared.accepting.faults import MAX_FAULTS, pointer
from shared.domain.task_type import TaskTypeInfo
from shared.errors import DatabaseUnavailableError, InvalidInputError, JsonError, UnknownTaskTypeError
from shared.jsontext import dumps
from shared.store.task_types import TaskTypes

log = structlog.get_logger(__name__)

#: Seconds after which announcements are read again in the background while they are in use.
_MAX_AGE_S: Final = 3.0
#: Seconds between two readings for types that are not known, whoever asks for them.
_MIN_PAUSE_S: Final = 0.3
# To name every fault takes a while for each of them. In a payload longer than this, the first one must do.
_MAX_LENGTH_FOR_ALL_FAULTS: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class KnownType:
    """A type and its compiled schema."""

    info: TaskTypeInfo
    _schema: jsonschema_rs.Validator

    def require_valid(self, payload: Any, length: int, *, at: str) -> None:
        """Do nothing if the schema accepts the payload.

        Args:
            payload: A JSON value.
            length: The length of its text.
            at: The pointer to it in the body.

        Raises:
            InvalidInputError: It does not.
        """
        if self._schema.is_valid(payload):
            return
        faults = islice(self._faults(payload, length), MAX_FAULTS)
        raise InvalidInputError([(at + place, message) for place, message in faults])

    def _faults(self, payload: Any, length: int) -> Iterator[tuple[str, str]]:
        if length <= _MAX_LENGTH_FOR_ALL_FAULTS:
            for error in self._schema.iter_errors(payload):
                yield from self._faults_of(error)
            return
        try:
            self._schema.validate(payload)
        except jsonschema_rs.ValidationError as error:
            yield from self._faults_of(error)

    def _faults_of(self, error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
        # To a value that is no object the rule does not apply, which the validator takes for all branches accepting.
        is_object = isinstance(error.instance, dict)
        names = _alternatives(self.info.payload_schema, error.schema_path) if is_object else []
        match error.kind:
            case jsonschema_rs.ValidationErrorKind.OneOfNotValid() if names:
                others = " or ".join(f"'{name}'" for name in names[1:])
                yield pointer([*error.instance_path, names[0]]), f"is required, or {others} in its place"
            case jsonschema_rs.ValidationErrorKind.OneOfMultipleValid() if names:
                listed = " and ".join(f"'{name}'" for name in names)
                yield pointer([*error.instance_path, names[-1]]), f"only one of {listed} can be given"
            case jsonschema_rs.ValidationErrorKind.Pattern() if example := _example_beside(
                self.info.payload_schema, error.schema_path
            ):
                yield pointer(error.instance_path), f"must look like {example}"
            case _:
                yield from _faults_of(error)


class Catalogue:
    """Knows the announced types; reads them again when they are old, or when one is asked for that is missing."""

    def __init__(self, types: TaskTypes) -> None:
        self._types = types
        self._known: dict[str, KnownType] = {}
        self._read_at = float("-inf")
        self._refreshed_at = float("-inf")
        self._lock = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Read the announcements now.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        await self._read_after(time.monotonic())

    async def get(self, name: str) -> KnownType:
        """A type.

        Raises:
            UnknownTaskTypeError: No worker has announced it.
            DatabaseUnavailableError: It is not known here, and PostgreSQL is away.
        """
        if name not in self._known:
            await self._read_after(time.monotonic(), missing=name)
        else:
            self._refresh_if_old()
        known = self._known.get(name)
        if known is None:
            raise UnknownTaskTypeError(name, self._known)
        return known

    def _refresh_if_old(self) -> None:
        now = time.monotonic()
        if now - max(self._read_at, self._refreshed_at) > _MAX_AGE_S:
            self._refreshed_at = now
            self._refresh = asyncio.create_task(self._read_in_background(now), name="catalogue")

    async def _read_in_background(self, asked_at: float) -> None:
        try:
            await self._read_after(asked_at)
        except DatabaseUnavailableError as error:
            log.warning("task_types_not_read", reason=str(error))
        except Exception:
            log.exception("task_types_not_read")

    async def _read_after(self, asked_at: float, *, missing: str | None = None) -> None:
        """Read the announcements, unless somebody began to after `asked_at`, or has found what was `missing`."""
        async with self._lock:
            if self._read_at >= asked_at or missing in self._known:
                return
            await asyncio.sleep(max(0.0, self._read_at + _MIN_PAUSE_S - time.monotonic()))
            began_at = time.monotonic()
            self._known = self._compiled(await self._types.all())
            self._read_at = began_at

    def _compiled(self, types: Mapping[str, TaskTypeInfo]) -> dict[str, KnownType]:
        return {name: self._reused(info) or compile_type(info) for name, info in types.items()}

    def _reused(self, info: TaskTypeInfo) -> KnownType | None:
        known = self._known.get(info.name)
        return known if known is not None and known.info == info else None


def compile_type(info: TaskTypeInfo) -> KnownType:
    """The type with its schema ready for use; one whose schema is of no use takes any payload."""
    try:
        # Offline: a schema must not make us fetch what it refers to. Masked: answers don't repeat payloads.
        schema = jsonschema_rs.validator_for(info.payload_schema, offline=True, mask="the value")
    except ValueError as error:
        # The worker's fault, not the client's: the worker will check the payload once more in any case.
        log.error("payload_schema_unusable", type=info.name, reason=str(error))  # noqa: TRY400
        schema = jsonschema_rs.validator_for(True)
    return KnownType(info, schema)


def _alternatives(schema: Any, path: Sequence[str | int]) -> list[str]:
    """The fields of which exactly one must be there, where `path` leads to `oneOf` of nothing but `required`."""
    for step in path:
        if isinstance(schema, dict):
            schema = schema.get(step)
        else:
            schema = schema[step] if isinstance(schema, list) and isinstance(step, int) else None
    branches = schema if isinstance(schema, list) and path[-1:] == ["oneOf"] else []
    fields = [branch.get("required") for branch in branches if isinstance(branch, dict) and len(branch) == 1]
    names = [field[0] for field in fields if isinstance(field, list) and len(field) == 1]
    return names if len(names) == len(branches) > 1 else []


def _example_beside(schema: Any, path: Sequence[str | int]) -> str | None:
    """The example that a schema gives beside its keyword at `path`: people read it more easily than a pattern."""
    node = schema
    try:
        for step in path[:-1]:
            node = _referred(schema, node[step]) if step == "$ref" else node[step]
        return dumps(node["examples"][0])
    except (LookupError, TypeError, AttributeError, JsonError):
        return None


def _referred(schema: Any, reference: str) -> Any:
    return reduce(getitem, reference.removeprefix("#/").split("/"), schema)


def _faults_of(error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
    """What is missing or too much is named by its own pointer, as in the envelope."""
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield pointer([*error.instance_path, name]), "is required"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield pointer([*error.instance_path, name]), "is not a field that is known here"
        case _:
            yield pointer(error.instance_path), error.message
