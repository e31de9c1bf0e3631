"""API keys: what they are called, what they look like, and what they allow. Pure but for the making of a new one."""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: Names of keys. No `@`, so that none looks like a caller without a key (`anonymous@…`).
KEY_NAME_PATTERN: Final = r"^[A-Za-z0-9._-]{1,64}$"
#: What the keys that we make begin with, so that tools which search for lost secrets can tell them.
_PREFIX: Final = "tm_"
_RANDOM_BYTES: Final = 32
#: Characters of a key that somebody else has made.
_MIN_CHARS: Final = 16
_MAX_CHARS: Final = 512
# A key travels in a header and stands in a list: printable ASCII without blanks, commas and colons.
_KEY: Final = re.compile(rf"[!-+\--9;-~]{{{_MIN_CHARS},{_MAX_CHARS}}}")


class Scope(StrEnum):
    """What a key allows. None includes another: an administrator's key has all three."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A live key. The key itself is kept nowhere, only its digest.

    Attributes:
        requests_per_minute: None where the key has no limit of its own.
    """

    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope]
    requests_per_minute: float | None = None


def digest_of(key: bytes) -> bytes:
    """What is stored and compared instead of a key.

    A plain SHA-256: our keys hold 256 random bits, which no slow hash would make harder to guess.
    """
    return hashlib.sha256(key).digest()


def new_key() -> str:
    """A fresh key."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys in a comma-separated list of `KEY`, `name:KEY` or `name:scope+scope:KEY`.

    A key without scopes has all of them; one without a name is called `key-1` by its place in the list.

    Raises:
        ValueError: It can't be read; the message names the place and repeats nothing, since all may be secret.
    """
    entries = [part.strip() for part in text.split(",")]
    keys = [_parse_key(entry, place) for place, entry in enumerate(entries, start=1) if entry]
    _require_distinct([key.name for key in keys], "two keys have the same name")
    _require_distinct([key.digest for key in keys], "two entries hold the same key")
    return tuple(keys)


def _parse_key(entry: str, place: int) -> ApiKey:
    match entry.split(":"):
        case [key]:
            name, scopes = f"key-{place}", ALL_SCOPES
        case [name, key]:
            scopes = ALL_SCOPES
        case [name, listed, key]:
            scopes = _parse_scopes(listed, place)
        case _:
            raise ValueError(f"entry {place} has more than two colons; write name:scope+scope:KEY")
    if not re.fullmatch(KEY_NAME_PATTERN, name):
        raise ValueError(f"the name in entry {place} must be 1 to 64 of a-z A-Z 0-9 . _ -")
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"the key in entry {place} must be {_MIN_CHARS} to {_MAX_CHARS} printable ASCII characters without blanks"
        )
    return ApiKey(name, digest_of(key.encode()), scopes)


def _parse_scopes(listed: str, place: int) -> frozenset[Scope]:
    try:
        return frozenset(Scope(word) for word in listed.split("+"))
    except ValueError:
        raise ValueError(f"the scopes in entry {place} must be some of {'+'.join(Scope)}") from None


def _require_distinct(values: Sequence[str] | Sequence[bytes], otherwise: str) -> None:
    if len(set(values)) < len(values):
        raise ValueError(otherwise)


def scopes_of(words: Collection[str]) -> frozenset[Scope]:
    """The scopes among `words`; one that a newer version has given out means nothing here."""
    return frozenset(scope for scope in Scope if scope in words)
