"""From the payloads of notifications to letters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.domain.mail import Mailbox, MailServer, parse_mailbox
from worker_service.context import TaskContext
from worker_service.errors import Permanent
from worker_service.library.mail.letters import Letter, message_id
from worker_service.library.mail.mailing import Mailing, Recipient, Tally, recipients_of
from worker_service.library.mail.payloads import BulkEmail, Email, Report, Texts, Unsent
from worker_service.library.mail.server import MailConnection
from worker_service.library.mail.templates import TemplateFaultError, Templates

#: Recipients that a report names of each kind.
_NAMED: Final = 1000
_UNLIMITED: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A letter whose templates are rendered when its turn comes."""

    recipients: Sequence[Recipient]
    texts: Texts
    templates: Templates
    variables: Mapping[str, Any]
    sender: Mailbox
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox] = ()
    message_id: str

    async def write(self) -> Letter:
        """The letter."""
        rendered = await self.templates.render(self.variables)
        return Letter(
            sender=self.sender,
            to=self.to,
            cc=self.cc,
            reply_to=parse_mailbox(self.texts.reply_to) if self.texts.reply_to else None,
            subject=rendered["subject"],
            text=rendered.get("text"),
            html=rendered.get("html"),
            message_id=self.message_id,
            sent_at=datetime.now(UTC),
        )


async def post_one(payload: Email, ctx: TaskContext) -> Report:
    """Send one letter to everybody it names.

    Raises:
        Permanent: Nobody can be sent it.
        Retry: Some have not got it yet.
    """
    sender = _sender(payload, ctx)
    to, cc, bcc = (_mailboxes(texts) for texts in (payload.to, payload.cc, payload.bcc))
    # Once for each address, however often it is named.
    everybody = recipients_of({mailbox.address: mailbox for mailbox in (*to, *cc, *bcc)}.values())
    async with Templates(_sources(payload)) as templates:
        draft = _Draft(
            recipients=everybody,
            texts=payload,
            templates=templates,
            variables=payload.variables,
            sender=sender,
            to=to,
            cc=cc,
            message_id=message_id(ctx.idempotency_key, sender),
        )
        tally = await _mail([draft], ctx, per_second=_UNLIMITED)
    report = _report(tally)
    if not report.sent:
        reasons = "; ".join(f"{unsent.to}: {unsent.reason}" for unsent in report.failed[:5])
        raise Permanent(f"nobody can be sent this: {reasons}")
    return report


async def post_many(payload: BulkEmail, ctx: TaskContext) -> Report:
    """Send each recipient a letter of their own; the failure of one is that one's alone.

    Raises:
        Permanent: The mail server or the templates are of no use for anybody.
        Retry: Some have not got theirs yet.
    """
    sender = _sender(payload, ctx)
    recipients = recipients_of(parse_mailbox(one.to) for one in payload.recipients)
    async with Templates(_sources(payload)) as templates:
        drafts = [
            _Draft(
                recipients=[recipient],
                texts=payload,
                templates=templates,
                variables=payload.variables | one.variables,
                sender=sender,
                to=[recipient.mailbox],
                message_id=message_id(ctx.idempotency_key, sender, recipient.key),
            )
            for recipient, one in zip(recipients, payload.recipients, strict=True)
        ]
        return _report(await _mail(drafts, ctx, per_second=payload.per_second))


async def _mail(drafts: Sequence[_Draft], ctx: TaskContext, *, per_second: float) -> Tally:
    connection = MailConnection(_server(ctx))
    try:
        return await Mailing(ctx, connection, per_second=per_second).send(drafts)
    except TemplateFaultError as error:
        raise Permanent(str(error)) from error
    finally:
        await connection.close()


def _server(ctx: TaskContext) -> MailServer:
    server = ctx.system.outbound.mail_server
    if server is None:
        raise Permanent(
            "there is no mail server: set SMTP_URL for the workers, like smtp://USER:PASSWORD@mail.example.org:587"
        )
    return server


def _sender(payload: Texts, ctx: TaskContext) -> Mailbox:
    if payload.sender is not None:
        return parse_mailbox(payload.sender)
    sender = ctx.system.outbound.mail_from
    if sender is None:
        _server(ctx)  # where both are missing, the mail server is what to begin with
        raise Permanent("there is no sender: give 'from', or set SMTP_FROM for the workers")
    return sender


def _sources(payload: Texts) -> dict[str, str]:
    texts = {"subject": payload.subject, "text": payload.text, "html": payload.html}
    return {name: text for name, text in texts.items() if text is not None}


def _mailboxes(texts: Iterable[str] | None) -> list[Mailbox]:
    return [parse_mailbox(text) for text in texts or ()]


def _report(tally: Tally) -> Report:
    sent = sorted(key.rpartition("#")[0] for key in tally.sent)
    failed = [Unsent(to=key.rpartition("#")[0], reason=reason) for key, reason in sorted(tally.failed.items())]
    return Report(sent_count=len(sent), failed_count=len(failed), sent=sent[:_NAMED], failed=failed[:_NAMED])
