"""Is it there: the API, what it stands on, and the workers."""

import time
from typing import Any, Final

from client.site import DoesNotHoldError, Site, json_of, require

_WANTED_TYPES: Final = frozenset({"demo.cpu", "demo.echo", "demo.fail", "demo.sleep"})
_POLL_S: Final = 0.5


def is_alive(site: Site) -> str:
    """`/health` and `/health/live` answer."""
    health = site.get("/health")
    require(health.get("status") == "ok", f"/health says {health}")
    site.request("GET", "/health/live", expect=200)
    return ""


def is_ready(site: Site) -> str:
    """`/health/ready` answers 200. What it says of each component is shown in any case."""
    answer = site.ask("GET", "/health/ready")
    components = ", ".join(_component(*item) for item in json_of(answer).get("components", {}).items())
    require(answer.status_code == 200, f"/health/ready answered {answer.status_code}: {components}")
    return components


def types_are_announced(site: Site) -> str:
    """The demonstration types are there. A stack that has just started is given time to announce them."""
    until = time.monotonic() + site.patience_s
    while missing := _WANTED_TYPES - (types := {item["name"] for item in site.get("/task-types")["items"]}):
        if time.monotonic() > until:
            raise DoesNotHoldError(f"no worker has announced {', '.join(sorted(missing))}: is a worker running?")
        time.sleep(_POLL_S)
    return f"{len(types)} types"


def workers_and_queues_are_shown(site: Site) -> str:
    """At least one worker lives, and the queue of the demonstration tasks has a consumer."""
    workers = [worker for worker in site.items("/workers") if not worker["stale"]]
    require(bool(workers), "/workers shows no live worker")
    queues = {queue["name"]: queue for queue in site.items("/queues")}
    queue = next(item["queue"] for item in site.items("/task-types") if item["name"] == "demo.echo")
    require(queue in queues, f"/queues does not show {queue!r} but {sorted(queues)}")
    require(queues[queue]["consumers"] > 0, f"queue {queue!r} has no consumers")
    return f"{len(workers)} live workers, {len(queues)} queues"


def _component(name: str, facts: Any) -> str:
    latency_ms = facts.get("latency_ms")
    return f"{name} {facts.get('state')}" + ("" if latency_ms is None else f" in {latency_ms:.0f} ms")
