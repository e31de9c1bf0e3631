"""What an answer of a receiver means. Pure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

from shared.domain.callback import DELIVER_RETRY
from worker_service.errors import Permanent, Retry

#: Seconds that a receiver may ask us to wait.
_LONGEST_WAIT_S: Final = 24 * 3600.0
_ASK_TO_WAIT: Final = frozenset({429, 503})
_GONE: Final = 410


class NotTakenError(Exception):
    """The receiver answered, and did not take the webhook."""


def require_taken(status: int, retry_after: str | None, *, attempt: int, now: datetime, random: Random) -> None:
    """Do nothing if the receiver has taken the webhook.

    Args:
        status: The status of its answer.
        retry_after: Its header of that name.
        attempt: Number of the attempt.
        now: Aware time of the answer.
        random: Source of the jitter.

    Raises:
        Permanent: The receiver wants no such webhook any more.
        Retry: It asks to be called later.
        NotTakenError: It answered anything else; the policy says when to try again.
    """
    if 200 <= status < 300:
        return
    if status == _GONE:
        raise Permanent("the receiver answered 410 Gone: it wants no more webhooks there")
    if 300 <= status < 400:
        raise NotTakenError(
            f"the receiver answered {status}: redirects are not followed, name the new address itself"
        )
    asked_s = wait_asked_for(retry_after, now) if status in _ASK_TO_WAIT else None
    if asked_s is None:
        raise NotTakenError(f"the receiver answered {status}")
    # Never sooner than without being asked: a receiver that says 0 would use up all attempts at once.
    wait_s = max(min(asked_s, _LONGEST_WAIT_S), DELIVER_RETRY.delay_s(attempt, random))
    raise Retry(f"the receiver answered {status} and asked to wait {asked_s:g} s", after=wait_s)


def wait_asked_for(retry_after: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for; None if it asks for nothing that can be understood."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
