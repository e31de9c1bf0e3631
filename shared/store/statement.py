"""SQL with names for its parameters; PostgreSQL itself only knows numbers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.domain.status import TaskStatus

#: `:name`, and what is to be left alone: strings, quoted names, comments, casts. Source: PostgreSQL manual, 4.1.
_TOKEN: Final = re.compile(
    r"""' (?: [^'] | '' )* ' | " [^"]* " | --[^\n]* | /\* .*? \*/ | :: | :(?P<name> [a-z_]\w* )""",
    re.VERBOSE | re.DOTALL,
)


class Statement:
    """A statement as PostgreSQL takes it. Make it once, at the top of a module.

    Attributes:
        sql: With `$1`, `$2` … in place of the names.
        names: The names in the order of their numbers.
    """

    __slots__ = ("names", "sql")

    def __init__(self, sql: str) -> None:
        numbers: dict[str, int] = {}

        def numbered(token: re.Match[str]) -> str:
            name = token["name"]
            return token[0] if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

        self.sql = _TOKEN.sub(numbered, sql)
        self.names = tuple(numbers)

    def __repr__(self) -> str:
        return f"<Statement {' '.join(self.sql.split())[:60]}>"

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the numbers.

        Raises:
            TypeError: A value is missing, or one is given that the statement does not name.
        """
        if parameters.keys() != set(self.names):
            wrong = ", ".join(sorted(parameters.keys() ^ set(self.names)))
            raise TypeError(f"{self!r} and its values do not agree on {wrong}")
        return [parameters[name] for name in self.names]


def text(sql: str) -> Statement:
    """A statement from SQL with parameters like `:name`. Their types are what PostgreSQL finds they must be."""
    return Statement(sql)


def sql_list(statuses: frozenset[TaskStatus]) -> str:
    """The statuses as SQL literals, for `IN (…)`: partial indexes only serve literals."""
    return ", ".join(sorted(f"'{status}'" for status in statuses))
