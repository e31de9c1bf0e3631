"""What travels over the broker."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.message import Due, decode, encode
from shared.errors import MalformedMessageError

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
ENTRY = [str(ID), 1]

dues = st.builds(Due, st.uuids(), st.integers(1, 2**31 - 1))


@given(st.lists(dues, min_size=1, max_size=5))
def test_a_bundle_arrives_as_it_was_sent(bundle: list[Due]) -> None:
    assert decode(encode(bundle)) == bundle


def test_a_message_holds_ids_and_attempts_and_nothing_else() -> None:
    assert json.loads(encode([Due(ID, 3)])) == {"v": 1, "due": [[str(ID), 3]]}


def test_copies_in_a_bundle_are_kept_for_the_claim_to_decide() -> None:
    due = Due(uuid4(), 1)

    assert decode(encode([due, due])) == [due, due]


@pytest.mark.parametrize(
    "document",
    [
        None,
        7,
        "text",
        [],
        {},
        {"v": 1},
        {"v": 2, "due": [ENTRY]},
        {"v": True, "due": None},
        {"v": 1, "due": []},
        {"v": 1, "due": {}},
        {"v": 1, "due": "ab"},
        {"v": 1, "due": [[]]},
        {"v": 1, "due": [None]},
        {"v": 1, "due": [[str(ID)]]},
        {"v": 1, "due": [[*ENTRY, 3]]},
        {"v": 1, "due": [["no-uuid", 1]]},
        {"v": 1, "due": [[7, 1]]},
        {"v": 1, "due": [[None, 1]]},
        {"v": 1, "due": [[["nested"], 1]]},
        {"v": 1, "due": [[str(ID), 0]]},
        {"v": 1, "due": [[str(ID), -1]]},
        {"v": 1, "due": [[str(ID), True]]},
        {"v": 1, "due": [[str(ID), 1.0]]},
        {"v": 1, "due": [[str(ID), "1"]]},
        {"v": 1, "due": [[str(ID), None]]},
        {"v": 1, "due": [ENTRY, "x"]},
    ],
    ids=repr,
)
def test_what_we_did_not_write_is_malformed(document: Any) -> None:
    with pytest.raises(MalformedMessageError):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize("attempt", [2**31, 10**30])
def test_an_attempt_that_no_column_holds_is_malformed(attempt: int) -> None:
    """It would make the claim fail, and with it that of every other message."""
    with pytest.raises(MalformedMessageError):
        decode(json.dumps({"v": 1, "due": [[str(ID), attempt]]}).encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"\xff\xfe", b"\xff\xfe\x00", b"{", b'"\xed\xa0\x80"', b"[" * 100_000, b"9" * 5000, b"NaN"],
    ids=lambda body: repr(body[:8]),
)
def test_bytes_that_are_no_json_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode(body)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode(body)
