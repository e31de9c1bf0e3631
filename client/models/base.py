"""What all answers have in common."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Answer(BaseModel):
    """Base of all answers: frozen, tolerant of fields that it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def document(self) -> Any:
        """The same as the JSON value that the server sent, with what it left out filled in."""
        return self.model_dump(mode="json")


class Page(Answer, Generic[T]):
    """A page of a list, and the cursor of the one after it."""

    items: list[T]
    next: str | None = None
