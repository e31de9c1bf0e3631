"""The types of task that workers have announced, with their schemas compiled."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import structlog

from shared.accepting.faults import MAX_FAULTS
from shared.domain.task_type import TaskTypeInfo
from shared.errors import DatabaseUnavailableError, InvalidInputError, UnknownTaskTypeError
from shared.store.task_types import TaskTypes

if TYPE_CHECKING:  # loaded with the first type: a worker whose handlers submit nothing never needs it, nor its 3 MiB
    from shared.accepting.payload_schema import PayloadSchema

log = structlog.get_logger(__name__)

#: Seconds after which announcements are read again in the background while they are in use.
_MAX_AGE_S: Final = 3.0
#: Seconds between two readings for types that are not known, whoever asks for them.
_MIN_PAUSE_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class KnownType:
    """A type and its compiled schema."""

    info: TaskTypeInfo
    _schema: "PayloadSchema"

    def require_valid(self, payload: Any, length: int, *, at: str) -> None:
        """Do nothing if the schema accepts the payload.

        Args:
            payload: A JSON value.
            length: The length of its text.
            at: The pointer to it in the body.

        Raises:
            InvalidInputError: It does not.
        """
        if self._schema.accepts(payload):
            return
        faults = islice(self._schema.faults(payload, length), MAX_FAULTS)
        raise InvalidInputError([(at + place, message) for place, message in faults])


class Catalogue:
    """Knows the announced types; reads them again when they are old, or when one is asked for that is missing."""

    def __init__(self, types: TaskTypes) -> None:
        self._types = types
        self._known: dict[str, KnownType] = {}
        self._read_at = float("-inf")
        self._refreshed_at = float("-inf")
        self._lock = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Read the announcements now.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away.
        """
        await self._read_after(time.monotonic())

    async def get(self, name: str) -> KnownType:
        """A type.

        Raises:
            UnknownTaskTypeError: No worker has announced it.
            DatabaseUnavailableError: It is not known here, and PostgreSQL is away.
        """
        if name not in self._known:
            await self._read_after(time.monotonic(), missing=name)
        else:
            self._refresh_if_old()
        known = self._known.get(name)
        if known is None:
            raise UnknownTaskTypeError(name, self._known)
        return known

    def _refresh_if_old(self) -> None:
        now = time.monotonic()
        if now - max(self._read_at, self._refreshed_at) > _MAX_AGE_S:
            self._refreshed_at = now
            self._refresh = asyncio.create_task(self._read_in_background(now), name="catalogue")

    async def _read_in_background(self, asked_at: float) -> None:
        try:
            await self._read_after(asked_at)
        except DatabaseUnavailableError as error:
            log.warning("task_types_not_read", reason=str(error))
        except Exception:
            log.exception("task_types_not_read")

    async def _read_after(self, asked_at: float, *, missing: str | None = None) -> None:
        """Read the announcements, unless somebody began to after `asked_at`, or has found what was `missing`."""
        async with self._lock:
            if self._read_at >= asked_at or missing in self._known:
                return
            await asyncio.sleep(max(0.0, self._read_at + _MIN_PAUSE_S - time.monotonic()))
            began_at = time.monotonic()
            self._known = self._compiled(await self._types.all())
            self._read_at = began_at

    def _compiled(self, types: Mapping[str, TaskTypeInfo]) -> dict[str, KnownType]:
        return {name: self._reused(info) or compile_type(info) for name, info in types.items()}

    def _reused(self, info: TaskTypeInfo) -> KnownType | None:
        known = self._known.get(info.name)
        return known if known is not None and known.info == info else None


def compile_type(info: TaskTypeInfo) -> KnownType:
    """The type with its schema ready for use; one whose schema is of no use takes any payload."""
    from shared.accepting.payload_schema import PayloadSchema

    return KnownType(info, PayloadSchema(info))
