"""Reading what a client wrote into a model: nothing is converted, nothing ignored, and each fault has its place."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.accepting.faults import MAX_FAULTS, Fault, pointer
from shared.errors import InvalidInputError

_MESSAGES: Final = {"missing": "is required", "extra_forbidden": "is not a field that is known here"}


class Strict(BaseModel):
    """Base of all that clients write."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Strict)


def read_strict(model: type[S], body: Any, at: str = "", *, context: Mapping[str, Any] | None = None) -> S:
    """The `model` that a JSON value stands for.

    Args:
        model: The fields.
        body: The value.
        at: The pointer to it in the request's body.
        context: What validators look at besides.

    Raises:
        InvalidInputError: It is none; at most MAX_FAULTS faults are named.
    """
    if not isinstance(body, dict):
        raise InvalidInputError([(at, "must be a JSON object")])
    # Pydantic would make a fault of each: a megabyte of unknown fields must not cost a second.
    if len(body) > len(fields := _fields(model)):
        unknown = [key for key in body if key not in fields]
        raise InvalidInputError([(at + pointer([key]), _MESSAGES["extra_forbidden"]) for key in unknown[:MAX_FAULTS]])
    try:
        return model.model_validate(body, context=context)
    except ValidationError as error:
        raise InvalidInputError(list(_faults_of(error, at))) from error


@cache
def _fields(model: type[Strict]) -> frozenset[str]:
    return frozenset(model.model_fields)


def _faults_of(error: ValidationError, at: str) -> Iterator[Fault]:
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        yield at + pointer(fault["loc"]), _MESSAGES.get(fault["type"], fault["msg"])
