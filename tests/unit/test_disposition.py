"""File names in Content-Disposition headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_service.disposition import attachment, file_name
from shared.domain.artifact import is_name
from shared.errors import InvalidInputError


@pytest.mark.parametrize(
    "header, expected",
    [
        (None, None),
        ("attachment", None),
        ("inline", None),
        ('attachment; filename="a b.csv"', "a b.csv"),
        ("attachment; filename=plain.csv", "plain.csv"),
        ("attachment;filename=a.csv;size=3", "a.csv"),
        (r'attachment; filename="a \"b\".csv"', 'a "b".csv'),
        ("attachment; filename*=UTF-8''t%C3%A4ble%20%e2%82%ac.csv", "täble €.csv"),
        ("attachment; filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ("attachment; filename=\"fallback.csv\"; filename*=UTF-8''real.csv", "real.csv"),
        ("form-data; name=\"x\"; FileName=\"a.csv\"", "a.csv"),
        ('attachment; filename="tÃ¤st.csv"', "täst.csv"),  # UTF-8 that was read as Latin-1
        ('attachment; filename="caf\xe9.csv"', "café.csv"),
    ],
)  # fmt: skip
def test_the_name_is_found(header: str | None, expected: str | None) -> None:
    assert file_name(header) == expected


@pytest.mark.parametrize(
    "header",
    ["", ";", "attachment; filename", "attachment; filename=", 'attachment; filename="', "attachment; =a", "a b c",
     'attachment; filename="../../etc/passwd"', 'attachment; filename=".."', 'attachment; filename=".profile"',
     'attachment; filename="a/b"', r'attachment; filename="C:\\fake\\a.png"', 'attachment; filename=""',
     "attachment; filename*=UTF-8''%00",
     "attachment; filename*=UTF-8''%2e%2e%2fx", "attachment; filename*=UTF-8''%ff",
     "attachment; filename*=rot13''x", "attachment; filename*=plain.csv", f'attachment; filename="{"x" * 201}"',
     'attachment; filename="a\x7fb"'],
)  # fmt: skip
def test_a_name_that_leads_somewhere_or_can_t_be_read_is_refused_by_the_header_s_name(header: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        file_name(header)

    assert caught.value.faults[0][0] == "Content-Disposition"


@given(st.text())
def test_any_header_gives_a_safe_name_or_a_fault(header: str) -> None:
    for text in (
        header,
        f"attachment; {header}",
        f'attachment; filename="{header}"',
        f"a; filename*=UTF-8''{header}",
    ):
        try:
            name = file_name(text)
        except InvalidInputError:
            continue
        assert name is None or is_name(name)


@given(st.text(min_size=1).filter(is_name))
def test_what_is_written_can_be_read(name: str) -> None:
    header = attachment(name)

    assert header.isascii()
    assert file_name(header) == name
