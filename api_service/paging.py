"""Lists in pages: `{"items": [...], "next": cursor | null}`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from shared.accepting.moments import Moment, parse_moment
from shared.domain.task_type import QUEUE_PATTERN
from shared.errors import InvalidInputError

T = TypeVar("T")

_DEFAULT_LIMIT: Final = 50
_MAX_LIMIT: Final = 1000

#: What a filter may hold: PostgreSQL takes any character but NUL.
Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
QueueName = Annotated[str, Field(pattern=QUEUE_PATTERN)]

# In a query string an unescaped plus sign arrives as a space.
QueryMoment = Annotated[Moment, BeforeValidator(lambda text: str(text).replace(" ", "+"))]


class Page(BaseModel, Generic[T]):
    """A page of a list. `next` is the cursor of the page after it; null at the end."""

    items: list[T]
    next: str | None = None


class ListQuery(BaseModel):
    """What every list takes. A parameter that is empty counts as not given."""

    model_config = ConfigDict(allow_inf_nan=False)

    limit: int = Field(_DEFAULT_LIMIT, ge=1, le=_MAX_LIMIT)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given


def cursor_of(moment: datetime, id_: UUID) -> str:
    """A place in a list that is sorted by time and then by id, as a client hands it back."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}~{id_}"


def place_of(cursor: str) -> tuple[datetime, UUID]:
    """The place that a cursor of `cursor_of` stands for.

    Raises:
        InvalidInputError: It was not given out by us.
    """
    moment, _, id_ = cursor.partition("~")
    try:
        return parse_moment(moment), UUID(id_)
    except ValueError as error:
        raise InvalidInputError([("?cursor", "is not a cursor that was given out here")]) from error
