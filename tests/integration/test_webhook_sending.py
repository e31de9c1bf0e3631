"""Sending a webhook to receivers of every kind: slow, broken, redirecting, or not where they should be."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.receiver import Receiver, status
from worker_service.library.webhook.resolving import RefusedAddressError, Resolve, resolve
from worker_service.library.webhook.sending import Answer, NoAnswerError, Sender

NAME = "receiver.example"
HEADERS = {"content-type": "application/json", "webhook-id": "1"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as listening:
        yield listening


def names(*addresses: str) -> Resolve:
    """A name server that knows one name, and counts nothing twice."""

    async def answer(host: str, port: int) -> list[str]:
        assert host == NAME
        return list(addresses)

    return answer


async def post(url: str, **sender: Any) -> Answer:
    return await Sender(**{"private_allowed": True, **sender}).post(url, b'{"a":1}', HEADERS)


async def test_the_request_is_what_was_asked_for(receiver: Receiver) -> None:
    answer = await post(receiver.url)

    [request] = receiver.received
    assert answer == Answer(204, None)
    assert request.line == "POST /hook?shop=7 HTTP/1.1"
    assert request.body == b'{"a":1}'
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == "1"


async def test_the_connection_goes_to_the_address_that_was_checked_under_the_name(receiver: Receiver) -> None:
    answer = await post(f"http://{NAME}:{receiver.port}/", resolve=names("127.0.0.1"))

    assert answer.status == 204
    assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["::1"]]
)
async def test_a_name_that_stands_for_a_private_address_is_refused(receiver: Receiver, addresses: list[str]) -> None:
    with pytest.raises(RefusedAddressError, match="only WEBHOOK_ALLOW_PRIVATE=on"):
        await post(f"http://{NAME}:{receiver.port}/", private_allowed=False, resolve=names(*addresses))

    assert receiver.received == []


async def test_a_private_address_itself_is_refused(receiver: Receiver) -> None:
    with pytest.raises(RefusedAddressError):
        await post(receiver.url, private_allowed=False)
    with pytest.raises(RefusedAddressError):
        await post(f"http://localhost:{receiver.port}/", private_allowed=False)
    with pytest.raises(RefusedAddressError):  # what the C library takes for an address
        await post(f"http://2130706433:{receiver.port}/", private_allowed=False)

    assert receiver.received == []


async def test_a_name_is_asked_for_once_so_that_it_can_not_change_its_mind(receiver: Receiver) -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) > 1 else ["127.0.0.1"]

    assert (await post(f"http://{NAME}:{receiver.port}/", resolve=rebinding)).status == 204
    assert asked == [NAME]


async def test_the_next_address_is_tried_where_nobody_listens(receiver: Receiver) -> None:
    answer = await post(f"http://{NAME}:{receiver.port}/", resolve=names("127.0.0.2", "127.0.0.1"))

    assert answer.status == 204


async def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver) -> None:
    receiver.answers.append(status(302, f"Location: {receiver.url}"))

    assert (await post(receiver.url)).status == 302
    assert len(receiver.received) == 1


async def test_what_the_receiver_asks_for_is_passed_on(receiver: Receiver) -> None:
    receiver.answers.append(status(429, "Retry-After: 17"))

    assert await post(receiver.url) == Answer(429, "17")


async def test_a_proxy_of_the_environment_is_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert (await post(receiver.url)).status == 204


# Receivers that misbehave .............................................................


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)


async def drip(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"z" * 1000 + b"\r\n")
        await writer.drain()


async def endless_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0.01)


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("act", [hang, drip, endless_hints], ids=lambda act: act.__name__)
async def test_no_receiver_holds_a_delivery_up(receiver: Receiver, act: Any) -> None:
    receiver.answers.append(act)

    with pytest.raises(NoAnswerError, match=r"no answer within 0\.5 s"):
        await post(receiver.url, total_s=0.5)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x00\xff garbage \r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 999999 X\r\n\r\n", reset, endless_headers],
    ids=["nothing", "garbage", "ssh", "status", "reset", "endless"],
)
async def test_what_is_no_http_is_no_answer(receiver: Receiver, answer: Any) -> None:
    receiver.answers.append(answer)

    with pytest.raises(NoAnswerError):
        await post(receiver.url, total_s=10)


async def test_of_a_huge_body_only_the_beginning_is_read(receiver: Receiver) -> None:
    written = 0

    async def huge(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while written < 1 << 30:
            writer.write(b"z" * 65536)
            await writer.drain()
            written += 65536

    receiver.answers.append(huge)

    assert (await post(receiver.url)).status == 200
    assert written < 1 << 26


async def test_a_body_that_never_ends_does_not_take_the_answer_back(receiver: Receiver) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        await asyncio.sleep(600)

    receiver.answers.append(half)

    assert (await post(receiver.url)).status == 200


async def test_a_body_that_claims_to_be_compressed_is_not_unpacked(receiver: Receiver) -> None:
    receiver.answers.append(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbomb")

    assert (await post(receiver.url)).status == 200


async def test_nobody_there_is_no_answer(receiver: Receiver) -> None:
    with pytest.raises(NoAnswerError):
        await post(f"http://{NAME}:{receiver.port}/", resolve=names("127.0.0.2"))


async def test_a_name_that_nobody_knows_is_no_answer() -> None:
    with pytest.raises(NoAnswerError, match="gaierror"):
        await post("http://no-such-host.invalid/")


async def test_the_systems_names_are_resolved() -> None:
    assert "127.0.0.1" in await resolve("localhost", 80)
    with pytest.raises(OSError):  # noqa: PT011 - its words are the system's
        await resolve("no-such-host.invalid", 80)


# TLS ..................................................................................


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for NAME, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
async def tls_receiver(certificate: Path) -> AsyncIterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Receiver(tls=context) as listening:
        yield listening


async def test_the_certificate_is_checked_against_the_name_not_the_address(
    tls_receiver: Receiver, certificate: Path
) -> None:
    trust = ssl.create_default_context(cafile=certificate)

    answer = await post(f"https://{NAME}:{tls_receiver.port}/", tls=trust, resolve=names("127.0.0.1"))

    assert answer.status == 204
    assert tls_receiver.received[0].headers["host"] == f"{NAME}:{tls_receiver.port}"


async def test_a_certificate_for_another_name_is_refused(tls_receiver: Receiver, certificate: Path) -> None:
    trust = ssl.create_default_context(cafile=certificate)

    with pytest.raises(NoAnswerError, match="CERTIFICATE_VERIFY_FAILED"):
        await post(f"https://127.0.0.1:{tls_receiver.port}/", tls=trust)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls_receiver: Receiver) -> None:
    with pytest.raises(NoAnswerError, match="CERTIFICATE_VERIFY_FAILED"):
        await post(f"https://{NAME}:{tls_receiver.port}/", resolve=names("127.0.0.1"))

    assert tls_receiver.received == []
