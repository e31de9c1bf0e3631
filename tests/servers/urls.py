"""Taking the addresses of servers apart."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit


def with_path(url: str, path: str) -> str:
    """The same server with another database, vhost or number behind the slash."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(path, safe='')}"))


def host_and_port(url: str, default_port: int) -> tuple[str, int]:
    """Where to connect to."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or default_port
