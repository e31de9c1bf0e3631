"""The live API keys, in memory, so that no request has to ask the database."""

import asyncio
import hmac
import time
from collections.abc import Sequence
from typing import Final

import structlog

from shared.domain.access import ApiKey
from shared.errors import DatabaseRefusedError, DatabaseUnavailableError, TaskmillError
from shared.store.api_keys import ApiKeys

log = structlog.get_logger(__name__)

#: Seconds between two looks at the database: how long a key that was revoked elsewhere still opens.
_REFRESH_S: Final = 2.0
#: Seconds that the database may take to answer.
_ANSWER_WITHIN_S: Final = 2.0
#: Least seconds between two looks that unknown keys cause.
_LOOK_AGAIN_S: Final = 0.25


class Keyring:
    """The keys of the environment, and those of the database as they were a moment ago.

    While PostgreSQL is away the keys that are known go on being good, and of others nobody can tell.

    Args:
        given: The keys of the environment.
        stored: Those of the database.
    """

    def __init__(self, given: Sequence[ApiKey], stored: ApiKeys) -> None:
        self.given = tuple(given)
        self._given = {key.digest: key for key in given}
        self._stored = stored
        self._live = self._given
        self._read_began_at = -_LOOK_AGAIN_S
        self._fault: TaskmillError | None = None
        self._loaded = False
        self._reading = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Keyring given={len(self._given)} live={len(self._live)} loaded={self._loaded}>"

    def start(self) -> None:
        """Begin to look at the database from time to time."""
        self._refreshing = asyncio.create_task(self._keep_fresh(), name="keyring")

    async def close(self) -> None:
        """Look no more."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    async def any(self) -> bool:
        """Whether there is any live key.

        Raises:
            DatabaseUnavailableError: It was not known yet, and PostgreSQL is away.
        """
        if not (self._live or self._loaded):
            await self.refresh()
        return bool(self._live)

    def holds(self, key: ApiKey) -> bool:
        """Whether a key is still good, as far as is known."""
        return key.digest in self._live

    async def find(self, digest: bytes) -> ApiKey | None:
        """The live key with this digest. For one that is not known the database is asked, a few times a second.

        Raises:
            DatabaseUnavailableError: It is not known, and PostgreSQL is away.
        """
        key = self._get(digest)
        if key is None:
            # It may have been made a moment ago, on another replica.
            await self.refresh()
            key = self._get(digest)
        return key

    async def refresh(self) -> None:
        """Return when the keys are known as they were at the time of this call, or later.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        asked_at = time.monotonic()
        async with self._reading:
            if self._read_began_at < asked_at:
                await asyncio.sleep(self._read_began_at + _LOOK_AGAIN_S - asked_at)
                await self._read()
            if self._fault is not None:
                raise DatabaseUnavailableError(self._fault)

    def _get(self, digest: bytes) -> ApiKey | None:
        key = self._live.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    async def _read(self) -> None:
        self._read_began_at = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                stored = await self._stored.live()
        except TimeoutError:
            self._note_fault(DatabaseUnavailableError(f"no answer within {_ANSWER_WITHIN_S:g} s"))
        except (DatabaseUnavailableError, DatabaseRefusedError) as error:
            self._note_fault(error)
        else:
            # The environment wins: those keys can't be revoked over the API.
            self._live = {key.digest: key for key in stored} | self._given
            self._loaded = True
            self._note_fault(None)

    def _note_fault(self, fault: TaskmillError | None) -> None:
        if fault is not None and self._fault is None:
            log.warning("keys_not_read", reason=str(fault), known=len(self._live))
        self._fault = fault

    async def _keep_fresh(self) -> None:
        while True:
            try:
                async with self._reading:
                    await self._read()
            except Exception:
                # Without this task a revoked key would open for ever.
                log.exception("keys_not_read")
            await asyncio.sleep(_REFRESH_S)
