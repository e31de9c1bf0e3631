"""What is told of a task while it happens."""

import json
from typing import Any

from client.site import Site, require


def task_is_streamed(site: Site) -> str:
    """A task is followed from its snapshot to its result, and taken up again after a break."""
    task_id = site.submit("demo.sleep", {"seconds": 2})
    path = f"/tasks/{task_id}/events"
    heard = _events(site, path)
    kinds = [event["event"] for event in heard]
    require(kinds[:1] == ["snapshot"], f"the stream began with {kinds[:1]}")
    require("progress" in kinds, f"no progress was told of, only {kinds}")
    end = heard[-1]["data"]
    require(
        kinds[-1] == "status" and end["status"] == "succeeded" and end["result"] == {"seconds": 2},
        f"the stream ended with {heard[-1]}",
    )
    again = _events(site, path, after=heard[1]["id"])
    require(again == heard[2:], f"after the second event {heard[2:]} was missed, and {again} came")
    return f"{len(heard)} events"


def minutes_are_counted(site: Site) -> str:
    """What has run stands in the figures of the last minutes."""
    site.final(site.submit("demo.echo"), status="succeeded")
    stats = site.get("/stats?minutes=5")
    if not stats["available"]:
        return "Redis is away"
    done = sum(minute["succeeded"] for minute in stats["items"])
    require(done > 0, "no task of the last minutes is counted")
    return f"{done} tasks in the last minutes"


def _events(site: Site, path: str, *, after: str = "") -> list[dict[str, Any]]:
    """All events until the stream ends."""
    headers = {"Last-Event-ID": after} if after else {}
    text = site.request("GET", path, expect=200, headers=headers).text
    blocks = (
        dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith((":", "retry")) and line)
        for block in text.split("\n\n")
    )
    return [{**block, "data": json.loads(block["data"])} for block in blocks if "data" in block]
