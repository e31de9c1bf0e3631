"""Signatures of webhooks, held against the example that all libraries for Standard Webhooks are tested with."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.signing import TOLERANCE_S, is_signed, parse_secrets, secret_from, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = secret_from(bytes(range(32)))


def verified(**changes: object) -> bool:
    facts: dict[str, object] = {
        "keys": parse_secrets(SECRET),
        "webhook_id": ID,
        "timestamp": str(TIMESTAMP),
        "body": BODY,
        "header": SIGNATURE,
        "now": float(TIMESTAMP),
    }
    return is_signed(**{**facts, **changes})  # type: ignore[arg-type]


def test_the_published_example_is_signed_as_published() -> None:
    assert sign(parse_secrets(SECRET), webhook_id=ID, timestamp=TIMESTAMP, body=BODY) == SIGNATURE


def test_the_published_example_is_verified() -> None:
    assert verified()


@pytest.mark.parametrize(
    "changes",
    [
        {"body": BODY + b" "},
        {"webhook_id": "msg_other"},
        {"timestamp": str(TIMESTAMP + 1)},
        {"timestamp": "soon"},
        {"timestamp": "-1614265330"},
        {"timestamp": "9" * 400},
        {"keys": parse_secrets(OTHER)},
        {"keys": ()},
        {"header": ""},
        {"header": SIGNATURE.removeprefix("v1,")},
        {"header": SIGNATURE.replace("v1", "v2")},
        {"header": "v1,é"},
        {"now": TIMESTAMP + TOLERANCE_S + 1.0},
        {"now": TIMESTAMP - TOLERANCE_S - 1.0},
    ],
    ids=str,
)
def test_what_is_not_exactly_so_is_not_verified(changes: dict[str, object]) -> None:
    assert not verified(**changes)


def test_one_good_signature_among_others_is_enough() -> None:
    assert verified(header=f"v1a,xyz v1,bm9uZQ== {SIGNATURE}")


def test_while_secrets_change_receivers_of_the_old_and_of_the_new_one_are_served() -> None:
    header = sign(parse_secrets(f"{OTHER}, {SECRET}"), webhook_id=ID, timestamp=TIMESTAMP, body=BODY)

    assert len(header.split(" ")) == 2
    assert verified(header=header)
    assert verified(header=header, keys=parse_secrets(OTHER))


@given(st.binary(min_size=24, max_size=64))
def test_a_key_survives_its_way_through_a_secret(key: bytes) -> None:
    assert parse_secrets(secret_from(key)) == (key,)


def test_no_secret_is_no_key() -> None:
    assert parse_secrets("  ") == ()


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_!!!!",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_é",
    ],
)
def test_what_is_no_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="secret 2 must be 'whsec_'") as caught:
        parse_secrets(f"{SECRET} {secret}")

    assert secret not in str(caught.value) or secret == "whsec_"
