"""A connection to RabbitMQ that mends itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from aiormq import Connection, TransportFactory
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from yarl import URL

from shared.broker.rabbitmq_errors import reason_of, translated_errors
from shared.errors import BrokerUnavailableError

log = structlog.get_logger(__name__)

#: Seconds. The library gives a silent peer up after three of them; a call that gets no answer notices earlier.
HEARTBEAT_S: Final = 20
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 5.0
#: How long a connection or channel may take to say goodbye before it is cut.
GOODBYE_TIMEOUT_S: Final = 0.7
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
# Longer than a try that comes to nothing takes.
_LASTING_S: Final = 10.0


class Backoff:
    """Pauses that grow from try to try, with jitter, so that many clients don't come back in step."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self._pause_s = _FIRST_PAUSE_S
        self._resumed_at = asyncio.get_running_loop().time()

    async def pause(self) -> None:
        """Wait before the next try; briefly again if the last one lasted."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._resumed_at > _LASTING_S:
            self._pause_s = _FIRST_PAUSE_S
        await asyncio.sleep(self._pause_s * self._random.uniform(0.5, 1.0))
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._resumed_at = loop.time()


class _Transports(TransportFactory):
    """Remembers the socket, to cut it: the library would wait for a hung peer to take what is unsent."""

    def __init__(self) -> None:
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        usual = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self._writer = await usual.create(url, **options)
        return reader, self._writer

    def cut(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


class Link:
    """One connection, made when it is first asked for and again whenever it was lost.

    Args:
        url: Of the broker, with the virtual host.
        name: What the broker's operators see it as.
    """

    def __init__(self, url: str, *, name: str) -> None:
        asked = URL(url)
        self._url = asked.update_query({"heartbeat": str(HEARTBEAT_S), "name": name, **asked.query})
        self._name = name
        self._address = urlsplit(url).netloc.rpartition("@")[2]
        self._connection: Connection | None = None
        self._transports = _Transports()
        self._connected = asyncio.Event()
        self._tried = asyncio.Event()
        self._fault = "not connected yet"
        self._keeper: asyncio.Task[None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Link {self._name} to {self._address} connected={self._connected.is_set()}>"

    async def connection(self) -> Connection:
        """The connection; after the first try without waiting for a broker that is away.

        Raises:
            BrokerUnavailableError: There is none now.
        """
        self._start()
        await self._tried.wait()
        if self._connection is None:
            raise BrokerUnavailableError(f"{self._address}: {self._fault}")
        return self._connection

    async def connected(self) -> None:
        """Return when there is a connection, however long that takes."""
        self._start()
        await self._connected.wait()

    @asynccontextmanager
    async def answering(self, connection: AbstractConnection) -> AsyncIterator[None]:
        """Around calls that the broker must answer in time, or the connection is dropped.

        Raises:
            BrokerUnavailableError: It did not, or the connection was lost, or it refused.
        """
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                with translated_errors():
                    yield
        except TimeoutError as error:
            reason = f"no answer within {ANSWER_TIMEOUT_S:g} s"
            self.drop(connection, reason)
            raise BrokerUnavailableError(reason) from error

    @asynccontextmanager
    async def brief_channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel for a few calls; a call that the broker refuses costs no more than this channel.

        Raises:
            BrokerUnavailableError: There is none, or it went away.
        """
        connection = await self.connection()
        async with self.answering(connection):
            channel = await connection.channel(publisher_confirms=False)
            try:
                yield channel
            except Exception:
                await channel.close()
                raise
            # Not when cancelled: the library closes it then, and a broker that hangs must hold nobody up.
            await channel.close()

    def drop(self, connection: AbstractConnection, reason: str) -> None:
        """Cut a connection on which nothing answers, and make a new one."""
        if connection is self._connection:
            self._lose(reason)
            self._transports.cut()

    async def close(self) -> None:
        """Disconnect for good, within a second or so even from a broker that hangs."""
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        connection, self._connection = self._connection, None
        self._fault = "it was closed"
        self._tried.set()
        if connection is not None:
            await _close(connection, self._transports)

    def _start(self) -> None:
        if self._keeper is None and not self._is_closed:
            self._keeper = asyncio.create_task(self._keep(), name=f"keep {self._name}")

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            try:
                with translated_errors():
                    connection = await self._connect()
            except BrokerUnavailableError as error:
                self._note_failure(reason_of(error.__cause__ or error))
            else:
                self._gain(connection)
                self._lose(await _end_of(connection))
            await backoff.pause()

    async def _connect(self) -> Connection:
        self._transports = _Transports()
        connection = Connection(self._url, transport_factory=self._transports)
        attempt = asyncio.ensure_future(connection.connect())
        try:
            done, _ = await asyncio.wait({attempt}, timeout=CONNECT_TIMEOUT_S)
            if not done:
                raise TimeoutError(f"no answer within {CONNECT_TIMEOUT_S:g} s")
            attempt.result()
        except BaseException:
            self._transports.cut()
            attempt.cancel()
            await asyncio.wait({attempt}, timeout=GOODBYE_TIMEOUT_S)
            raise
        return connection

    def _gain(self, connection: Connection) -> None:
        self._connection = connection
        self._connected.set()
        self._tried.set()
        log.info("broker_connected", broker=self._address, link=self._name, version=version_text(connection))

    def _note_failure(self, fault: str) -> None:
        if not self._tried.is_set():
            log.warning("broker_away", broker=self._address, link=self._name, reason=fault)
        self._fault = fault
        self._tried.set()

    def _lose(self, reason: str) -> None:
        if self._connection is not None:
            log.warning("broker_lost", broker=self._address, link=self._name, reason=reason)
        self._connection = None
        self._fault = reason
        self._connected.clear()


async def _end_of(connection: Connection) -> str:
    """Wait until the connection is no more, and tell why."""
    end = connection.closing
    await asyncio.wait({end})
    error = None if end.cancelled() else end.exception()
    return "the connection was closed" if error is None else reason_of(error)


async def _close(connection: Connection, transports: _Transports) -> None:
    closing = asyncio.ensure_future(connection.close())
    done, _ = await asyncio.wait({closing}, timeout=GOODBYE_TIMEOUT_S)
    if not done:
        transports.cut()
        await asyncio.wait({closing}, timeout=GOODBYE_TIMEOUT_S)


def version_text(connection: Connection) -> str:
    """The broker's version, as it told in the handshake."""
    return str((connection.server_properties or {}).get("version", "unknown"))


def version(connection: Connection) -> tuple[int, ...]:
    """The same, to compare; empty if it can't be read."""
    numbers = version_text(connection).split("-")[0].split(".")
    return tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else ()
