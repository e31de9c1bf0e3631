"""Rings the doorbells of the outbox: from memory right after the commit, or row by row when the relay asks."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from shared.broker.base import Broker, Message
from shared.domain.bundling import bundled
from shared.domain.ring import Ring
from shared.errors import DatabaseUnavailableError
from shared.pace import Pace
from shared.store.outbox import Outbox

log = structlog.get_logger(__name__)

#: Doorbells kept in memory. More than this stay in the outbox for the relay: memory is bounded, rows are not.
_MAX_WAITING: Final = 20_000
#: Doorbells published and confirmed together.
_MAX_BATCH: Final = 1_000


class Publisher:
    """Publishes doorbells and deletes their outbox rows once the broker has confirmed them.

    What is not confirmed stays in the outbox, and the relay loop of any worker rings it later. A doorbell too
    many is harmless: the claim decides.
    """

    def __init__(self, broker: Broker, outbox: Outbox, pace: Pace) -> None:
        self._broker = broker
        self._outbox = outbox
        self.pace = pace
        self._waiting: deque[Ring] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Publisher waiting={len(self._waiting)}>"

    def start(self) -> None:
        """Begin to publish what is offered."""
        self._task = asyncio.create_task(self._run(), name="publisher")

    async def close(self, *, flush_s: float = 2.0) -> None:
        """Stop, after at most `flush_s` seconds for what is still in memory; the rest is in the outbox."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(flush_s):
                await self._empty.wait()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def offer(self, rings: Sequence[Ring]) -> None:
        """Publish soon. Returns at once; what finds no room is left to the relay."""
        room = _MAX_WAITING - len(self._waiting)
        self._waiting.extend(rings[:room])
        if self._waiting:
            self._empty.clear()
            self._wake.set()

    async def publish(self, rings: Sequence[Ring]) -> list[Ring]:
        """Send doorbells, short tasks of one queue and priority together.

        Returns:
            Those that the broker has confirmed. The caller deletes them from the outbox.
        """
        bundles = bundled(rings, self.pace.mean_s)
        messages = [
            Message(bundle[0].queue, bundle[0].priority, tuple(ring.due for ring in bundle)) for bundle in bundles
        ]
        confirmed = await self._broker.publish(messages)
        return [ring for bundle, is_out in zip(bundles, confirmed, strict=True) if is_out for ring in bundle]

    async def _run(self) -> None:
        await self.pace.refresh()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._publish_some()
                await self.pace.refresh()
            self._empty.set()

    async def _publish_some(self) -> None:
        rings = [self._waiting[i] for i in range(min(len(self._waiting), _MAX_BATCH))]
        try:
            confirmed = await self.publish(rings)
            if confirmed:
                await self._outbox.delete(confirmed)
            if len(confirmed) < len(rings):
                log.warning("doorbells_left_to_relay", count=len(rings) - len(confirmed))
        except DatabaseUnavailableError as error:
            # Confirmed but not deleted: the relay rings again, and the claim refuses the second message.
            log.warning("outbox_delete_failed", reason=str(error))
        except Exception:
            log.exception("publish_failed", count=len(rings))
        finally:
            for _ in rings:
                self._waiting.popleft()
