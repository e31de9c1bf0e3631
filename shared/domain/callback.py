"""Callbacks: the task that tells somebody that another one is final, and the addresses it may be sent to. Pure."""

import re
from typing import Final
from urllib.parse import urlsplit

from shared.domain.addresses import why_refused
from shared.domain.retry import RetryPolicy

#: The type of the task that delivers a callback. SQL makes these tasks, and a worker runs them: both read this.
DELIVER_TYPE: Final = "webhooks.deliver"
#: With the policy below they spread over about 14 hours.
DELIVER_MAX_ATTEMPTS: Final = 14
DELIVER_TIMEOUT_S: Final = 60.0
DELIVER_RETRY: Final = RetryPolicy(first_delay_s=10, max_delay_s=4 * 3600.0, jitter=0.2)

#: Characters of a callback_url.
MAX_URL_CHARS: Final = 2000

# Printable ASCII, so that no two programs read it in two ways; quotes, backslashes and the like are to be escaped.
_URL: Final = re.compile(r"https?://[^\s\\\"<>^`{|}]+", re.ASCII | re.IGNORECASE)
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.ASCII)
# What C libraries take for an IPv4 address: 127.1, 0x7f000001, 2130706433.
_LAST_LABEL_OF_A_NUMBER: Final = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)", re.ASCII)


def callback_url_fault(url: str, *, private_allowed: bool) -> str | None:
    """What is wrong with a callback_url; None if nothing is.

    What its name will stand for when it is called is nobody's to know now: the delivery looks again.

    Args:
        url: What a client wrote.
        private_allowed: Whether it may lead into our own network.
    """
    if len(url) > MAX_URL_CHARS:
        return f"has {len(url)} characters, {MAX_URL_CHARS} are allowed"
    if not url.isascii() or not url.isprintable() or not _URL.fullmatch(url):
        return "must be an http:// or https:// URL in ASCII, without blanks: percent-encode what is not"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "must have a host, and a port from 1 to 65535 if any"
    if "@" in parts.netloc:
        return "must not hold a user or password: the signature tells the receiver who sends it"
    if not host or port == 0 or parts.netloc.endswith(":"):
        return "must have a host, and a port from 1 to 65535 if any"
    return _host_fault(host, is_bracketed="[" in parts.netloc, private_allowed=private_allowed)


def _host_fault(host: str, *, is_bracketed: bool, private_allowed: bool) -> str | None:
    name = host.removesuffix(".")
    if is_bracketed or _LAST_LABEL_OF_A_NUMBER.fullmatch(name):
        try:
            kind = why_refused(name)
        except ValueError:
            return "has a host that is neither a name nor an IP address"
    elif not _NAME.fullmatch(name):
        return "has a host that is neither a name nor an IP address; write an international one as xn--…"
    else:
        kind = "loopback" if name == "localhost" or name.endswith(".localhost") else None
    if kind is None or private_allowed:
        return None
    return f"leads to an address that is {kind}; only WEBHOOK_ALLOW_PRIVATE=on allows that"
