"""The JSON Schema of a type's payloads, and what it finds wrong with one, in words for people."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import getitem
from typing import Any, Final

import jsonschema_rs
import structlog

from shared.accepting.faults import pointer
from shared.domain.task_type import TaskTypeInfo
from shared.errors import JsonError
from shared.jsontext import dumps

log = structlog.get_logger(__name__)

# To name every fault takes a while for each of them. In a payload longer than this, the first one must do.
_MAX_LENGTH_FOR_ALL_FAULTS: Final = 16 * 1024


class PayloadSchema:
    """The compiled schema of a type; one that is of no use takes any payload."""

    def __init__(self, info: TaskTypeInfo) -> None:
        self._schema = info.payload_schema
        try:
            # Offline: a schema must not make us fetch what it refers to. Masked: answers don't repeat payloads.
            self._validator = jsonschema_rs.validator_for(info.payload_schema, offline=True, mask="the value")
        except ValueError as error:
            # The worker's fault, not the client's: the worker will check the payload once more in any case.
            log.error("payload_schema_unusable", type=info.name, reason=str(error))  # noqa: TRY400
            self._validator = jsonschema_rs.validator_for(True)

    def accepts(self, payload: Any) -> bool:
        """Whether a JSON value fits."""
        return self._validator.is_valid(payload)

    def faults(self, payload: Any, length: int) -> Iterator[tuple[str, str]]:
        """What is wrong with a payload that it does not accept, by pointers into it.

        Args:
            payload: A JSON value.
            length: The length of its text.
        """
        if length <= _MAX_LENGTH_FOR_ALL_FAULTS:
            for error in self._validator.iter_errors(payload):
                yield from self._faults_of(error)
            return
        try:
            self._validator.validate(payload)
        except jsonschema_rs.ValidationError as error:
            yield from self._faults_of(error)

    def _faults_of(self, error: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
        # To a value that is no object the rule does not apply, which the validator takes for all branches accepting.
        is_object = isinstance(error.instance, dict)
        names = _alternatives(self._schema, error.schema_path) if is_object else []
        match error.kind:
            case jsonschema_rs.ValidationErrorKind.OneOfNotValid() if names:
                others = " or ".join(f"'{name}'" for name in names[1:])
                yield pointer([*error.instance_path, names[0]]), f"is required, or {others} in its place"
            case jsonschema_rs.ValidationErrorKind.OneOfMultipleValid() if names:
                listed = " and ".join(f"'{name}'" for name in names)
                yield pointer([*error.instance_path, names[-1]]), f"only one of {listed} can be given"
            case jsonschema_rs.ValidationErrorKind.Pattern() if example := _example_beside(
                self._schema, error.schema_path
            ):
                yield pointer(error.instance_path), f"must look like {example}"
            case _:
                yield from _faults_of(error)


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
