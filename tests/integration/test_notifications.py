"""Mail, by a real worker to a real mail server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from shared.domain.mail import Mailbox, parse_mail_server
from shared.domain.status import is_final
from shared.domain.task import TaskRecord
from tests.builders import eventually, execute
from tests.mailserver import Mailroom
from tests.workers import Neighbours, Worker, run_worker
from worker_service.library import BUILT_IN
from worker_service.registry import import_task_modules
from worker_service.system import Outbound

EMAIL, BULK = "notifications.email", "notifications.email_bulk"
SENDER = Mailbox("Shop", "shop@example.org")

import_task_modules(BUILT_IN)


@pytest.fixture
async def room() -> AsyncIterator[Mailroom]:
    async with Mailroom() as opened:
        yield opened


def worker_for(
    url: str, port: int, *, login: str = "", neighbours: Neighbours | None = None, **changes: Any
) -> AbstractAsyncContextManager[Worker]:
    outbound = {"mail_server": parse_mail_server(f"smtp://{login}127.0.0.1:{port}"), "mail_from": SENDER, **changes}
    return run_worker(neighbours or Neighbours(url), outbound=Outbound(**outbound))


@pytest.fixture
async def worker(database_url: str, room: Mailroom) -> AsyncIterator[Worker]:
    async with worker_for(database_url, room.port) as running:
        yield running


async def submit(worker: Worker, type_: str, payload: dict[str, Any], **fields: Any) -> UUID:
    return await worker.submit(type_, json.dumps(payload), **fields)


async def done(worker: Worker, type_: str, payload: dict[str, Any], **fields: Any) -> TaskRecord:
    return await worker.final(await submit(worker, type_, payload, **fields))


async def hurried(worker: Worker, task_id: UUID) -> TaskRecord:
    """The task when it is final, its retries without pauses."""

    async def is_there() -> bool:
        await execute(
            worker.store, "UPDATE tasks SET run_at = now() WHERE id = :id AND status = 'retrying'", id=task_id
        )
        return is_final((await worker.store.tasks.get(task_id)).status)

    await eventually(is_there, within_s=60)
    return await worker.store.tasks.get(task_id)


def letter(**fields: Any) -> dict[str, Any]:
    return {"to": "ada@example.org", "subject": "Hello", "text": "Hi\n", **fields}


def mailing(number: int, **fields: Any) -> dict[str, Any]:
    recipients = [{"to": f"user{n}@example.org", "variables": {"n": n}} for n in range(number)]
    texts = {"subject": "News {{ n }}", "text": "For {{ n }}\n"}
    return {"recipients": recipients, **texts, "per_second": 1000, **fields}


def result_of(task: TaskRecord) -> Any:
    assert task.status == "succeeded", task.error
    return json.loads(task.result or "null")


def reason_of(task: TaskRecord) -> str:
    assert task.status == "failed", task.result
    message: str = json.loads(task.error or "{}")["message"]
    return message


def text_of(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


# One letter ...........................................................................


async def test_a_letter_arrives_as_it_was_meant(worker: Worker, room: Mailroom) -> None:
    payload = letter(
        to=["Ada Lovelace <ada@example.org>", "bob@example.org"],
        cc="Čapek, Karel <karel@example.org>",
        bcc="secret@example.org",
        reply_to="help@example.org",
        subject="Grüße an {{ name }} 🎉",
        text="Liebe {{ name }},\nalles < gut.\n",
        html="<p>Liebe {{ name }}</p>",
        variables={"name": "Ada & Søren"},
    )

    task = await done(worker, EMAIL, payload)

    [delivered] = room.delivered
    message = delivered.message
    assert message["Subject"] == "Grüße an Ada & Søren 🎉"
    assert message["From"] == "Shop <shop@example.org>"
    assert [str(one) for one in message["To"].addresses] == ["Ada Lovelace <ada@example.org>", "bob@example.org"]
    assert [one.display_name for one in message["Cc"].addresses] == ["Čapek, Karel"]
    assert message["Reply-To"] == "help@example.org"
    assert "secret" not in delivered.content.decode()
    assert text_of(message, "plain") == "Liebe Ada & Søren,\nalles < gut.\n"
    assert text_of(message, "html") == "<p>Liebe Ada &amp; Søren</p>\n"
    assert message["Message-ID"].startswith(f"<{task.id}@example.org>")
    assert delivered.content.isascii()
    everybody = ["ada@example.org", "bob@example.org", "karel@example.org", "secret@example.org"]
    assert sorted(delivered.recipients) == everybody
    assert result_of(task) == {"sent_count": 4, "failed_count": 0, "sent": everybody, "failed": []}


async def test_a_letter_names_its_own_sender(worker: Worker, room: Mailroom) -> None:
    await done(worker, EMAIL, letter(**{"from": "Billing <billing@example.org>"}))

    [delivered] = room.delivered
    assert delivered.message["From"] == "Billing <billing@example.org>"
    assert delivered.sender == "billing@example.org"


async def test_international_addresses_are_understood(worker: Worker, room: Mailroom) -> None:
    task = await done(worker, EMAIL, letter(to=["søren@bücher.example", "plain@bücher.example"]))

    assert result_of(task)["sent_count"] == 2
    assert sorted(room.recipients) == ["plain@xn--bcher-kva.example", "søren@xn--bcher-kva.example"]


async def test_a_server_without_smtputf8_refuses_what_it_can_not_take(database_url: str) -> None:
    async with Mailroom(utf8=False) as room, worker_for(database_url, room.port) as worker:
        task = await done(worker, EMAIL, letter(to="søren@example.org"))

    assert "SMTPUTF8" in reason_of(task)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "{{ x }}", "variables": {"x": "Hello\r\nBcc: all@example.org"}},
        {"subject": "{{ x }}", "variables": {"x": "Hello\nX: y"}},
        {"subject": "{{ x }}", "variables": {"x": "Hello\u2028X: y"}},
        {"subject": "{{ x }}", "variables": {"x": "\x00"}},
        {"to": "ada@example.org\r\nBcc: all@example.org"},
        {"to": "Ada\r\nBcc: all@example.org <ada@example.org>"},
        {"to": "Ada\u2028Bcc <ada@example.org>"},
        {"to": "ada@example.org> SIZE=1 <"},
        {"reply_to": "help@example.org\nX: y"},
        {"from": "shop@example.org\r\nX: y"},
    ],
    ids=str,
)
async def test_nobody_slips_a_header_in(worker: Worker, room: Mailroom, fields: dict[str, Any]) -> None:
    task = await done(worker, EMAIL, letter(**fields))

    assert reason_of(task)
    assert task.attempt == 1
    assert room.delivered == []


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"text": "Dear {{ name }}"}, "text: 'name' is undefined"),
        ({"subject": "{{ a.b }}", "variables": {"a": {}}}, "subject: 'dict object' has no attribute 'b'"),
        ({"text": "{% if %}"}, "text, line 1: "),
        ({"html": "\n{{ ''.__class__.__mro__ }}"}, "html: access to attribute '__class__'"),
        ({"text": "{% include '/etc/passwd' %}"}, "no loader"),
        ({"text": "{{ 'x' * 10 ** 9 }}"}, "text: needs more memory"),
        ({"text": "{% for n in range(9999) %}{{ 'x' * 9999 }}{% endfor %}"}, "text: becomes longer than"),
    ],
)
async def test_a_template_of_no_use_fails_for_good_and_says_why(
    worker: Worker, room: Mailroom, fields: dict[str, Any], reason: str
) -> None:
    task = await done(worker, EMAIL, letter(**fields))

    assert reason in reason_of(task)
    assert task.attempt == 1
    assert room.delivered == []


async def test_a_template_that_never_ends_is_ended_and_holds_nobody_up(worker: Worker, room: Mailroom) -> None:
    bomb = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    endless = await submit(worker, EMAIL, letter(text=bomb))

    assert result_of(await done(worker, EMAIL, letter(text="{{ 1 + 1 }}")))["sent_count"] == 1
    assert "takes too long" in reason_of(await worker.final(endless))


async def test_who_is_refused_for_good_is_named_and_the_others_get_it(worker: Worker, room: Mailroom) -> None:
    room.refusals["bob@example.org"] = "550 5.1.1 no such user"

    task = await done(worker, EMAIL, letter(to=["ada@example.org", "bob@example.org"]))

    assert result_of(task)["failed"] == [{"to": "bob@example.org", "reason": "550 5.1.1 no such user"}]
    assert room.recipients == ["ada@example.org"]


async def test_a_letter_that_nobody_can_get_is_a_dead_letter(worker: Worker, room: Mailroom) -> None:
    room.refusals["ada@example.org"] = "550 no such user"

    task = await done(worker, EMAIL, letter())

    assert "ada@example.org: 550 no such user" in reason_of(task)
    assert task.attempt == 1


async def test_who_is_to_be_tried_again_is_tried_alone(worker: Worker, room: Mailroom) -> None:
    room.refusals["bob@example.org"] = "450 greylisted"
    task_id = await submit(worker, EMAIL, letter(to=["ada@example.org", "bob@example.org"]))
    waiting = await worker.reaches(task_id, "retrying".__eq__)
    room.refusals = {}
    task = await hurried(worker, task_id)

    assert "bob@example.org: 450 greylisted" in str(waiting.error)
    assert result_of(task)["sent_count"] == 2
    assert [delivered.recipients for delivered in room.delivered] == [["ada@example.org"], ["bob@example.org"]]
    assert len({delivered.message["Message-ID"] for delivered in room.delivered}) == 1


async def test_a_letter_that_the_server_does_not_like_fails_for_good(worker: Worker, room: Mailroom) -> None:
    room.endings.append("554 this looks like spam")

    assert "554 this looks like spam" in reason_of(await done(worker, EMAIL, letter()))


async def test_a_server_that_is_away_is_tried_again(worker: Worker, room: Mailroom) -> None:
    room.close()
    task_id = await submit(worker, EMAIL, letter())
    await worker.reaches(task_id, "retrying".__eq__)

    await room.open()
    task = await hurried(worker, task_id)

    assert result_of(task)["sent_count"] == 1


# Settings .............................................................................


@pytest.mark.parametrize(
    "changes, remedy",
    [
        ({"mail_server": None}, "SMTP_URL"),
        ({"mail_from": None}, "SMTP_FROM"),
        ({"mail_server": None, "mail_from": None}, "SMTP_URL"),
    ],
)
async def test_what_is_not_set_is_named(
    database_url: str, room: Mailroom, changes: dict[str, Any], remedy: str
) -> None:
    async with worker_for(database_url, room.port, **changes) as worker:
        assert remedy in reason_of(await done(worker, EMAIL, letter()))


async def test_a_server_with_a_login_is_logged_in_to(database_url: str) -> None:
    async with Mailroom(login=("shop", "p@ss:word")) as room:
        async with worker_for(database_url, room.port, login="shop:p%40ss%3Aword@") as worker:
            assert result_of(await done(worker, EMAIL, letter()))["sent_count"] == 1
        async with worker_for(database_url, room.port, login="shop:wrong@") as worker:
            reason = reason_of(await done(worker, EMAIL, letter()))

    assert "correct SMTP_URL" in reason
    assert "wrong" not in reason


async def test_a_server_without_the_encryption_that_is_required_is_not_used(
    database_url: str, room: Mailroom
) -> None:
    server = parse_mail_server(f"smtp://127.0.0.1:{room.port}?starttls=required")
    async with worker_for(database_url, room.port, mail_server=server) as worker:
        assert "STARTTLS" in reason_of(await done(worker, EMAIL, letter()))

    assert room.delivered == []


# Mailings .............................................................................


async def test_each_recipient_gets_a_letter_of_their_own(worker: Worker, room: Mailroom) -> None:
    payload = mailing(20, variables={"n": "nobody", "shop": "Taskmill"}, text="{{ n }} from {{ shop }}\n")

    task = await done(worker, BULK, payload)

    texts = {d.recipients[0]: text_of(d.message, "plain") for d in room.delivered}
    assert texts == {f"user{n}@example.org": f"{n} from Taskmill\n" for n in range(20)}
    assert {str(d.message["To"]) for d in room.delivered} == set(texts)
    assert len({d.message["Message-ID"] for d in room.delivered}) == 20
    assert result_of(task)["sent_count"] == 20
    assert json.loads(task.progress or "{}")["message"] == "20 sent, 0 failed"


async def test_the_failure_of_one_is_that_one_s_alone(worker: Worker, room: Mailroom) -> None:
    room.refusals["user1@example.org"] = "550 no such user"
    room.endings.extend(["554 spam"])
    payload = mailing(6)
    payload["recipients"][4]["variables"] = {}
    payload["recipients"][5]["variables"] = {"n": "x\r\nBcc: all@example.org"}

    report = result_of(await done(worker, BULK, payload))

    assert report["sent"] == ["user2@example.org", "user3@example.org"]
    reasons = {failed["to"].partition("@")[0]: failed["reason"] for failed in report["failed"]}
    assert reasons == {
        "user0": "554 spam",
        "user1": "550 no such user",
        "user4": "subject: 'n' is undefined",
        "user5": "subject: must be one line, without control characters",
    }


async def test_an_address_that_stands_there_twice_gets_both_letters(worker: Worker, room: Mailroom) -> None:
    payload = mailing(2)
    payload["recipients"][1]["to"] = payload["recipients"][0]["to"]

    assert result_of(await done(worker, BULK, payload))["sent_count"] == 2
    assert sorted(str(d.message["Subject"]) for d in room.delivered) == ["News 0", "News 1"]


async def test_only_those_who_are_to_be_tried_again_are(worker: Worker, room: Mailroom) -> None:
    room.refusals["user1@example.org"] = "450 greylisted"
    room.refusals["user2@example.org"] = "550 no such user"
    task_id = await submit(worker, BULK, mailing(5))
    waiting = await worker.reaches(task_id, "retrying".__eq__)
    room.refusals = {}

    report = result_of(await hurried(worker, task_id))

    assert "1 have not got it yet: user1@example.org: 450 greylisted" in str(waiting.error)
    assert sorted(room.recipients) == [f"user{n}@example.org" for n in (0, 1, 3, 4)]
    assert (report["sent_count"], report["failed_count"]) == (4, 1)


async def test_a_server_that_takes_few_letters_a_connection_gets_several_connections(
    worker: Worker, room: Mailroom
) -> None:
    room.hang_up_after = 7
    room.pause_s = 0.02

    task = await done(worker, BULK, mailing(30))

    assert result_of(task)["sent_count"] == 30
    assert task.attempt == 1
    assert sorted(room.recipients) == sorted(f"user{n}@example.org" for n in range(30))


async def test_a_server_that_goes_away_midway_is_found_again_by_the_next_attempt(
    worker: Worker, room: Mailroom
) -> None:
    room.pause_s = 0.01
    task_id = await submit(worker, BULK, mailing(60))
    await room.takes(20)
    room.close()
    await worker.reaches(task_id, "retrying".__eq__)
    taken = len(room.recipients)
    await room.open()

    report = result_of(await hurried(worker, task_id))

    assert 20 <= taken < 60
    assert report["sent_count"] == 60
    assert set(room.recipients) == {f"user{n}@example.org" for n in range(60)}
    assert len(room.recipients) <= 61  # the one in flight may come twice


async def test_no_more_letters_than_allowed_are_sent_in_a_second(worker: Worker, room: Mailroom) -> None:
    began = asyncio.get_running_loop().time()

    await done(worker, BULK, mailing(11, per_second=20))

    assert asyncio.get_running_loop().time() - began > 0.45


async def test_a_deploy_in_the_middle_mails_nobody_twice(database_url: str, room: Mailroom) -> None:
    room.pause_s = 0.02
    neighbours = Neighbours(database_url)
    async with worker_for(database_url, room.port, neighbours=neighbours) as worker:
        task_id = await submit(worker, BULK, mailing(60))
        await room.takes(15)
        worker.hurry.set()
        await worker.stopped()
    async with worker_for(database_url, room.port, neighbours=neighbours) as worker:
        born = await worker.store.tasks.get(task_id)
        task = await hurried(worker, task_id)

    assert born.status in ("queued", "running")
    assert result_of(task)["sent_count"] == 60
    assert task.attempt == 1
    assert sorted(room.recipients) == sorted(f"user{n}@example.org" for n in range(60))
