"""Who gets in: keys, scopes, limits, and no foreign web pages where there are no keys."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.types import Scope

from api_service.exchange import PROTOCOL, Exchange
from api_service.keyring import Keyring
from api_service.origins import is_foreign_host, is_foreign_origin, is_loopback
from api_service.problems import problem
from api_service.rates import Buckets
from api_service.scopes import is_public, scopes_for
from shared.domain.access import ApiKey, digest_of, parse_keys
from shared.errors import NoKeysError, TaskmillError
from shared.settings import ApiSettings
from shared.store.api_keys import ApiKeys
from shared.store.database import Database

log = structlog.get_logger(__name__)

#: A browser can't set headers on a WebSocket: it offers our protocol, and another one that is this and the key. Never
#: in the URL, which proxies write into their logs.
_KEY_PROTOCOL: Final = f"{PROTOCOL}.key."

_CHALLENGE: Final = 'Bearer realm="taskmill"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the API is guarded.

    Attributes:
        keys: Those of the environment.
        enabled: Whether keys are asked for at all, if there are any.
        exposed: Whether the API can be reached from elsewhere: a key is asked for even if there is none left.
        local_names_only: Whether requests without a key must be addressed to this machine by name.
        requests_per_minute: Of a caller whose key has no limit of its own; 0: no limit.
    """

    keys: tuple[ApiKey, ...] = ()
    enabled: bool = True
    exposed: bool = False
    local_names_only: bool = False
    requests_per_minute: float = 0

    @classmethod
    def of(cls, settings: ApiSettings) -> "Access":
        """As the settings say it."""
        enabled = settings.auth == "on"
        is_local = is_loopback(settings.api_host)
        keys = parse_keys(settings.api_keys.get_secret_value())
        if keys and not enabled:
            log.warning("keys_not_asked_for", reason="AUTH=off: anybody gets in, API_KEYS or not")
        return cls(
            keys=keys,
            enabled=enabled,
            exposed=enabled and not is_local,
            local_names_only=enabled and is_local,
            requests_per_minute=settings.api_rate_limit,
        )

    async def require_keys(self, database: Database, host: str) -> None:
        """Do nothing if there is a key, or only this machine can reach the API.

        Raises:
            NoKeysError: Anybody would get in.
        """
        if not self.exposed or self.keys:
            return
        try:
            await database.require_schema()
            found = await ApiKeys(database).live()
        except TaskmillError as error:
            raise NoKeysError(host, f"PostgreSQL, which may hold one, does not say: {error.code}") from error
        if not found:
            raise NoKeysError(host, "neither in API_KEYS nor in the database")


class Guard:
    """Decides who gets in."""

    def __init__(self, access: Access, keyring: Keyring) -> None:
        self._access = access
        self._keyring = keyring
        self._buckets = Buckets()
        #: Whether a key is still good, as far as is known.
        self.holds = keyring.holds

    async def admit(self, exchange: Exchange) -> None:
        """Do nothing if a request or the opening of a WebSocket may go on to its route; note who sent it.

        Raises:
            RefusedError: It may not.
            DatabaseUnavailableError: Its key is not known here, and PostgreSQL is away.
        """
        scope, headers = exchange.scope, exchange.headers
        method, path = scope.get("method", "GET"), scope["path"]
        if is_public(method, path):
            return
        if not await self._asks_for_keys():
            self._require_own_page(headers)
            self._spend(f"@{_address(scope)}", self._access.requests_per_minute)
            return
        exchange.caller = caller = await self._caller(scope, headers)
        self._spend(caller.name, caller.requests_per_minute or self._access.requests_per_minute)
        _require_scope(caller, method, path)

    async def _asks_for_keys(self) -> bool:
        access = self._access
        return access.enabled and (access.exposed or await self._keyring.any())

    async def _caller(self, scope: Scope, headers: Mapping[str, str]) -> ApiKey:
        given = _given_key(scope, headers)
        if given is None:
            raise _unauthorized("key_missing", "send an API key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        caller = await self._keyring.find(digest_of(given))
        if caller is None:
            raise _unauthorized("key_unknown", "there is no such API key: it is misspelt, or it was revoked")
        return caller

    def _require_own_page(self, headers: Mapping[str, str]) -> None:
        if is_foreign_origin(headers):
            raise RefusedError(
                403, "foreign_origin", "a web page of another site may not use this API unless it has an API key"
            )
        if self._access.local_names_only and is_foreign_host(headers):
            raise RefusedError(
                403,
                "foreign_host",
                "without API keys only this machine is served, by the name localhost or its address: set API_KEYS,"
                " or AUTH=off if something in front of the API decides who gets in",
            )

    def _spend(self, caller: str, per_minute: float) -> None:
        if not per_minute:
            return
        wait_s = self._buckets.spend(caller, per_minute)
        if wait_s:
            raise RefusedError(
                429,
                "rate_limited",
                f"more than {per_minute:g} requests a minute: try again in {math.ceil(wait_s)} s",
                {"Retry-After": str(math.ceil(wait_s))},
            )


class RefusedError(Exception):
    """The request does not get through; `answer` says why."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.answer = problem(status, code, detail, headers=headers)


def _unauthorized(code: str, detail: str) -> RefusedError:
    challenge = _CHALLENGE if code == "key_missing" else f'{_CHALLENGE}, error="invalid_token"'
    return RefusedError(401, code, detail, {"WWW-Authenticate": challenge})


def _require_scope(caller: ApiKey, method: str, path: str) -> None:
    needed = scopes_for(method, path)
    if not caller.scopes & needed:
        words = " or ".join(sorted(needed))
        raise RefusedError(
            403, "scope_missing", f"this takes the scope {words}, which the key {caller.name!r} does not have"
        )


def _given_key(scope: Scope, headers: Mapping[str, str]) -> bytes | None:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip().encode("latin-1")
    if key := headers.get("x-api-key", "").strip():
        return key.encode("latin-1")
    offered = (protocol for protocol in scope.get("subprotocols", ()) if protocol.startswith(_KEY_PROTOCOL))
    found = next(offered, None)
    return None if found is None else found.removeprefix(_KEY_PROTOCOL).encode("utf-8", "replace")


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])
