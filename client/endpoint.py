"""Where Taskmill is, and who asks."""

import os
from typing import Final

import httpx

from client.errors import InvalidError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
URL_VARIABLE: Final = "TASKMILL_URL"
#: On a command line everybody on the machine could read it.
KEY_VARIABLE: Final = "TASKMILL_API_KEY"


def base_url(given: str | None) -> httpx.URL:
    """The address of a Taskmill: what is given, or else the environment's, or else this machine's.

    Raises:
        InvalidError: It is no address.
    """
    text = given or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidError(f"{text!r} is no URL: {error}", code="url") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidError(f"{text!r} is no URL like {DEFAULT_URL}", code="url")
    return url


def headers(api_key: str | None) -> dict[str, str]:
    """What every request carries.

    Raises:
        InvalidError: The key holds what no header can.
    """
    key = api_key or os.environ.get(KEY_VARIABLE)
    named = {"User-Agent": "taskmill-client", "Accept": "application/json"}
    if not key:
        return named
    if not (key.isascii() and key.isprintable()):
        raise InvalidError("the API key holds characters that no key has: was it copied whole?", code="api_key")
    return {**named, "Authorization": f"Bearer {key}"}
