"""What a client may write around a payload, and what is wrong with what it wrote.

The models describe the fields for Swagger UI too. Nothing is converted on the way: "1" is no number, true is none
either, and a field nobody knows is a fault rather than ignored.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from shared.accepting.moments import Moment
from shared.accepting.strict import Strict, read_strict
from shared.domain.callback import MAX_URL_CHARS, callback_url_fault
from shared.domain.task_type import QUEUE_PATTERN
from shared.errors import InvalidInputError

#: Tasks of one POST /tasks/batch.
MAX_BATCH: Final = 10_000

_YEAR_S: Final = 366 * 86400.0
_WEEK_S: Final = 7 * 86400.0


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("unprintable", "has a character that can't be printed")
    return text


def _distinct(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("repeated", "names a tag twice")
    return tags


def _unique_options(value: object) -> object:
    if value is True:
        return {}
    if value is None or (isinstance(value, dict) and len(value) <= 2):
        return value
    raise PydanticCustomError("unique", "must be true, or an object with 'key', 'for' or both")


def _within_ten_years(moment: datetime) -> datetime:
    if moment - datetime.now(UTC) > timedelta(seconds=10 * _YEAR_S):
        raise PydanticCustomError("far", "lies more than ten years ahead")
    return moment


def _callable(url: str, info: ValidationInfo) -> str:
    if fault := callback_url_fault(url, private_allowed=bool(info.context and info.context["private_callbacks"])):
        raise PydanticCustomError("callback_url", "{fault}", {"fault": fault})
    return url


Tag = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]


class Unique(Strict):
    """At most one open task with this key; without a key, with this type and payload."""

    key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    for_s: Annotated[float, Field(gt=0, le=_WEEK_S)] | None = Field(
        None, alias="for", description="Seconds after its creation for which the key stays taken in any case"
    )


class TaskSubmission(Strict):
    """A task to run."""

    type: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="A type that a worker has announced"
    )
    payload: Any = Field(default_factory=dict, description="Any JSON value that the type's schema accepts")
    queue: Annotated[str, Field(pattern=QUEUE_PATTERN)] | None = Field(None, description="Default: the type's own")
    priority: Literal["normal", "high"] = "normal"
    delay: Annotated[float, Field(ge=0, le=10 * _YEAR_S)] | None = Field(
        None, description="Seconds until it may start; not together with `run_at`"
    )
    run_at: Annotated[Moment, AfterValidator(_within_ten_years)] | None = Field(
        None, description="When it may start; not together with `delay`"
    )
    expires_in: Annotated[float, Field(gt=0, le=10 * _YEAR_S)] | None = Field(
        None, description="Seconds within which it must have started, else it expires"
    )
    timeout: Annotated[float, Field(gt=0, le=_WEEK_S)] | None = Field(
        None, description="Seconds that one attempt may run. Default: the type's own"
    )
    soft_timeout: Annotated[float, Field(gt=0, le=_WEEK_S)] | None = Field(
        None, description="Seconds after which the handler is told to come to an end; less than `timeout`"
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Attempts in total. Default: the type's own"
    )
    unique: Annotated[
        Unique | None, BeforeValidator(_unique_options, json_schema_input_type=Unique | Literal[True] | None)
    ] = Field(None, description="Answer with the open task of the same key, or else of the same type and payload")
    tags: Annotated[list[Tag], Field(max_length=16), AfterValidator(_distinct)] = Field(default_factory=list)
    callback_url: Annotated[str, Field(max_length=MAX_URL_CHARS), AfterValidator(_callable)] | None = Field(
        None, description="http(s) URL that is told, with a signed POST, once the status is final"
    )


class BatchSubmission(Strict):
    """Tasks that are accepted together or not at all."""

    tasks: Annotated[list[TaskSubmission], Field(max_length=MAX_BATCH)]


def read_submission(body: Any, at: str = "", *, private_callbacks: bool = False) -> TaskSubmission:
    """The submission that a JSON value stands for.

    Args:
        body: The value.
        at: The pointer to it in the request's body.
        private_callbacks: Whether a callback_url may name an address of our own network.

    Raises:
        InvalidInputError: It is none; at most MAX_FAULTS faults are named.
    """
    return read_strict(TaskSubmission, body, at, context={"private_callbacks": private_callbacks})


def read_batch(body: Any) -> list[Any]:
    """The values in the `tasks` of a batch, each still to be read.

    Raises:
        InvalidInputError: It is no batch.
    """
    if not isinstance(body, dict) or body.keys() != {"tasks"} or not isinstance(body["tasks"], list):
        raise InvalidInputError([("", "must be a JSON object with the one field 'tasks', a list")])
    tasks: list[Any] = body["tasks"]
    if len(tasks) > MAX_BATCH:
        raise InvalidInputError([("/tasks", f"has {len(tasks)} tasks, {MAX_BATCH} are allowed")])
    return tasks
