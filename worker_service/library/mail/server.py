"""The conversation with the mail server, and what its answers mean."""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiosmtplib

from shared.domain.mail import MailServer
from shared.jsontext import printable
from worker_service.errors import Permanent

#: Seconds that the server may take to answer one command.
_ANSWER_S: Final = 30.0
#: Seconds of politeness at the end.
_QUIT_S: Final = 2.0
_REASON_CHARS: Final = 200
_STARTTLS: Final = {"from_start": False, "required": True, "when_offered": None, "off": False}


class ServerAwayError(Exception):
    """The mail server can't be reached, broke off, or asks everybody to come later."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the server takes nothing for a recipient."""

    code: int
    reason: str

    def __str__(self) -> str:
        return f"{self.code} {self.reason}"

    @property
    def is_permanent(self) -> bool:
        """Whether another attempt would be refused as well."""
        return 500 <= self.code < 600


class MailConnection:
    """A connection that is opened when it is needed, and used again.

    Attributes:
        sent: Messages that the server has taken over the connection that is open now.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._smtp: aiosmtplib.SMTP | None = None
        self.sent = 0

    async def send(
        self, message: bytes, *, sender: str, recipients: Sequence[str], utf8: bool
    ) -> Mapping[str, Refusal]:
        """Hand a message over.

        Returns:
            Whom the server refuses, and why. It has taken the message for all others.

        Raises:
            Permanent: The server refuses us or the sender, whoever the recipient is.
            ServerAwayError: It was not taken, or nobody knows.
        """
        smtp = await self._connected()
        options = ["SMTPUTF8"] if utf8 else []
        try:
            refused, _ = await smtp.sendmail(sender, recipients, message, mail_options=options)
        except aiosmtplib.SMTPNotSupported:
            refusal = Refusal(550, "the mail server takes ASCII addresses alone (no SMTPUTF8)")
            return dict.fromkeys(recipients, refusal)
        except aiosmtplib.SMTPSenderRefused as error:
            self._require_passing(error, "the sender: correct SMTP_FROM, or 'from'")
            raise ServerAwayError(_said(error.code, error.message)) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            return {each.recipient: Refusal(each.code, _clean(each.message)) for each in error.recipients}
        except aiosmtplib.SMTPDataError as error:
            return dict.fromkeys(recipients, Refusal(error.code, _clean(error.message)))
        except (aiosmtplib.SMTPException, OSError, TimeoutError, EOFError) as error:
            self._drop()
            raise ServerAwayError(_clean(f"{type(error).__name__}: {error}")) from error
        self.sent += 1
        return {address: Refusal(answer.code, _clean(answer.message)) for address, answer in refused.items()}

    async def close(self) -> None:
        """Take leave."""
        if self._smtp is not None and self._smtp.is_connected:
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await self._smtp.quit(timeout=_QUIT_S)
        self._drop()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._smtp is not None and self._smtp.is_connected:
            return self._smtp
        server = self._server
        self._drop()
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.tls == "from_start",
            start_tls=_STARTTLS[server.tls],
            timeout=_ANSWER_S,
            local_hostname=socket.gethostname() or "localhost",
        )
        try:
            await smtp.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            self._require_passing(error, "the login: correct SMTP_URL")
            raise ServerAwayError(_said(error.code, error.message)) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError, EOFError) as error:
            smtp.close()
            if _is_of_the_setting(error):
                raise Permanent(f"the mail server does not offer what SMTP_URL asks for: {error}") from error
            raise ServerAwayError(_clean(f"{type(error).__name__}: {error}")) from error
        self._smtp = smtp
        return smtp

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp, self.sent = None, 0

    @staticmethod
    def _require_passing(error: aiosmtplib.SMTPResponseException, what: str) -> None:
        if 500 <= error.code < 600:
            raise Permanent(f"the mail server refuses {what} ({_said(error.code, error.message)})") from error


def _is_of_the_setting(error: Exception) -> bool:
    """Whether it is neither a fault of the connection nor an answer: no STARTTLS, no AUTH we know."""
    passing = (aiosmtplib.SMTPResponseException, OSError, TimeoutError, EOFError)
    return isinstance(error, aiosmtplib.SMTPException) and not isinstance(error, passing)


def _said(code: int, message: str) -> str:
    return f"{code} {_clean(message)}"


def _clean(message: str) -> str:
    return printable(" ".join(message.split()), _REASON_CHARS)
