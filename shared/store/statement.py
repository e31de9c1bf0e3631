"""SQL with names for its parameters; PostgreSQL itself only knows numbers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.domain.status import TaskStatus

#: `:name`, but neither the cast `::type` nor the end of a word.
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]\w*)")


class Statement:
    """A statement as PostgreSQL takes it. Make it once, at the top of a module.

    Attributes:
        sql: With `$1`, `$2` … in place of the names.
        names: The names in the order of their numbers.
    """

    __slots__ = ("names", "sql")

    def __init__(self, sql: str) -> None:
        self.names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
        numbers = {name: f"${number}" for number, name in enumerate(self.names, 1)}
        self.sql = _PARAMETER.sub(lambda found: numbers[found[1]], sql)

    def __repr__(self) -> str:
        return f"<Statement {' '.join(self.sql.split())[:60]}>"

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the numbers; one that the statement does not name is left out."""
        return [parameters[name] for name in self.names]


def text(sql: str) -> Statement:
    """A statement from SQL with parameters like `:name`. Their types are what PostgreSQL finds they must be."""
    return Statement(sql)


def sql_list(statuses: frozenset[TaskStatus]) -> str:
    """The statuses as SQL literals, for `IN (…)`: partial indexes only serve literals."""
    return ", ".join(sorted(f"'{status}'" for status in statuses))
