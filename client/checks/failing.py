"""Attempts that fail, and tasks that have used up theirs."""

from typing import Any

from client.site import DoesNotHoldError, Site, problem_of, require


def failure_is_retried(site: Site) -> str:
    """Two failures, then success: the attempts are counted and the errors kept."""
    task = site.final(site.submit("demo.fail", {"times": 2}), status="succeeded")
    require(task["attempt"] == 3, f"it succeeded in attempt {task['attempt']} instead of 3")
    require(len(task["errors"]) == 2, f"it has {len(task['errors'])} errors instead of 2")
    require(task["result"] == {"attempt": 3}, f"the result is {task['result']!r}")
    return "3 attempts"


def dead_letter_is_replayed(site: Site) -> str:
    """The replayed task runs again, with its attempts renewed, and its letter is gone."""
    task_id = _die(site, times=2)
    letter = _letter_of(site, task_id)
    alone = site.get(f"/dead-letters/{letter['id']}")
    require(alone["task_id"] == task_id, f"the letter alone is about {alone['task_id']}")

    replay = site.ask("POST", f"/dead-letters/{letter['id']}/replay")
    require(replay.is_success, f"the replay was answered {replay.status_code}: {replay.text[:200]}")
    # The numbers of attempts go on: the third one succeeds.
    task = site.final(task_id, status="succeeded")
    require(task["attempt"] == 3, f"it succeeded in attempt {task['attempt']} instead of 3")
    _require_gone(site, letter)
    return ""


def dead_letter_is_discarded(site: Site) -> str:
    """The letter goes, its task stays failed."""
    task_id = _die(site, times=99)
    letter = _letter_of(site, task_id)
    discard = site.ask("DELETE", f"/dead-letters/{letter['id']}")
    require(discard.is_success, f"the discard was answered {discard.status_code}: {discard.text[:200]}")
    _require_gone(site, letter)
    status = site.task(task_id)["status"]
    require(status == "failed", f"its task is {status}")
    return ""


def _die(site: Site, *, times: int) -> str:
    task_id = site.submit("demo.fail", {"times": times}, max_attempts=2)
    task = site.final(task_id, status="failed")
    require(len(task["errors"]) == 2, f"it has {len(task['errors'])} errors after 2 attempts")
    require(bool(task["error"] and task["error"]["message"]), "it says no reason")
    return task_id


def _require_gone(site: Site, letter: dict[str, Any]) -> None:
    problem_of(site.ask("GET", f"/dead-letters/{letter['id']}"), status=404)
    site.letters.discard(letter["id"])


def _letter_of(site: Site, task_id: str) -> dict[str, Any]:
    for letter in site.items("/dead-letters?type=demo.fail"):
        if letter["task_id"] == task_id:
            site.letters.add(str(letter["id"]))
            return letter
    raise DoesNotHoldError(f"/dead-letters does not list the failed task {task_id}")
