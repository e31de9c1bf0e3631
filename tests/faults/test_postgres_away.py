"""PostgreSQL goes away or hangs: nothing that was accepted is lost, and nobody is robbed afterwards."""

import asyncio
from time import monotonic

import pytest

from tests.faults.conftest import Report
from tests.faults.stack import STALE_S, Stack
from tests.faults.traffic import Answer, Traffic


async def test_submissions_are_refused_or_honoured_while_postgresql_restarts(
    stack: Stack, report_recovery: Report
) -> None:
    await stack.start(workers=2)
    postgres = stack.servers.postgres

    async with Traffic(stack, clients=5) as traffic:
        await traffic.more()
        await asyncio.to_thread(postgres.restart)
        await traffic.more()
        await asyncio.to_thread(postgres.kill)
        await _until_refused(stack, traffic)
        await asyncio.to_thread(postgres.start)
        back_at = monotonic()
        await traffic.more()
        report_recovery("submissions were accepted", back_at)
        postgres.pause()
        await _until_refused(stack, traffic)
        postgres.resume()
        back_at = monotonic()
        await traffic.more()

    await stack.audit()
    report_recovery("all tasks were done", back_at)
    _require_honest([*traffic.submissions, *traffic.reads])
    assert await stack.fetch("SELECT count(*) FROM tasks") == len(traffic.promised)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_nobody_is_robbed_after_postgresql_was_away_for_longer_than_the_staleness(
    stack: Stack, report_recovery: Report, how: str
) -> None:
    await stack.start(workers=2)
    postgres = stack.servers.postgres
    ids = await stack.submit_many(20, "trail.sleep", {"seconds": STALE_S})
    ids += await stack.submit_many(10, "trail.sleep", {"seconds": STALE_S * 2})
    await stack.until_all(ids, "running")

    await asyncio.to_thread(postgres.stop if how == "stopped" else postgres.pause)
    await asyncio.sleep(STALE_S * 1.25)  # the fault is that it lasts
    await asyncio.to_thread(postgres.start if how == "stopped" else postgres.resume)
    back_at = monotonic()

    await stack.audit()
    report_recovery("all tasks were done", back_at)
    assert await stack.attempts(ids) == {1: 30}


async def _until_refused(stack: Stack, traffic: Traffic) -> None:
    refused = _refused(traffic)
    await stack.until(lambda: _refused(traffic) > refused, 60, "a submission to be refused")


def _refused(traffic: Traffic) -> int:
    return sum(answer.status == 503 for answer in traffic.submissions)


def _require_honest(answers: list[Answer]) -> None:
    assert {answer.status for answer in answers} <= {200, 202, 503}
    assert all(answer.retry_after for answer in answers if answer.status == 503)
