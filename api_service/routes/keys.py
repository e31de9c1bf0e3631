"""API keys: make one, list them, revoke one."""

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api_service.auditing import AuditDep
from api_service.dependencies import ServicesDep, json_body
from api_service.keyring import Keyring
from api_service.paging import Page
from shared.accepting.faults import Fault, pointer
from shared.domain.access import KEY_NAME_PATTERN, ApiKey, Scope, digest_of, new_key
from shared.errors import (
    DatabaseUnavailableError,
    InvalidInputError,
    KeyNameTakenError,
    KeyNotFoundError,
    KeyNotStoredError,
)

router: Final = APIRouter(tags=["keys"])

_MAX_PER_MINUTE: Final = 1_000_000


class KeySubmission(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    name: Annotated[str, Field(pattern=KEY_NAME_PATTERN)] = Field(
        description="What its holder is called in tasks, logs and the audit trail; 1 to 64 of a-z A-Z 0-9 . _ -"
    )
    scopes: Annotated[list[Literal["submit", "read", "operate"]], Field(min_length=1, max_length=10)] = Field(
        default_factory=lambda: [scope.value for scope in Scope], description="Default: all three"
    )
    requests_per_minute: Annotated[float, Field(gt=0, le=_MAX_PER_MINUTE)] | None = Field(
        None, description="Default: API_RATE_LIMIT"
    )


class KeyView(BaseModel):
    """A key, without the key itself."""

    name: str
    scopes: list[Scope]
    requests_per_minute: float | None
    source: Literal["environment", "database"]
    created_at: datetime | None = Field(description="null where it comes from the environment")
    created_by: str | None
    revoked_at: datetime | None


class NewKeyView(BaseModel):
    """A key that was made. It is shown here and never again."""

    name: str
    key: str
    scopes: list[Scope]
    requests_per_minute: float | None
    created_at: datetime


async def _key_name(name: str) -> str:
    if not re.fullmatch(KEY_NAME_PATTERN, name):
        raise KeyNotFoundError(name)
    return name


async def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


KeyringDep = Annotated[Keyring, Depends(_keyring)]
#: The name in the path; what can't be a name is the name of no key.
KeyName = Annotated[str, Depends(_key_name)]


@router.post(
    "/keys",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": KeySubmission.model_json_schema()}},
        }
    },
)
async def create_key(
    request: Request, response: Response, services: ServicesDep, keyring: KeyringDep, audit: AuditDep
) -> NewKeyView:
    """Make a key. It opens on this replica at once, on others within a moment of their first meeting it."""
    wanted = _read(await json_body(request))
    if any(wanted.name == given.name for given in keyring.given):
        raise KeyNameTakenError(wanted.name)
    scopes = _in_order(wanted.scopes)
    await audit.note("key.create", target=wanted.name, scopes=scopes, requests_per_minute=wanted.requests_per_minute)
    secret = new_key()
    key = ApiKey(wanted.name, digest_of(secret.encode()), frozenset(scopes), wanted.requests_per_minute)
    created_at = await services.store.api_keys.add(key, created_by=audit.actor)
    await _take_effect(keyring)
    response.headers["Cache-Control"] = "no-store"
    return NewKeyView(
        name=key.name,
        key=secret,
        scopes=scopes,
        requests_per_minute=key.requests_per_minute,
        created_at=created_at,
    )


@router.get("/keys")
async def list_keys(services: ServicesDep, keyring: KeyringDep) -> Page[KeyView]:
    """Every key: those of the environment, then those of the database by name, revoked ones included."""
    given = [_given_view(key) for key in keyring.given]
    stored = [
        KeyView(
            name=key.name,
            scopes=_in_order(key.scopes),
            requests_per_minute=key.requests_per_minute,
            source="database",
            created_at=key.created_at,
            created_by=key.created_by,
            revoked_at=key.revoked_at,
        )
        for key in await services.store.api_keys.all()
    ]
    return Page(items=[*given, *stored])


@router.delete("/keys/{name}", status_code=204)
async def revoke_key(services: ServicesDep, keyring: KeyringDep, audit: AuditDep, name: KeyName) -> Response:
    """Revoke a key. On other replicas it opens for a few seconds more."""
    await audit.note("key.revoke", target=name)
    try:
        await services.store.api_keys.revoke(name)
    except KeyNotFoundError:
        if any(name == given.name for given in keyring.given):
            raise KeyNotStoredError(name) from None
        raise
    await _take_effect(keyring)
    return Response(status_code=204)


async def _take_effect(keyring: Keyring) -> None:
    # What was asked for is done; that this process is to know it at once is no reason for another answer.
    with suppress(DatabaseUnavailableError):
        await keyring.refresh()


def _in_order(scopes: Collection[str]) -> list[Scope]:
    return [scope for scope in Scope if scope in scopes]


def _given_view(key: ApiKey) -> KeyView:
    return KeyView(
        name=key.name,
        scopes=_in_order(key.scopes),
        requests_per_minute=key.requests_per_minute,
        source="environment",
        created_at=None,
        created_by=None,
        revoked_at=None,
    )


def _read(body: Any) -> KeySubmission:
    if not isinstance(body, dict):
        raise InvalidInputError([("", "must be a JSON object")])
    try:
        return KeySubmission.model_validate(body)
    except ValidationError as error:
        raise InvalidInputError(list(_faults_of(error))) from error


def _faults_of(error: ValidationError) -> Iterator[Fault]:
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        yield pointer(fault["loc"]), fault["msg"]
