"""Which scope each route takes. A route that nobody has listed here falls under the last rule: `operate`."""

import re
from collections.abc import Callable
from typing import Final

from shared.domain.access import ALL_SCOPES, Scope

_READING: Final = frozenset({"GET", "HEAD"})
_POST: Final = frozenset({"POST"})
_DELETE: Final = frozenset({"DELETE"})

_Matches = Callable[[str], object]


def _path(pattern: str) -> _Matches:
    return re.compile(pattern, re.DOTALL).fullmatch


#: Open to everybody: who watches over processes has no key.
_is_health: Final = _path(r"/health(/.*)?")
# The page of Swagger UI and the files it loads hold nothing that is not in the source code, and without them nobody
# could type a key into it. What it shows, /openapi.json, takes a key.
_is_shell: Final = _path(r"/|/docs|/static/.*")

#: (methods, path, the scopes of which one is enough); the first that fits decides. No methods: all.
_RULES: Final[tuple[tuple[frozenset[str], _Matches, frozenset[Scope]], ...]] = (
    (frozenset(), _path(r"/(keys|audit|diagnostics)(/.*)?"), frozenset({Scope.OPERATE})),
    (_READING, _path(r".*"), frozenset({Scope.READ})),
    (_POST, _path(r"/tasks(/batch)?|/artifacts|/reports/.*"), frozenset({Scope.SUBMIT})),
    # Whoever sends tasks may take them back and send them again; so may whoever operates.
    (_DELETE, _path(r"/tasks/[^/]+"), frozenset({Scope.SUBMIT, Scope.OPERATE})),
    (_POST, _path(r"/tasks/[^/]+/retry"), frozenset({Scope.SUBMIT, Scope.OPERATE})),
    (frozenset(), _path(r".*"), frozenset({Scope.OPERATE})),
)


def is_public(method: str, path: str) -> bool:
    """Whether a request needs no key, even where keys are on."""
    return bool(_is_health(path) or (method in _READING and _is_shell(path)))


def scopes_for(method: str, path: str) -> frozenset[Scope]:
    """The scopes of which a key must have one."""
    for methods, matches, scopes in _RULES:
        if (not methods or method in methods) and matches(path):
            return scopes
    return ALL_SCOPES
