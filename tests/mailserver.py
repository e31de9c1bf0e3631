"""A mail server that keeps what it takes, and refuses whom a test wants it to refuse."""

import asyncio
import email
from collections import deque
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from typing import Any, Final, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.builders import eventually

TAKEN: Final = "250 OK"


@dataclass(frozen=True)
class Delivered:
    """One message, as it came, and for whom."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """The message as a mail program would see it."""
        message = email.message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


class Mailroom:
    """Listens on loopback.

    Attributes:
        delivered: Every message that was taken, in order.
        refusals: What it says to recipients that it refuses, by address.
        endings: What it says to the next messages, instead of taking them.
        hang_up_after: Connections are cut after so many messages; None for never.
    """

    def __init__(self, *, login: tuple[str, str] | None = None, utf8: bool = True) -> None:
        self.delivered: list[Delivered] = []
        self.refusals: dict[str, str] = {}
        self.endings: deque[str] = deque()
        self.hang_up_after: int | None = None
        self.pause_s = 0.0
        self._login = login
        self._utf8 = utf8
        self._server: asyncio.Server | None = None
        self._sessions: list[SMTP] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def open(self) -> None:
        """Listen; again on the same port, if it was closed."""
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Hang up on everybody and listen no more."""
        if self._server is not None:
            self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.abort()  # type: ignore[attr-defined]
        self._sessions.clear()

    @property
    def recipients(self) -> list[str]:
        """Whom it has taken a message for, once for each."""
        return [recipient for delivered in self.delivered for recipient in delivered.recipients]

    async def takes(self, number: int, *, within_s: float = 60) -> None:
        """Return when it has taken so many messages."""

        async def has_taken() -> bool:
            return len(self.delivered) >= number

        await eventually(has_taken, within_s=within_s)

    def _session(self) -> SMTP:
        session = SMTP(
            self,
            enable_SMTPUTF8=self._utf8,
            hostname="mail.test",
            authenticator=self._authenticate,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )
        self._sessions.append(session)
        return session

    def _authenticate(self, *arguments: Any) -> AuthResult:
        given = arguments[-1]
        is_known = isinstance(given, LoginPassword) and (given.login.decode(), given.password.decode()) == self._login
        return AuthResult(success=is_known, handled=False)

    # What aiosmtpd asks .............................................................

    async def handle_RCPT(  # noqa: N802 - its name for it
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        if self._login is not None and not session.authenticated:
            return "530 5.7.0 log in first"
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take or refuse a message."""
        await asyncio.sleep(self.pause_s)
        if self.endings:
            return self.endings.popleft()
        assert isinstance(envelope.content, bytes)
        self.delivered.append(Delivered(str(envelope.mail_from), list(envelope.rcpt_tos), envelope.content))
        session.taken = getattr(session, "taken", 0) + 1  # type: ignore[attr-defined]
        if self.hang_up_after is not None and session.taken >= self.hang_up_after:  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_later(0.01, server.transport.close)  # type: ignore[union-attr]
        return TAKEN
