"""Letters: mail that is ready to be sent. Pure."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Final

from shared.domain.mail import LINE_PATTERN, Mailbox

#: Characters of a line, as RFC 5322 has it.
_MAX_SUBJECT_CHARS: Final = 998


class LetterFaultError(Exception):
    """What was rendered can't be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What the recipients see.

    Attributes:
        message_id: The same in every attempt, so that mail programs show a repeat once.
    """

    sender: Mailbox
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox] = ()
    reply_to: Mailbox | None = None
    subject: str
    text: str | None
    html: str | None
    message_id: str
    sent_at: datetime


def message_id(task_key: str, sender: Mailbox, recipient: str = "") -> str:
    """The Message-ID of the letter of a task (to one of its recipients)."""
    digest = "." + hashlib.sha256(recipient.encode()).hexdigest()[:16] if recipient else ""
    return f"<{task_key}{digest}@{_wire(sender).partition('@')[2]}>"


def needs_utf8(mailboxes: Sequence[Mailbox]) -> bool:
    """Whether an address can't be written in ASCII, so that the server must know SMTPUTF8.

    Raises:
        LetterFaultError: The domain of one of them is none.
    """
    return not all(_wire(mailbox).isascii() for mailbox in mailboxes)


def envelope_address(mailbox: Mailbox) -> str:
    """The address as servers are told it: international domains in ASCII.

    Raises:
        LetterFaultError: The domain is none.
    """
    return _wire(mailbox)


def compose(letter: Letter) -> bytes:
    """The letter as it is sent.

    Raises:
        LetterFaultError: The subject is not one line, or something can't be written.
    """
    _require_sound(letter)
    shown = [letter.sender, *letter.to, *letter.cc, *([letter.reply_to] if letter.reply_to else [])]
    # 7bit: then no server on the way has to take 8BITMIME.
    message = EmailMessage(policy=(SMTPUTF8 if needs_utf8(shown) else SMTP).clone(cte_type="7bit"))
    message["Subject"] = letter.subject
    message["From"] = _address(letter.sender)
    message["To"] = [_address(mailbox) for mailbox in letter.to]
    if letter.cc:
        message["Cc"] = [_address(mailbox) for mailbox in letter.cc]
    if letter.reply_to is not None:
        message["Reply-To"] = _address(letter.reply_to)
    message["Date"] = letter.sent_at
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"
    if letter.text is not None:
        message.set_content(letter.text)
        if letter.html is not None:
            message.add_alternative(letter.html, subtype="html")
    else:
        message.set_content(letter.html or "", subtype="html")
    return message.as_bytes()


def _require_sound(letter: Letter) -> None:
    if not re.fullmatch(LINE_PATTERN, letter.subject) or letter.subject.endswith("\n"):
        raise LetterFaultError("subject: must be one line, without control characters")
    if len(letter.subject) > _MAX_SUBJECT_CHARS:
        raise LetterFaultError(f"subject: must have at most {_MAX_SUBJECT_CHARS} characters")
    for name, text in (("subject", letter.subject), ("text", letter.text), ("html", letter.html)):
        try:
            (text or "").encode()
        except UnicodeError as error:  # half of a character: JSON has none, but a template can make one
            raise LetterFaultError(f"{name}: has a character that no mail can hold") from error


def _address(mailbox: Mailbox) -> Address:
    local, _, domain = _wire(mailbox).rpartition("@")
    return Address(mailbox.name, local, domain)


def _wire(mailbox: Mailbox) -> str:
    local, _, domain = mailbox.address.rpartition("@")
    try:
        return f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"
    except UnicodeError as error:
        raise LetterFaultError(f"{mailbox.address}: its domain is none") from error
