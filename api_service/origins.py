"""Telling the user's own browser window from a foreign web page, where no key does.

Any page that a person opens may send requests to 127.0.0.1 from their browser: it can't read the answers, but it
could submit tasks, and WebSockets know no same-origin rule at all. Browsers name the page's origin in each such
request. A page may also give its own name the address 127.0.0.1 (DNS rebinding) and be of the same origin: then the
name in `Host` is a foreign one.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_SCHEMES: Final = ("http://", "https://")


def is_foreign_origin(headers: Mapping[str, str]) -> bool:
    """Whether a web page of another site sent the request. The name that a proxy was asked for counts as ours."""
    origin = headers.get("origin")
    if origin is None:
        return False
    scheme, _, authority = origin.partition("://")
    own = {headers.get("host"), headers.get("x-forwarded-host")}
    return f"{scheme}://" not in _SCHEMES or authority not in own


def is_foreign_host(headers: Mapping[str, str]) -> bool:
    """Whether the request names another machine than this one."""
    host = headers.get("host", "localhost")
    return not is_loopback(_name_of(host))


@lru_cache(maxsize=16)  # it is the same one nearly always
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name_of(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    name = authority.rpartition(":")[0] or authority if authority.count(":") == 1 else authority
    return name.lower().removesuffix(".")
