"""Which callback_urls are taken, and which addresses may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accepting.envelope import read_submission
from shared.domain.addresses import why_refused
from shared.domain.callback import callback_url_fault
from shared.errors import InvalidInputError


def fault(url: str, *, private_allowed: bool = False) -> str | None:
    return callback_url_fault(url, private_allowed=private_allowed)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com:8080/hook?a=1&b=%20#part",
        "HTTPS://Example.COM./",
        "https://xn--bcher-kva.example/",
        "https://my_service.example/",
        "http://8.8.8.8/",
        "http://[2606:4700::1111]:443/",
        "http://[64:ff9b::8.8.8.8]/",
        "http://receiver/",
        "https://example.com/" + "a" * 1980,
    ],
)
def test_a_public_address_is_taken(url: str) -> None:
    assert fault(url) is None
    assert read_submission({"type": "t", "callback_url": url}).callback_url == url


@pytest.mark.parametrize(
    "url, part",
    [
        ("", "must be an http"),
        ("example.com", "must be an http"),
        ("ftp://example.com", "must be an http"),
        ("file:///etc/passwd", "must be an http"),
        ("javascript:alert(1)", "must be an http"),
        ("http://", "must be an http"),
        ("http://exa mple.com", "must be an http"),
        ("http://example.com/\r\nHost: x", "must be an http"),
        ("http://example.com/\n", "must be an http"),
        ("http://example.com\\@other.example/", "must be an http"),
        ("http://bücher.example/", "must be an http"),
        ("http://example.com/\u2028", "must be an http"),
        ("http:///path", "must have a host"),
        ("http://:80/", "must have a host"),
        ("http://[::1", "must have a host"),
        ("http://example.com:0/", "must have a host"),
        ("http://example.com:65536/", "must have a host"),
        ("http://example.com:/", "must have a host"),
        ("http://example.com:http/", "must have a host"),
        ("http://user@example.com/", "user or password"),
        ("http://user:secret@example.com/", "user or password"),
        ("http://a..example/", "neither a name nor"),
        ("http://-a.example/", "neither a name nor"),
        ("http://a%2eexample/", "neither a name nor"),
        ("http://" + "a" * 64 + ".example/", "neither a name nor"),
        ("http://127.1/", "neither a name nor"),
        ("http://0x7f000001/", "neither a name nor"),
        ("http://0x7f.0.0.1/", "neither a name nor"),
        ("http://2130706433/", "neither a name nor"),
        ("http://0177.0.0.01/", "neither a name nor"),
        ("http://1.2.3.4.5/", "neither a name nor"),
        ("https://example.com/" + "a" * 1981, "2000 are allowed"),
    ],
)
def test_what_is_no_callback_url_is_refused_even_where_private_ones_are_allowed(url: str, part: str) -> None:
    assert part in str(fault(url))
    assert fault(url, private_allowed=True) == fault(url)


@pytest.mark.parametrize(
    "url, kind",
    [
        ("http://localhost/", "loopback"),
        ("http://LOCALHOST.:80/", "loopback"),
        ("http://app.localhost/", "loopback"),
        ("http://127.0.0.1/", "loopback"),
        ("http://127.255.255.255./", "loopback"),
        ("http://[::1]/", "loopback"),
        ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://[::ffff:7f00:1]/", "loopback"),
        ("http://[64:ff9b::7f00:1]/", "loopback"),
        ("http://[0:0:0:0:0:0:0:1]/", "loopback"),
        ("http://10.1.2.3/", "private"),
        ("http://172.31.0.1/", "private"),
        ("http://192.168.1.1/", "private"),
        ("http://100.64.0.1/", "private"),
        ("http://[fd00::1]/", "private"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://[fe80::1%25eth0]/", "link-local"),
        ("http://224.0.0.1/", "multicast"),
        ("http://[ff02::1]/", "multicast"),
        ("http://0.0.0.0/", "unspecified"),
        ("http://[::]/", "unspecified"),
        ("http://255.255.255.255/", "reserved"),
        ("http://192.0.2.1/", "reserved"),
        ("http://198.19.0.1/", "reserved"),
        ("http://[2002:7f00:1::]/", "reserved"),
        ("http://[2001::1]/", "reserved"),
        ("http://[64:ff9b:1::7f00:1]/", "reserved"),
        ("http://[::127.0.0.1]/", "reserved"),
    ],
)
def test_an_address_of_our_own_network_is_refused_unless_it_is_allowed(url: str, kind: str) -> None:
    assert f"an address that is {kind}" in str(fault(url))
    assert fault(url, private_allowed=True) is None


def test_the_fault_names_the_field_and_the_remedy() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_submission({"type": "t", "callback_url": "http://10.0.0.1/"}, "/tasks/3")

    [(place, message)] = caught.value.faults
    assert place == "/tasks/3/callback_url"
    assert "WEBHOOK_ALLOW_PRIVATE=on" in message


def test_where_private_ones_are_allowed_the_submission_is_taken() -> None:
    submission = read_submission({"type": "t", "callback_url": "http://localhost:9/"}, private_callbacks=True)

    assert submission.callback_url == "http://localhost:9/"


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    for url in (text, f"http://{text}", f"https://[{text}]/", f"http://a:{text}/"):
        callback_url_fault(url, private_allowed=False)


@given(st.ip_addresses())
def test_every_address_is_either_taken_or_refused(address: object) -> None:
    assert why_refused(str(address)) in (
        None, "loopback", "private", "link-local", "multicast", "unspecified", "reserved",
    )  # fmt: skip
