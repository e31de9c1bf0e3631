"""One POST to an address that was checked, and as little of the answer as is needed."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import httpx

from worker_service.library.webhook.resolving import Resolve, callable_addresses, resolve

#: Seconds for everything: a receiver that sends a byte now and then has no more time than others.
_TOTAL_S: Final = 30.0
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 20.0
#: What is read of a body before the connection is closed, and how long, so that the receiver may finish it.
_BODY_BYTES: Final = 16 * 1024
_BODY_S: Final = 1.0


class NoAnswerError(Exception):
    """The receiver could not be reached, or did not answer as HTTP has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said. `retry_after` is its header, as it came."""

    status: int
    retry_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends requests where a client of Taskmill wants them.

    Attributes:
        private_allowed: Whether they may go to our own network.
        resolve: Finds the addresses of a host.
        tls: How certificates are checked; None for those that everybody trusts (and SSL_CERT_FILE).
        total_s: Seconds for everything.
    """

    private_allowed: bool
    resolve: Resolve = resolve
    tls: ssl.SSLContext | None = None
    total_s: float = _TOTAL_S

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a POST. Redirects are answers like others; proxies of the environment are not asked.

        Raises:
            RefusedAddressError: The host stands for an address that may not be called.
            NoAnswerError: There was no answer; the request may have arrived.
        """
        try:
            async with asyncio.timeout(self.total_s):
                return await self._post(url, body, headers)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self.total_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NoAnswerError(f"no answer: {type(error).__name__}: {error}") from error

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        limits = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
        transport = httpx.AsyncHTTPTransport(verify=self.tls or _everybodys_trust(), trust_env=False)
        async with httpx.AsyncClient(transport=transport, timeout=limits, trust_env=False) as client:
            request = client.build_request("POST", url, content=body, headers=headers)
            host = request.url.raw_host.decode()
            port = request.url.port or (443 if request.url.scheme == "https" else 80)
            addresses = await callable_addresses(
                host, port, private_allowed=self.private_allowed, resolve=self.resolve
            )
            # The connection goes to the address that was checked, whatever the name stands for by now. The `Host`
            # header is set already, and the certificate is checked against the name.
            request.extensions["sni_hostname"] = host
            for address in addresses[:-1]:
                with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                    return await self._ask(client, request, address)
            return await self._ask(client, request, addresses[-1])

    @staticmethod
    async def _ask(client: httpx.AsyncClient, request: httpx.Request, address: str) -> Answer:
        request.url = request.url.copy_with(host=address)
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            with suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(_BODY_S):
                    await _skim(response)
            return Answer(response.status_code, response.headers.get("retry-after"))
        finally:
            await response.aclose()


async def _skim(response: httpx.Response) -> None:
    read_bytes = 0
    async for chunk in response.aiter_raw():
        read_bytes += len(chunk)
        if read_bytes >= _BODY_BYTES:
            return


@lru_cache(maxsize=1)
def _everybodys_trust() -> ssl.SSLContext:
    # Reading the certificates takes longer than a whole request.
    return httpx.create_ssl_context()
