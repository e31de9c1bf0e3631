"""Mail servers and mailboxes, as people write them. Pure."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

#: No control character, nothing that starts a new line.
_LINE: Final = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
_LOCAL: Final = r'[^\u0000-\u0020\u007f-\u00a0"(),:;<>@\[\\\]\u2028\u2029]{1,64}'
_LABEL: Final = r"[^\u0000-\u002c\u002e\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a0\u2028\u2029]{1,63}"
_ADDRESS: Final = rf"{_LOCAL}@{_LABEL}(\.{_LABEL})*"

#: One line of text, as a pattern of JSON Schema.
LINE_PATTERN: Final = rf"^{_LINE}*$"
#: `ada@example.org` or `Ada Lovelace <ada@example.org>`, as a pattern of JSON Schema.
MAILBOX_PATTERN: Final = rf"^({_ADDRESS}|[^\u0000-\u001f\u007f-\u009f\u2028\u2029<>]{{1,200}} <{_ADDRESS}>)$"
#: Characters of an address, as RFC 5321 has it, and of a mailbox.
_MAX_ADDRESS_CHARS: Final = 254
MAX_MAILBOX_CHARS: Final = 460

Tls = Literal["from_start", "required", "when_offered", "off"]
_STARTTLS: Final[dict[str, Tls]] = {"required": "required", "auto": "when_offered", "off": "off"}
_USAGE: Final = "must look like smtp://USER:PASSWORD@HOST:587, smtps://HOST, or smtp://HOST:25?starttls=off"


class Mailbox(NamedTuple):
    """Somebody who gets or sends mail. `name` is empty where there is none."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed over.

    Attributes:
        username: None where no login is needed.
        tls: `from_start` for smtps; otherwise what is done about STARTTLS.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls = "when_offered"


def parse_mailbox(text: str) -> Mailbox:
    """The mailbox that a text stands for.

    Raises:
        ValueError: It is none.
    """
    if len(text) > MAX_MAILBOX_CHARS or not re.fullmatch(MAILBOX_PATTERN, text) or text.endswith("\n"):
        raise ValueError("must be an address like ada@example.org or Ada Lovelace <ada@example.org>")
    name, bracket, address = text.rpartition(" <")
    mailbox = Mailbox(name.strip().strip('"'), address[:-1]) if bracket else Mailbox("", text)
    if len(mailbox.address) > _MAX_ADDRESS_CHARS:
        raise ValueError(f"must have an address of at most {_MAX_ADDRESS_CHARS} characters")
    return mailbox


def parse_mail_server(url: str) -> MailServer:
    """The server that an SMTP_URL names. A message of a fault never repeats the URL: it may hold a password.

    Raises:
        ValueError: It can't be read.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(f"{_USAGE}: it has a port or a query that can't be read") from None
    if parts.scheme not in ("smtp", "smtps") or not host or parts.path not in ("", "/") or parts.fragment:
        raise ValueError(_USAGE)
    if query.keys() - {"starttls"} or query.get("starttls", "auto") not in _STARTTLS:
        raise ValueError(f"{_USAGE}: of queries it knows starttls=required, auto (if it is offered) and off")
    if parts.scheme == "smtps" and query:
        raise ValueError("smtps:// is encrypted from the start and takes no starttls")
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host) or port == 0:
        raise ValueError(f"{_USAGE}: its host or port is none")
    if parts.password is not None and not parts.username:
        raise ValueError(f"{_USAGE}: it has a password without a user")
    return MailServer(
        host=host,
        port=port or (465 if parts.scheme == "smtps" else 587 if parts.username else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password is not None else None,
        tls="from_start" if parts.scheme == "smtps" else _STARTTLS[query.get("starttls", "auto")],
    )
