"""What the facts about Redis and the artifact store mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from api_service.diagnosing.finding import IN_PROCESS, Finding, Level, either, numbers, skew
from shared.cache.base import CacheFacts

_MIB: Final = 1024 * 1024
_OLDEST_REDIS: Final = (6, 2)


@dataclass(frozen=True, slots=True)
class ArtifactFacts:
    """The artifact store. `free_bytes` is None where it is no folder."""

    place: str
    free_bytes: int | None


def about_cache(facts: CacheFacts, *, clock: float) -> Iterator[Finding]:
    """Redis. `clock`: this host's, in seconds since 1970, when Redis told its own."""
    if facts.product == IN_PROCESS:
        yield Finding("cache", "ok", "in-process: nothing to look after")
        return
    is_new = numbers(facts.version) >= _OLDEST_REDIS
    yield either("redis version", is_new, f"{facts.product} {facts.version}", "bad", "upgrade to Redis 6.2 or newer")
    if facts.role not in ("", "master"):
        yield Finding(
            "redis role", "bad", "it is a replica: nothing can be written", "REDIS_URL must name the primary"
        )
    yield _memory(facts)
    if facts.clock is not None:
        yield skew("redis clock", facts.clock - clock)


def _memory(facts: CacheFacts) -> Finding:
    used = f"{facts.used_bytes // _MIB} MiB"
    if not facts.max_bytes:
        remedy = "set maxmemory 256mb and maxmemory-policy volatile-lru: Redis may forget, and must not grow for ever"
        return Finding("redis memory", "warn", f"{used} in use, and no limit", remedy)
    text = f"{used} of {facts.max_bytes // _MIB} MiB in use, policy {facts.policy}"
    remedy = "set maxmemory-policy volatile-lru: once it is full Redis refuses to write, and everything gets slower"
    return either("redis memory", facts.policy != "noeviction", text, "warn", remedy)


def about_artifacts(facts: ArtifactFacts) -> Iterator[Finding]:
    """The artifact store, in which a file could be written."""
    yield Finding("artifacts", "ok", f"{facts.place} can be written to")
    if facts.free_bytes is not None:
        level: Level = "bad" if facts.free_bytes < 100 * _MIB else "warn"
        yield either(
            "artifacts disk",
            facts.free_bytes >= 1024 * _MIB,
            f"{facts.free_bytes // _MIB} MiB are free",
            level,
            "free disk space, lower RETENTION_DAYS, or let ARTIFACTS_URL name another place",
        )
