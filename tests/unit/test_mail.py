"""Mailboxes and mail servers as people write them, letters, and the tally of a mailing."""

import asyncio
import email
from datetime import UTC, datetime
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accepting.catalogue import compile_type
from shared.domain.mail import Mailbox, MailServer, parse_mail_server, parse_mailbox
from shared.errors import InvalidInputError
from worker_service.library.mail.letters import Letter, LetterFaultError, compose, message_id
from worker_service.library.mail.mailing import Tally, recipients_of
from worker_service.library.mail.templates import RendererLostError, Templates
from worker_service.library.notifications import email as email_task
from worker_service.library.notifications import email_bulk
from worker_service.registry import registry

ADA = Mailbox("Ada", "ada@example.org")


@pytest.mark.parametrize(
    "text, mailbox",
    [
        ("ada@example.org", Mailbox("", "ada@example.org")),
        ("root@localhost", Mailbox("", "root@localhost")),
        ("a.b+c_d'e@x-y.example", Mailbox("", "a.b+c_d'e@x-y.example")),
        ("Ada Lovelace <ada@example.org>", Mailbox("Ada Lovelace", "ada@example.org")),
        ('"Lovelace, Ada" <ada@example.org>', Mailbox("Lovelace, Ada", "ada@example.org")),
        ("Čapek, K. (R.U.R.) <k@bücher.example>", Mailbox("Čapek, K. (R.U.R.)", "k@bücher.example")),
        ("bob@x.example <ada@example.org>", Mailbox("bob@x.example", "ada@example.org")),
    ],
)
def test_a_mailbox_is_read(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@example.org", "ada@", "a@b@c", "a b@example.org", "ada@example.org, bob@example.org",
        "ada@example.org\n", "ada@example.org\r\nBcc: x@y", "Ada\n<ada@example.org>", "A\x00da <ada@example.org>",
        "Ada\u2028 <ada@example.org>", "Ada\x85 <ada@example.org>", "Ada <<ada@example.org>>", "<ada@example.org>",
        "Ada <ada@example.org> x", "ada@example..org", "ada@.example.org", "ada@exa_mple.org", "ada@[127.0.0.1]",
        '"a b"@example.org', "a@" + "b" * 64, "x" * 65 + "@example.org", "N" * 201 + " <ada@example.org>",
        "a@" + ".".join(["b" * 60] * 5),
    ],
)  # fmt: skip
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_mailbox(text)


@pytest.mark.parametrize(
    "url, server",
    [
        ("smtp://mail.example.org", MailServer(host="mail.example.org", port=25)),
        ("smtp://localhost:8025/", MailServer(host="localhost", port=8025)),
        ("smtp://[::1]:25", MailServer(host="::1", port=25)),
        ("smtps://mail.example.org", MailServer(host="mail.example.org", port=465, tls="from_start")),
        ("smtp://h?starttls=off", MailServer(host="h", port=25, tls="off")),
        ("smtp://h?starttls=required", MailServer(host="h", port=25, tls="required")),
        ("smtp://h?starttls=auto", MailServer(host="h", port=25)),
        ("smtp://u%40x:p%2F%3A%40%25@h", MailServer(host="h", port=587, username="u@x", password="p/:@%")),
        ("smtp://user@h:26", MailServer(host="h", port=26, username="user")),
    ],
)
def test_a_mail_server_is_read(url: str, server: MailServer) -> None:
    assert parse_mail_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://:25", "smtp://h:0", "smtp://h:99999",
        "smtp://h:s3cret", "smtp://user:s3cret@", "smtp://:s3cret@h", "smtp://user:s3cret@h/path", "smtp://h?tls=s3cret",
        "smtp://h?starttls=s3cret", "smtps://h?starttls=off", "smtp://user:s3cret@h#x", "smtp://h h", "smtp://[::1",
        "smtp://user:s3cret@h?x",
    ],
)  # fmt: skip
def test_what_is_no_mail_server_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="smtp") as caught:
        parse_mail_server(url)

    assert "s3cret" not in str(caught.value)


def test_a_mail_server_shows_no_password() -> None:
    assert "s3cret" not in repr(parse_mail_server("smtp://user:s3cret@h"))


# Payloads .............................................................................


def places(handler: Any, payload: dict[str, Any]) -> dict[str, str]:
    """What the API says to a payload."""
    try:
        compile_type(registry.of(handler).info).require_valid(payload, 100, at="/payload")
    except InvalidInputError as error:
        return dict(error.faults)
    return {}


@pytest.mark.parametrize("handler", [email_task, email_bulk])
def test_the_example_is_accepted(handler: Any) -> None:
    assert places(handler, registry.of(handler).info.example) == {}


@pytest.mark.parametrize(
    "changes, place",
    [
        ({"to": "ada"}, "/payload/to"),
        ({"to": []}, "/payload/to"),
        ({"to": ["ada@example.org", "bob"]}, "/payload/to/1"),
        ({"to": "ada@example.org\r\nBcc: x@example.org"}, "/payload/to"),
        ({"to": "ada@example.org, bob@example.org"}, "/payload/to"),
        ({"cc": "ada"}, "/payload/cc"),
        ({"bcc": 1}, "/payload/bcc"),
        ({"from": "me"}, "/payload/from"),
        ({"reply_to": "me\n"}, "/payload/reply_to"),
        ({"subject": "a\nb"}, "/payload/subject"),
        ({"subject": ""}, "/payload/subject"),
        ({"text": ""}, "/payload/text"),
        ({"variables": []}, "/payload/variables"),
        ({"txet": "x"}, "/payload/txet"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_the_api_and_names_the_place(
    changes: dict[str, Any], place: str
) -> None:
    payload = {"to": "ada@example.org", "subject": "s", "text": "t", **changes}

    assert list(places(email_task, payload)) == [place]


def test_a_letter_has_text_or_html() -> None:
    assert places(email_task, {"to": "ada@example.org", "subject": "s"}) == {"/payload/text": "is required"}
    assert places(email_task, {"to": "ada@example.org", "subject": "s", "html": "h"}) == {}
    assert places(email_bulk, {"recipients": [{"to": "ada@example.org"}], "subject": "s"}) == {
        "/payload/text": "is required"
    }


def test_a_pattern_is_explained_by_its_example_behind_a_reference_too() -> None:
    [message] = places(email_bulk, {"recipients": [{"to": "ada"}], "subject": "s", "text": "t"}).values()

    assert message == 'must look like "Ada Lovelace <ada@example.org>"'


# Letters ..............................................................................


def letter(**changes: Any) -> Letter:
    fields: dict[str, Any] = {
        "sender": Mailbox("Shop", "shop@example.org"),
        "to": [ADA],
        "subject": "Hello",
        "text": "Hi\n",
        "html": None,
        "message_id": "<1@example.org>",
        "sent_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Letter(**{**fields, **changes})


@given(st.text(max_size=300), st.text(max_size=80), st.text(max_size=300))
def test_no_text_makes_a_header_of_its_own(subject: str, name: str, text: str) -> None:
    try:
        mailbox = parse_mailbox(f"{name} <ada@example.org>")
        raw = compose(letter(subject=subject, to=[mailbox], text=text))
    except (ValueError, LetterFaultError):
        return

    headers = email.message_from_bytes(raw, policy=default).keys()
    expected = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"}
    assert set(headers) - {"Content-Type", "Content-Transfer-Encoding"} == expected
    assert len(headers) == len(set(headers))


@pytest.mark.parametrize("subject", ["a\nb", "a\rb", "a\x0bb", "a\x85b", "a\u2028b", "a\n", "x" * 999])
def test_a_subject_is_one_line(subject: str) -> None:
    with pytest.raises(LetterFaultError, match="subject"):
        compose(letter(subject=subject))


@pytest.mark.parametrize("changes", [{"text": "\ud800"}, {"subject": "\ud800"}, {"html": "\udfff"}])
def test_half_a_character_is_a_fault_of_the_letter(changes: dict[str, Any]) -> None:
    with pytest.raises(LetterFaultError):
        compose(letter(**changes))


def test_a_message_id_is_the_same_in_every_attempt_and_for_nobody_else() -> None:
    first = message_id("task", ADA, "ada@example.org#1")

    assert first == message_id("task", ADA, "ada@example.org#1")
    assert (
        len({first, message_id("task", ADA, "ada@example.org#2"), message_id("other", ADA, "ada@example.org#1")}) == 3
    )


async def test_a_renderer_that_is_killed_is_no_fault_of_the_template() -> None:
    async with Templates({"text": "Dear {{ name }}"}) as templates:
        assert await templates.render({"name": "Ada"}) == {"text": "Dear Ada"}
        [process] = [value for value in vars(templates).values() if isinstance(value, asyncio.subprocess.Process)]
        process.terminate()  # which it does not mind
        assert await templates.render({"name": "Bob"}) == {"text": "Dear Bob"}

        process.kill()

        with pytest.raises(RendererLostError):
            await templates.render({"name": "Eve"})


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_the_renderer_knows_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://user:s3cret@h")
    async with Templates({"text": "{{ 1 }}"}) as templates:
        await templates.render({})
        [process] = [value for value in vars(templates).values() if isinstance(value, asyncio.subprocess.Process)]

        environment = environment_of(process.pid)

    assert b"PATH" in environment
    assert b"s3cret" not in environment
    assert process.returncode == 0


# The tally ............................................................................


def test_what_is_marked_is_left_out() -> None:
    ada, bob, again = recipients_of([ADA, Mailbox("", "bob@example.org"), ADA])

    tally = Tally.from_marks([f"sent {ada.key}", f"failed {bob.key} 550 no such user", "somebody else's mark"])

    assert tally.open_among([ada, bob, again]) == [again]
    assert tally.failed == {bob.key: "550 no such user"}


def test_keys_last_when_a_person_takes_somebody_out_and_replays() -> None:
    before = recipients_of([Mailbox("", "wrong@example.org"), ADA, ADA])
    after = recipients_of([ADA, ADA])

    assert [one.key for one in before[1:]] == [one.key for one in after]
