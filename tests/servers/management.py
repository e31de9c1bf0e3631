"""RabbitMQ's management HTTP API, as far as tests need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx

_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What the management API tells of one queue. The counts lag by up to some seconds."""

    name: str
    type: str
    durable: bool
    messages: int
    messages_ready: int
    messages_unacknowledged: int
    consumers: int
    arguments: dict[str, Any]


class Management:
    """The management API of one broker.

    Args:
        url: `http://user:password@host:port`.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._user = unquote(parts.username or "guest")
        host = f"{parts.hostname}:{parts.port}"
        self._client = httpx.Client(
            base_url=urlunsplit((parts.scheme, host, parts.path.rstrip("/") + "/api", "", "")),
            auth=(self._user, unquote(parts.password or "guest")),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    def is_ready(self) -> bool:
        """Whether the API answers and knows us."""
        try:
            return self._client.get("/whoami").is_success
        except httpx.TransportError:
            return False

    def create_vhost(self, name: str) -> None:
        """Make a vhost and let our own user do everything in it."""
        vhost = quote(name, safe="")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._request("PUT", f"/vhosts/{vhost}")
        self._request("PUT", f"/permissions/{vhost}/{quote(self._user)}", json=everything)

    def delete_vhost(self, name: str) -> None:
        """Remove a vhost, if there is one, with its queues; their clients are disconnected."""
        answer = self._client.delete(f"/vhosts/{quote(name, safe='')}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def queues(self, vhost: str) -> dict[str, Queue]:
        """All queues of a vhost by their names."""
        rows = self._request("GET", f"/queues/{quote(vhost, safe='')}").json()
        return {row["name"]: _queue(row) for row in rows}

    def connections(self, vhost: str) -> list[str]:
        """The names of the connections to a vhost."""
        rows = self._request("GET", f"/vhosts/{quote(vhost, safe='')}/connections").json()
        return [row["name"] for row in rows]

    def close_connection(self, name: str) -> None:
        """Have the broker close a client's connection."""
        self._request("DELETE", f"/connections/{quote(name, safe='')}")

    def close(self) -> None:
        """Close our own connections."""
        self._client.close()

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, path, **options).raise_for_status()


def _queue(row: dict[str, Any]) -> Queue:
    return Queue(
        name=row["name"],
        type=row.get("type", "classic"),
        durable=row["durable"],
        # A queue that was declared a moment ago has no counts yet.
        messages=row.get("messages", 0),
        messages_ready=row.get("messages_ready", 0),
        messages_unacknowledged=row.get("messages_unacknowledged", 0),
        consumers=row.get("consumers", 0),
        arguments=row["arguments"],
    )
