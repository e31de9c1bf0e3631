"""The stack that fault tests disturb."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.faults.stack import Stack
from tests.servers import FaultServers

#: Prints how long a recovery took: (what recovered, when the fault was over by the monotonic clock).
Report = Callable[[str, float], None]


@pytest.fixture
async def stack(fault_servers: FaultServers, tmp_path: Path) -> AsyncIterator[Stack]:
    """A Taskmill without processes yet, on servers in perfect order."""
    async with Stack(fault_servers, tmp_path) as whole:
        yield whole


@pytest.fixture
def report_recovery(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Report:
    """Print how long a recovery took."""

    def report(what: str, since: float) -> None:
        say(f"{request.node.name}: {what} {monotonic() - since:.1f} s after the fault")

    return report
