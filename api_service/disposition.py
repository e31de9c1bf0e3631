"""The name of a file in a `Content-Disposition` header (RFC 6266), both ways."""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from shared.domain.artifact import is_name, require_name
from shared.errors import ArtifactNameError, InvalidInputError

_TOKEN: Final = r"[A-Za-z0-9!#$%&'+.^_`|~-]+"
_TYPE: Final = re.compile(rf"[ \t]*{_TOKEN}[ \t]*")
_PARAMETER: Final = re.compile(
    rf";[ \t]*(?P<name>{_TOKEN}\*?)[ \t]*=[ \t]*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s;\"]+))[ \t]*"
)
_EXTENDED: Final = re.compile(r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'([A-Za-z0-9!#$&+.^_`|~%-]*)", re.IGNORECASE)
_HEADER: Final = "Content-Disposition"


def file_name(header: str | None) -> str | None:
    """The name that a header gives a file, or None.

    Raises:
        InvalidInputError: The header can't be read, or nothing here can be called so.
    """
    if header is None:
        return None
    parameters = _parameters(header)
    if "filename*" in parameters:
        name = _extended(parameters["filename*"])
    elif "filename" in parameters:
        name = _plain(parameters["filename"])
    else:
        return None
    try:
        require_name(name)
    except ArtifactNameError as error:
        raise InvalidInputError([(_HEADER, str(error))]) from None
    return name


def attachment(name: str | None) -> str:
    """The header of an answer that is to be saved, not shown."""
    if name is None or not is_name(name):
        return "attachment"
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _parameters(header: str) -> dict[str, str]:
    start = _TYPE.match(header)
    position = start.end() if start else -1
    parameters: dict[str, str] = {}
    while 0 <= position < len(header):
        found = _PARAMETER.match(header, position)
        if found is None:
            position = -1
            break
        quoted = found["quoted"]
        value = found["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters.setdefault(found["name"].lower(), value)
        position = found.end()
    if position < 0:
        raise InvalidInputError([(_HEADER, 'must be like attachment; filename="report.csv"')])
    return parameters


def _plain(value: str) -> str:
    # Headers are Latin-1 by the letter, but what sends other characters mostly sends UTF-8.
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _extended(value: str) -> str:
    match = _EXTENDED.fullmatch(value)
    if match is not None:
        try:
            return unquote_to_bytes(match[2]).decode(match[1])
        except UnicodeError:
            pass
    raise InvalidInputError([(_HEADER, "filename* must be like UTF-8''report%20one.csv")])
