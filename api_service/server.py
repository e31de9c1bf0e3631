"""The HTTP server around the application."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from api_service.dependencies import Api
from api_service.live.web_socket import ListenersProtocol
from api_service.protocol import CarefulProtocol
from shared.errors import CannotListenError

log = structlog.get_logger(__name__)

#: Seconds that answers under way may take when the process is to end.
_GRACE_S: Final = 10
#: Bytes of what a client may say over a WebSocket, where it has nothing to say.
_MAX_MESSAGE_BYTES: Final = 64 * 1024
#: Seconds of the grace that a client has to read what it was sent.
_UNREAD_S: Final = 3
#: Each client that listens to a stream takes one. Most systems give a process 1,024 unless it asks for more.
_OPEN_FILES: Final = 65_536


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, then returns once all that is under way is answered.

    Args:
        app: What `create_app` returns.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, and the log says which.
    """

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=CarefulProtocol,
                ws=ListenersProtocol,
                ws_max_size=_MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,  # a compressor for each of a thousand listeners
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._api: Api = app.state.api

    @property
    def address(self) -> str:
        """Where it listens, once it has started."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen.

        Raises:
            CannotListenError: It can't.
        """
        _allow_many_connections()
        try:
            await super().startup(sockets)
        except SystemExit as error:  # uvicorn logs what the system says, and would end the process
            if not isinstance(refusal := error.__context__, OSError):
                raise
            reason = os.strerror(refusal.errno) if refusal.errno else str(refusal)
            raise CannotListenError(self.config.host, self.config.port, reason) from refusal
        if self.started:
            log.info("api_listening", url=self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and let what is under way end; those who wait for a task answer now."""
        log.info("api_stopping")
        self._api.stop()
        cutting = asyncio.create_task(self._cut_those_who_do_not_read())
        await super().shutdown(sockets)
        cutting.cancel()

    async def _cut_those_who_do_not_read(self) -> None:
        # What they were sent can't be delivered, and the process would wait for that.
        await asyncio.sleep(_UNREAD_S)
        for connection in self.server_state.connections:
            if connection.transport.get_write_buffer_size():
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; uvicorn would raise them again, and nothing would be closed after that."""
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _allow_many_connections() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
