"""Signatures of webhooks, as Standard Webhooks 1.0 describes them (https://www.standardwebhooks.com). Pure.

The content that is signed is `id.timestamp.body`; the key is what stands behind `whsec_`, decoded. Several keys give
several signatures, so that a receiver may go over to a new secret while the old one is still good.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
#: Bytes of a key, as the specification asks for them.
_KEY_BYTES: Final = range(24, 65)
#: Seconds that the clocks of sender and receiver may differ, the way of the request included.
TOLERANCE_S: Final = 300


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """The keys of `whsec_…` secrets, separated by blanks or commas; none for an empty text.

    Raises:
        ValueError: One of them is no secret. The message says which, and never what it is.
    """
    secrets = [secret for secret in re.split(r"[\s,]+", text) if secret]
    return tuple(_key(secret, number) for number, secret in enumerate(secrets, start=1))


def secret_from(key: bytes) -> str:
    """The secret of a key, as it is handed to receivers."""
    return _PREFIX + base64.b64encode(key).decode()


def sign(keys: Sequence[bytes], *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`.

    Args:
        keys: One signature is made with each, in this order.
        webhook_id: The same for every attempt of a delivery.
        timestamp: When this attempt is made, in seconds since 1970.
        body: Exactly what is sent.
    """
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return " ".join(f"{_VERSION},{base64.b64encode(_digest(key, content)).decode()}" for key in keys)


def is_signed(
    keys: Sequence[bytes], *, webhook_id: str, timestamp: str, body: bytes, header: str, now: float
) -> bool:
    """Whether one of the signatures in `header` was made with one of the keys, and not long ago.

    Args:
        keys: The receiver's.
        webhook_id: The header `webhook-id`.
        timestamp: The header `webhook-timestamp`.
        body: What came, before anything was parsed.
        header: The header `webhook-signature`.
        now: The receiver's clock, in seconds since 1970.
    """
    if not re.fullmatch(r"[0-9]{1,15}", timestamp) or abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    expected = sign(keys, webhook_id=webhook_id, timestamp=int(timestamp), body=body).split(" ") if keys else []
    given = header.split(" ")
    # Each is compared in full, so that the time it takes says nothing.
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in given]
    return any(matches)


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def _key(secret: str, number: int) -> bytes:
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if encoded == secret or len(key) not in _KEY_BYTES:
        least, most = _KEY_BYTES.start, _KEY_BYTES.stop - 1
        raise ValueError(f"secret {number} must be '{_PREFIX}' and the base64 of {least} to {most} random bytes")
    return key
