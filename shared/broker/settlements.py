"""Which deliveries of a channel are in hand, and how to tell the broker of the others in few words."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What becomes of a delivery."""

    ACK = "ack"
    REJECT = "reject"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A verdict on the delivery `tag`, or on it and all before it that have none yet."""

    verdict: Verdict
    tag: int
    multiple: bool = False


class Settlements:
    """Gathers verdicts until they are sent. It can't outgrow the prefetch."""

    def __init__(self) -> None:
        # In the order of their tags, as they arrive: the first one is the oldest.
        self._in_hand: dict[int, None] = {}
        self._acked: list[int] = []
        self._others: list[Settlement] = []

    @property
    def in_hand(self) -> int:
        """How many deliveries have no verdict."""
        return len(self._in_hand)

    def arrived(self, tag: int) -> None:
        """A delivery came in."""
        self._in_hand[tag] = None

    def settle(self, tag: int, verdict: Verdict) -> bool:
        """Whether this is the first verdict on that delivery; later ones don't count."""
        if tag not in self._in_hand:
            return False
        del self._in_hand[tag]
        if verdict is Verdict.ACK:
            self._acked.append(tag)
        else:
            self._others.append(Settlement(verdict, tag))
        return True

    def take(self) -> list[Settlement]:
        """What to tell the broker now, in this order: a multiple ack relies on the refusals sent before it."""
        acked, self._acked = sorted(self._acked), []
        others, self._others = self._others, []
        oldest = next(iter(self._in_hand), None)
        covered = [tag for tag in acked if oldest is None or tag < oldest]
        if len(covered) > 1:
            others.append(Settlement(Verdict.ACK, covered[-1], multiple=True))
            acked = acked[len(covered) :]
        return others + [Settlement(Verdict.ACK, tag) for tag in acked]
