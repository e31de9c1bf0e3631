"""Durations in buckets, and percentiles of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.durations import bucket_of, percentile

DAYS = 86_400.0


def counted(durations: list[float]) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for seconds in durations:
        buckets[bucket_of(seconds)] = buckets.get(bucket_of(seconds), 0) + 1
    return buckets


@pytest.mark.parametrize(
    "seconds, bucket", [(-5, 0), (0, 0), (0.001, 0), (0.0011, 1), (0.002, 4), (0.004, 8), (1.024, 40)]
)
def test_a_duration_is_in_the_bucket_that_it_ends(seconds: float, bucket: int) -> None:
    assert bucket_of(seconds) == bucket


def test_the_last_bucket_takes_everything_beyond() -> None:
    assert bucket_of(60 * DAYS) == bucket_of(10_000 * DAYS) == 128


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({7: 0}, 0.5) is None


def test_the_median_and_the_tail_of_a_mixture() -> None:
    buckets = counted([0.01] * 90 + [10.0] * 10)

    assert percentile(buckets, 0.5) == pytest.approx(0.01, rel=0.2)
    assert percentile(buckets, 0.95) == pytest.approx(10, rel=0.2)


@given(st.lists(st.floats(0.002, 30 * DAYS), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_off_by_less_than_a_fifth(durations: list[float], share: float) -> None:
    at_share = sorted(durations)[max(0, -(-len(durations) * share // 1).__int__() - 1)]

    found = percentile(counted(durations), share)

    assert found == pytest.approx(at_share, rel=0.2)


@given(st.dictionaries(st.integers(0, 128), st.integers(1, 10**9), min_size=1))
def test_percentiles_do_not_fall(buckets: dict[int, int]) -> None:
    found = [percentile(buckets, share) or 0 for share in (0.01, 0.5, 0.95, 1)]

    assert found == sorted(found)
