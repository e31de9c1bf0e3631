"""Says that this worker is alive, from a thread of its own: a busy event loop is not a dead worker."""

import asyncio
import threading
from collections.abc import Callable

import structlog

from shared.errors import DatabaseUnavailableError
from shared.store.database import Database
from shared.store.workers import Orders, WorkerInfo, Workers

log = structlog.get_logger(__name__)

OnBeat = Callable[[Orders], None]


class Heartbeat:
    """Beats until stopped.

    Args:
        url: PostgreSQL, over a connection of its own.
        info: What the worker says of itself.
        interval_s: Pause between two beats, in seconds.
        running: How many attempts run here; called in the heartbeat's thread.
        on_beat: Called on the event loop with what is asked of the worker, after each beat that got through.
    """

    def __init__(
        self, url: str, info: WorkerInfo, *, interval_s: float, running: Callable[[], int], on_beat: OnBeat
    ) -> None:
        self._url = url
        self._info = info
        self._interval_s = interval_s
        self._running = running
        self._on_beat = on_beat
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._first = asyncio.Event()
        self._stopping = False
        self._away = False
        #: Set by the supervisor; told with each beat.
        self.healthy = True
        self.leaving = False
        self.draining = False

    async def start(self) -> None:
        """Begin, and return when the first beat got through: before that nothing may be claimed."""
        self._home = asyncio.get_running_loop()
        self._thread.start()
        await self._first.wait()

    def beat_now(self) -> None:
        """Beat without waiting for the pause to end. From any thread."""
        if self._loop is not None and self._wake is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def stop(self) -> None:
        """Stop beating, within a second or so."""
        self._stopping = True
        self.beat_now()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 5)

    # In the thread ..................................................................

    def _run(self) -> None:
        asyncio.run(self._beat_until_stopped())

    async def _beat_until_stopped(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        # Short limits: a beat that hangs is a beat missed.
        database = Database(self._url, pool_size=1, connect_timeout_s=3, statement_timeout_s=3)
        workers = Workers(database)
        try:
            while not self._stopping:
                await self._beat(workers)
                await self._pause()
        finally:
            await database.close()

    async def _beat(self, workers: Workers) -> None:
        try:
            orders = await workers.beat(
                self._info,
                running=self._running(),
                healthy=self.healthy,
                stopping=self.leaving,
                draining=self.draining,
            )
        except DatabaseUnavailableError as error:
            if not self._away:
                log.warning("heartbeat_missed", reason=str(error))
            self._away = True
        except Exception:
            log.exception("heartbeat_failed")
        else:
            if self._away:
                log.info("heartbeat_resumed")
            self._away = False
            self._call_home(orders)

    def _call_home(self, orders: Orders) -> None:
        assert self._home is not None
        if self._home.is_closed():
            return
        self._home.call_soon_threadsafe(self._first.set)
        self._home.call_soon_threadsafe(self._on_beat, orders)

    async def _pause(self) -> None:
        assert self._wake is not None
        try:
            async with asyncio.timeout(self._interval_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
