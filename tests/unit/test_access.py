"""API keys as they stand in API_KEYS, and as they are made."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access import (
    ALL_SCOPES,
    KEY_NAME_PATTERN,
    ApiKey,
    Scope,
    digest_of,
    new_key,
    parse_keys,
    scopes_of,
)

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"


def test_a_key_alone_has_all_scopes_and_is_called_by_its_place() -> None:
    assert parse_keys(f"{KEY}, {OTHER}") == (
        ApiKey("key-1", digest_of(KEY.encode()), ALL_SCOPES),
        ApiKey("key-2", digest_of(OTHER.encode()), ALL_SCOPES),
    )


def test_a_key_may_have_a_name_and_scopes() -> None:
    keys = parse_keys(f"shop:{KEY},watch:read+submit:{OTHER}")

    assert [(key.name, key.scopes) for key in keys] == [
        ("shop", ALL_SCOPES),
        ("watch", frozenset({Scope.READ, Scope.SUBMIT})),
    ]


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_no_keys_are_no_keys(text: str) -> None:
    assert parse_keys(text) == ()


@pytest.mark.parametrize(
    "text, fault",
    [
        ("short", "the key in entry 1 must be 16 to 512"),
        (KEY[:-1], "the key in entry 1"),
        ("x" * 513, "the key in entry 1"),
        (f"{KEY},a:", "the key in entry 2"),
        (f"a b:{KEY}", "the name in entry 1"),
        (f":{KEY}", "the name in entry 1"),
        (f"a:write:{KEY}", "the scopes in entry 1 must be some of submit+read+operate"),
        (f"a::{KEY}", "the scopes in entry 1"),
        (f"a:read:{KEY}:more", "entry 1 has more than two colons"),
        (f"a:{KEY},a:{OTHER}", "two keys have the same name"),
        (f"a:{KEY},b:{KEY}", "two entries hold the same key"),
        (f"{KEY} {OTHER}", "the key in entry 1"),
        ("ß" * 20, "the key in entry 1"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_keys(text)


@given(
    text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.text(alphabet="abcdef0123:,+ ", max_size=60)
)
def test_a_message_repeats_nothing_of_what_may_be_secret(text: str) -> None:
    try:
        keys = parse_keys(text)
    except ValueError as error:
        repeated = {part for part in re.split(r"[,:]", text) if len(part) >= 8 and part in str(error)}
        assert not repeated
    else:
        assert all(re.fullmatch(KEY_NAME_PATTERN, key.name) and key.scopes for key in keys)


def test_a_key_is_printed_without_its_digest() -> None:
    [key] = parse_keys(KEY)

    assert repr(key.digest) not in repr(key)


def test_a_new_key_is_long_and_random_and_can_be_told_from_other_secrets() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(re.fullmatch(r"tm_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert len(parse_keys(",".join(keys))) == 100


def test_a_scope_of_a_later_version_allows_nothing_here() -> None:
    assert scopes_of(["read", "rule-the-world"]) == {Scope.READ}
