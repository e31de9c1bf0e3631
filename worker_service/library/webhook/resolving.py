"""From the host of a URL to addresses that may be called."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Final

from shared.domain.addresses import why_refused

#: Gives the addresses of a host; OSError where it has none.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Addresses of a host that are tried, one after the other.
_MAX_ADDRESSES: Final = 4
#: Names that are asked for at once.
_THREADS: Final = 8


class RefusedAddressError(Exception):
    """A host stands for an address that no stranger may make us call."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which the system would try them.

    Raises:
        OSError: It has none, or the name servers don't answer.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_threads(), ask)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # Threads of its own: the event loop has four for all names, and a client's name that nobody answers for must
    # not keep the worker from finding PostgreSQL.
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="webhook-names")


async def callable_addresses(host: str, port: int, *, private_allowed: bool, resolve: Resolve) -> list[str]:
    """The addresses to call, and no others: a second look at the name might find different ones.

    A host that stands for one refused address beside good ones is refused as a whole.

    Raises:
        RefusedAddressError: One of them may not be called.
        OSError: There are none.
    """
    addresses = await resolve(host, port)
    if not private_allowed:
        for address in addresses:
            if kind := why_refused(address):
                raise RefusedAddressError(
                    f"{host} stands for an address that is {kind}; only WEBHOOK_ALLOW_PRIVATE=on allows that"
                )
    return addresses[:_MAX_ADDRESSES]
