"""Who gets in: keys, scopes, limits, and no foreign web pages where there are no keys. Around every route."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from api_service.keyring import Keyring
from api_service.origins import is_foreign_host, is_foreign_origin, is_loopback
from api_service.problems import problem, problem_of
from api_service.rates import Buckets
from api_service.scopes import is_public, scopes_for
from shared.domain.access import ApiKey, digest_of, parse_keys
from shared.errors import NoKeysError, TaskmillError
from shared.settings import ApiSettings
from shared.store.api_keys import ApiKeys
from shared.store.database import Database

log = structlog.get_logger(__name__)

#: A browser can't set headers on a WebSocket: it offers this protocol, and another one that is this, a dot, `key`,
#: a dot and the key. Never in the URL, which proxies write into their logs.
_PROTOCOL: Final = "taskmill"
_KEY_PROTOCOL: Final = f"{_PROTOCOL}.key."

_END_OF_STREAM: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_END_OF_SOCKET: Final[Message] = {"type": "websocket.close", "code": 1008, "reason": "the API key was revoked"}

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
    """Lets a request through to its route, or answers it.

    The caller's key is `scope["state"]["caller"]`; None where no key is asked for.
    """

    def __init__(self, app: ASGIApp, *, access: Access, keyring: Keyring) -> None:
        self._app = app
        self._access = access
        self._keyring = keyring
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket; pass on what is neither."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._admit(scope)
        except _RefusedError as refusal:
            await _refuse(refusal.answer, scope, receive, send)
        except TaskmillError as error:
            await _refuse(problem_of(error), scope, receive, send)
        else:
            await self._let_in(caller, scope, receive, send)

    async def _let_in(self, caller: ApiKey | None, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            send = _choosing_protocol(scope, send)
        if caller is None:
            await self._app(scope, receive, send)
            return
        with structlog.contextvars.bound_contextvars(caller=caller.name):
            await self._app(scope, receive, self._while_good(caller, send))

    def _while_good(self, caller: ApiKey, send: Send) -> Send:
        """Send the events of a stream, which may be open for days, until the key is revoked."""
        is_stream = False

        async def send_while_good(message: Message) -> None:
            nonlocal is_stream
            kind = message["type"]
            if kind == "http.response.start":
                is_stream = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
            elif (is_stream or kind == "websocket.send") and not self._keyring.holds(caller):
                await send(_END_OF_STREAM if is_stream else _END_OF_SOCKET)
                raise ClientDisconnect if is_stream else WebSocketDisconnect(1008)
            await send(message)

        return send_while_good

    async def _admit(self, scope: Scope) -> ApiKey | None:
        method, path = scope.get("method", "GET"), scope["path"]
        scope.setdefault("state", {})["caller"] = None
        if is_public(method, path):
            return None
        headers = Headers(scope=scope)
        if not await self._asks_for_keys():
            self._require_own_page(headers)
            self._spend(f"@{_address(scope)}", self._access.requests_per_minute)
            return None
        scope["state"]["caller"] = caller = await self._caller(scope, headers)
        self._spend(caller.name, caller.requests_per_minute or self._access.requests_per_minute)
        _require_scope(caller, method, path)
        return caller

    async def _asks_for_keys(self) -> bool:
        access = self._access
        return access.enabled and (access.exposed or await self._keyring.any())

    async def _caller(self, scope: Scope, headers: Headers) -> ApiKey:
        given = _given_key(scope, headers)
        if given is None:
            raise _unauthorized("key_missing", "send an API key: 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        caller = await self._keyring.find(digest_of(given))
        if caller is None:
            raise _unauthorized("key_unknown", "there is no such API key: it is misspelt, or it was revoked")
        return caller

    def _require_own_page(self, headers: Headers) -> None:
        if is_foreign_origin(headers):
            raise _RefusedError(
                403, "foreign_origin", "a web page of another site may not use this API unless it has an API key"
            )
        if self._access.local_names_only and is_foreign_host(headers):
            raise _RefusedError(
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
            raise _RefusedError(
                429,
                "rate_limited",
                f"more than {per_minute:g} requests a minute: try again in {math.ceil(wait_s)} s",
                {"Retry-After": str(math.ceil(wait_s))},
            )


class _RefusedError(Exception):
    """The request does not get through; `answer` says why."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.answer = problem(status, code, detail, headers=headers)


def _unauthorized(code: str, detail: str) -> _RefusedError:
    challenge = _CHALLENGE if code == "key_missing" else f'{_CHALLENGE}, error="invalid_token"'
    return _RefusedError(401, code, detail, {"WWW-Authenticate": challenge})


def _require_scope(caller: ApiKey, method: str, path: str) -> None:
    needed = scopes_for(method, path)
    if not caller.scopes & needed:
        words = " or ".join(sorted(needed))
        raise _RefusedError(
            403, "scope_missing", f"this takes the scope {words}, which the key {caller.name!r} does not have"
        )


def _given_key(scope: Scope, headers: Headers) -> bytes | None:
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


def _choosing_protocol(scope: Scope, send: Send) -> Send:
    """Accept a WebSocket with our protocol where it was offered: browsers give up without an answer to theirs."""

    async def send_with_protocol(message: Message) -> None:
        if message["type"] == "websocket.accept" and _PROTOCOL in scope.get("subprotocols", ()):
            message = {**message, "subprotocol": message.get("subprotocol") or _PROTOCOL}
        await send(message)

    return send_with_protocol


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    await answer(scope, receive, send)
