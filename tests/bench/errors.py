"""What can go wrong with a system that is to be measured."""

from __future__ import annotations


class ContenderFailedError(Exception):
    """It didn't start, died, refused a task, or didn't finish in time.

    Args:
        name: Of the contender.
        what: What it did, as the rest of a sentence.
        remedy: What a person may do about it.
        log_tail: The end of what it printed.
    """

    def __init__(self, name: str, what: str, *, remedy: str, log_tail: str) -> None:
        super().__init__(f"{name} {what}. {remedy}\nThe end of its log:\n{log_tail or '(it printed nothing)'}")


class PeersError(Exception):
    """The hand-written services can't be had."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the hand-written services can't be run: {why}. PEERS names a folder with http_aiopika, http_celery and "
            "requirements/http.txt, whose packages pip must be able to get; without PEERS only Taskmill is measured"
        )
