"""Which bytes a Range header asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_service.ranges import ByteRange, UnsatisfiableRangeError, read_range


@pytest.mark.parametrize(
    "header, expected",
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=3-", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-100", (0, 10)),
        ("bytes=9-999999999999999999999", (9, 10)),
        ("bytes= 1-2 ", (1, 3)),
    ],
)
def test_one_range_is_found(header: str, expected: tuple[int, int]) -> None:
    assert read_range(header, 10) == ByteRange(*expected)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=1.5-2",
     "bytes=٣-٤", "bytes=--1", "bytes=1-2-3", "BYTES=1-2x", "bytes=" + "9" * 31 + "-"],
)  # fmt: skip
def test_what_is_no_single_range_means_the_whole_file(header: str | None) -> None:
    assert read_range(header, 10) is None


@pytest.mark.parametrize("header, size", [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_that_has_nothing_is_refused(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        read_range(header, size)


@given(st.text(), st.integers(0, 1000))
def test_any_text_gives_bytes_that_are_there(text: str, size: int) -> None:
    for header in (text, f"bytes={text}", f"bytes={text}-", f"bytes=-{text}"):
        try:
            part = read_range(header, size)
        except UnsatisfiableRangeError:
            continue
        assert part is None or 0 <= part.start < part.stop <= size
