"""Calls to Redis that fail fast while it is away and work again when it is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import CacheUnavailableError

#: Everything that may come out of a call to Redis when Redis, or the way to it, is at fault.
REDIS_FAULTS: Final = (RedisError, OSError, TimeoutError)

_UNREACHABLE: Final = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)
_DEADLINE_S: Final = 1.0
_PAUSE_S: Final = 0.5
_CALLS_AT_ONCE: Final = 16

Reply = TypeVar("Reply")
log = structlog.get_logger(__name__)


def connect(url: str) -> Redis:
    """A client that neither retries nor limits the time of a read: its user sets the deadlines.

    Has a connection for each command that runs, at most a hundred. Connects when it is first used.
    """
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=_DEADLINE_S,
        protocol=2,  # replies of one shape from every server, and no handshake beyond AUTH and SELECT
        driver_info=None,
    )
    return Redis.from_pool(pool)


async def disconnect(redis: Redis) -> None:
    """Close all connections; nothing is raised."""
    with suppress(*REDIS_FAULTS):
        await redis.aclose()


class RedisClient:
    """Runs commands, sixteen at once, each within a second.

    Once Redis could not be reached, calls are refused at once for half a second; then one call at a time
    tries again, so that a Redis that hangs delays one caller and not all of them. Replies that are errors (no
    memory left, read-only) don't count: other commands may still work.
    """

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._breaker = Breaker()
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def call(self, command: Callable[[Redis], Awaitable[Reply]]) -> Reply:
        """What `command` returns.

        Raises:
            CacheUnavailableError: Redis is away, or refused.
        """
        # The wait for a slot is no fault of Redis: neither the deadline nor the breaker may count it.
        async with self._slots:
            return await self._call(command)

    async def close(self) -> None:
        """Disconnect."""
        await disconnect(self._redis)

    async def _call(self, command: Callable[[Redis], Awaitable[Reply]]) -> Reply:
        is_trial = self._breaker.require_turn()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                if is_trial:
                    # A Redis that hangs may wake up later and do all that it was sent meanwhile.
                    await self._redis.ping()
                reply = await command(self._redis)
        except _UNREACHABLE as error:
            self._breaker.failed(error)
            await self._drop_idle_connections()
            raise CacheUnavailableError(_reason(error)) from error
        except RedisError as error:
            self._breaker.succeeded()
            raise CacheUnavailableError(_reason(error)) from error
        self._breaker.succeeded()
        return reply

    async def _drop_idle_connections(self) -> None:
        """Spare later callers from finding out, one connection after the other, that they lead nowhere."""
        with suppress(*REDIS_FAULTS):
            await self._redis.connection_pool.disconnect(inuse_connections=False)


class Breaker:
    """Remembers that Redis is away, and whose turn it is to try again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fault: BaseException | None = None
        self._lost_at = 0.0
        self._try_at = 0.0

    def require_turn(self) -> bool:
        """Return to those who may call; True means that Redis was away when last seen.

        Raises:
            CacheUnavailableError: Redis is away; it is not time to try, or somebody else does.
        """
        if self._fault is None:
            return False
        now = self._clock()
        if now < self._try_at:
            raise CacheUnavailableError(_reason(self._fault))
        self._try_at = now + _DEADLINE_S
        return True

    def failed(self, fault: BaseException) -> None:
        """Redis could not be reached."""
        now = self._clock()
        if self._fault is None:
            self._lost_at = now
            log.warning("redis_lost", reason=_reason(fault))
        self._fault = fault
        self._try_at = now + _PAUSE_S

    def succeeded(self) -> None:
        """Redis has answered."""
        if self._fault is not None:
            self._fault = None
            log.info("redis_found", away_s=round(self._clock() - self._lost_at, 1))


def _reason(fault: BaseException) -> str:
    return str(fault) or "it does not answer"
