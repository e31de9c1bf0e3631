"""Statistics of columns of text: how many different values there are, and which are frequent, in bounded memory."""

import hashlib
from collections import Counter
from typing import Any, Final

#: Different values that are counted one by one; what is rare goes when there are more.
MAX_COUNTED: Final = 5_000
#: Frequent values that are told.
MAX_TOP: Final = 10
#: Hashes kept to estimate how many different values there are: the error is about 1 / sqrt(this), 3 %.
_HASHES: Final = 1024
#: Characters of a value that are kept.
_MAX_VALUE: Final = 100
_HASH_BYTES: Final = 8


class Texts:
    """The values of one column, counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._least_hashes: set[int] = set()
        self._greatest_kept = 256**_HASH_BYTES
        self._is_complete = True

    def add(self, value: str) -> None:
        """Take a value."""
        self._counts[value if len(value) <= _MAX_VALUE else _shortened(value)] += 1
        if len(self._counts) > MAX_COUNTED:
            self._forget_rare()

    def figures(self) -> dict[str, Any]:
        """`distinct`, whether it is an `exact` figure or an estimate, and the `top` values with their counts.

        Where it is an estimate, the counts are too: a value that came rarely at first may have been forgotten.
        """
        top = [{"value": value, "count": count} for value, count in self._counts.most_common(MAX_TOP)]
        return {"distinct": self._distinct(), "exact": self._is_complete, "top": top}

    def _distinct(self) -> int:
        if self._is_complete:
            return len(self._counts)
        for value in self._counts:
            self._keep_hash(value)
        # Bar-Yossef et al., "Counting distinct elements in a data stream" (2002): the k-th least of n hashes,
        # spread evenly from 0 to 1, lies at about k / n.
        kept = sorted(self._least_hashes)[:_HASHES]
        return round((len(kept) - 1) * 256**_HASH_BYTES / kept[-1])

    def _forget_rare(self) -> None:
        self._is_complete = False
        for value in self._counts:
            self._keep_hash(value)
        self._counts = Counter(dict(self._counts.most_common(MAX_COUNTED // 2)))

    def _keep_hash(self, value: str) -> None:
        hashed = int.from_bytes(hashlib.blake2b(value.encode(), digest_size=_HASH_BYTES).digest(), "big")
        if hashed < self._greatest_kept:
            self._least_hashes.add(hashed)
            if len(self._least_hashes) > 2 * _HASHES:
                kept = sorted(self._least_hashes)[:_HASHES]
                self._least_hashes, self._greatest_kept = set(kept), kept[-1]


def _shortened(value: str) -> str:
    # Long values that begin alike stay different.
    digest = hashlib.blake2b(value.encode(), digest_size=4).hexdigest()
    return f"{value[: _MAX_VALUE - 10]}… {digest}"
