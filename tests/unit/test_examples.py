"""Example payloads that are made from schemas."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, MaxLen
from pydantic import BaseModel, Field, TypeAdapter

from worker_service.examples import example_of


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    sku: str
    pieces: int = Field(ge=5)
    note: str | None = None


class Order(BaseModel):
    order_id: int
    lines: list[Line]
    first: Line
    colour: Colour
    kind: Literal["a"]
    rush: bool
    share: float = Field(gt=0)
    label: str = "x"


class Tree(BaseModel):
    children: "list[Tree]"


class Endless(BaseModel):
    inner: "Endless"


@pytest.mark.parametrize(
    "annotation",
    [
        int, str, float, bool, None, list[int], dict[str, int], Any, Colour, Literal["b"], Order, Line, Tree,
        Annotated[int, Ge(5)], Annotated[int, Gt(0)], Annotated[float, Gt(0)], Annotated[str, MaxLen(4)],
        int | str, Line | None, tuple[int, ...], Annotated[str, Field(examples=["abc"])],
        Annotated[datetime, Field(examples=["2026-01-01T00:00:00Z"])],
    ],
    ids=str,
)  # fmt: skip
def test_the_example_of_a_schema_is_accepted_by_it(annotation: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    adapter.validate_python(example_of(adapter.json_schema()))


def test_only_what_is_required_is_shown() -> None:
    assert example_of(TypeAdapter(Line).json_schema()) == {"sku": "text", "pieces": 6}


def test_a_schema_that_accepts_anything_has_an_empty_object_as_its_example() -> None:
    assert example_of({}) == {}


def test_a_type_that_holds_itself_has_an_end() -> None:
    example = example_of(TypeAdapter(Endless).json_schema())

    assert isinstance(example, dict)
