"""A mailing: letters to recipients, each sent once for all attempts of its task together.

What the server has taken for a recipient is marked before the next letter is sent. The next attempt leaves marked
recipients out, so that a worker that dies takes at most the one letter in flight into doubt.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from shared.domain.mail import Mailbox
from worker_service.context import TaskContext
from worker_service.errors import Retry
from worker_service.library.mail.letters import Letter, LetterFaultError, compose, envelope_address, needs_utf8
from worker_service.library.mail.server import MailConnection, Refusal, ServerAwayError
from worker_service.library.mail.templates import MissingVariableError

#: Seconds that a letter in flight has to be taken and marked when the attempt is told to end.
_LAST_LETTER_S: Final = 3.0
#: Recipients whose reasons are named when the rest is tried again later.
_NAMED: Final = 5
_REASON_CHARS: Final = 200

_SENT: Final = "sent "
_FAILED: Final = "failed "


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who gets mail. `key` tells recipients of one mailing apart, in all attempts alike."""

    key: str
    mailbox: Mailbox


def recipients_of(mailboxes: Iterable[Mailbox]) -> list[Recipient]:
    """Recipients with keys. An address that comes twice gets two, so that it is mailed twice.

    The key is no place in the list: it must last when a person mends the payload and replays the task.
    """
    times: Counter[str] = Counter()
    recipients = []
    for mailbox in mailboxes:
        times[mailbox.address] += 1
        recipients.append(Recipient(f"{mailbox.address}#{times[mailbox.address]}", mailbox))
    return recipients


class Mail(Protocol):
    """Something to send, made when its turn comes."""

    @property
    def recipients(self) -> Sequence[Recipient]:
        """Who gets it."""

    async def write(self) -> Letter:
        """The letter.

        Raises:
            LetterFaultError: It can't be made for these recipients.
            MissingVariableError: The same, for want of a variable.
        """


@dataclass(slots=True)
class Tally:
    """How every recipient stands, by key.

    Attributes:
        sent: The server has taken a letter for them.
        failed: Why they get none.
        later: Why they have none yet.
    """

    sent: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_marks(cls, marks: Iterable[str]) -> "Tally":
        """What earlier attempts have done for good."""
        tally = cls()
        for mark in marks:
            if mark.startswith(_SENT):
                tally.sent.add(mark.removeprefix(_SENT))
            elif mark.startswith(_FAILED):
                key, _, reason = mark.removeprefix(_FAILED).partition(" ")
                tally.failed[key] = reason
        return tally

    def open_among(self, recipients: Iterable[Recipient]) -> list[Recipient]:
        """Those whose turn is still to come."""
        return [one for one in recipients if one.key not in self.sent and one.key not in self.failed]


class Mailing:
    """Sends mail, one after the other.

    Args:
        ctx: Of the task.
        connection: Closed by the caller.
        per_second: Letters of one second, at most.
    """

    def __init__(self, ctx: TaskContext, connection: MailConnection, *, per_second: float) -> None:
        self._ctx = ctx
        self._connection = connection
        self._pause_s = 1.0 / per_second
        self._tally = Tally()

    async def send(self, mails: Sequence[Mail]) -> Tally:
        """Send to everybody who has not got it yet.

        Raises:
            Permanent: The mail server refuses us, whoever the recipient is.
            Retry: Some have not got it yet; only they are left for the next attempt.
        """
        self._tally = Tally.from_marks(await self._ctx.marks())
        loop = asyncio.get_running_loop()
        turn_at = loop.time()
        for number, mail in enumerate(mails, start=1):
            if waiting := self._tally.open_among(mail.recipients):
                await asyncio.sleep(max(0.0, turn_at - loop.time()))
                turn_at = max(turn_at, loop.time()) + self._pause_s
                await self._send_to(mail, waiting)
            self._ctx.progress(number, len(mails), f"{len(self._tally.sent)} sent, {len(self._tally.failed)} failed")
        if self._tally.later:
            raise Retry(self._why_later())
        return self._tally

    async def _send_to(self, mail: Mail, waiting: Sequence[Recipient]) -> None:
        try:
            letter = await mail.write()
            message = compose(letter)
            sender = envelope_address(letter.sender)
            addresses = {envelope_address(one.mailbox): one for one in waiting}
            utf8 = needs_utf8([letter.sender, *letter.to, *letter.cc, *(one.mailbox for one in waiting)])
        except (LetterFaultError, MissingVariableError) as error:
            await self._to_the_end(self._fail(waiting, str(error)))
            return
        while True:
            was_used = self._connection.sent > 0
            try:
                await self._to_the_end(self._deliver(message, sender, addresses, utf8=utf8))
            except ServerAwayError as error:
                # A server may take so many letters over one connection and no more: a fresh one may do.
                if not was_used:
                    raise Retry(self._why_away(str(error))) from error
            else:
                return

    async def _deliver(self, message: bytes, sender: str, addresses: dict[str, Recipient], *, utf8: bool) -> None:
        refused = await self._connection.send(message, sender=sender, recipients=list(addresses), utf8=utf8)
        for address, recipient in addresses.items():
            refusal = refused.get(address)
            if refusal is None:
                await self._ctx.mark(_SENT + recipient.key)
                self._tally.sent.add(recipient.key)
        for address, refusal in refused.items():
            await self._refuse(addresses[address], refusal)

    async def _refuse(self, recipient: Recipient, refusal: Refusal) -> None:
        if refusal.is_permanent:
            await self._fail([recipient], str(refusal))
        else:
            self._tally.later[recipient.key] = str(refusal)

    async def _fail(self, recipients: Sequence[Recipient], reason: str) -> None:
        for recipient in recipients:
            kept = reason[:_REASON_CHARS].replace("\x00", "")
            await self._ctx.mark(f"{_FAILED}{recipient.key} {kept}")
            self._tally.failed[recipient.key] = kept

    async def _to_the_end(self, step: Coroutine[Any, Any, None]) -> None:
        """Let a step that was begun come to its end although the attempt is told to end meanwhile."""
        work = asyncio.ensure_future(step)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait([work], timeout=_LAST_LETTER_S)
            if work in done and (fault := work.exception()) is not None:
                self._ctx.log.warning("last_letter_in_doubt", reason=str(fault))
            work.cancel()
            raise

    def _why_later(self) -> str:
        named = [f"{key.rpartition('#')[0]}: {reason}" for key, reason in list(self._tally.later.items())[:_NAMED]]
        return f"{len(self._tally.later)} have not got it yet: {'; '.join(named)}"

    def _why_away(self, reason: str) -> str:
        return f"{len(self._tally.sent)} sent so far, then the mail server was away: {reason}"
