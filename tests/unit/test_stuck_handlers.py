"""A process that is told to stop ends, whatever handlers it has left."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, threading, uvloop
from worker_service.service import run_past_stuck_handlers

async def swallow():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

class Service:
    async def run(self):
        {leave}
        await asyncio.sleep(0.1)
    def has_stuck_handlers(self):
        return {stuck}

uvloop.run(run_past_stuck_handlers(Service()))
print("ended in good order")
"""


@pytest.mark.parametrize(
    "leave",
    ["self.left = asyncio.create_task(swallow())", "threading.Thread(target=threading.Event().wait).start()"],
    ids=["coroutine", "thread"],
)
def test_a_handler_that_nobody_can_stop_does_not_keep_the_process(leave: str) -> None:
    program = PROGRAM.format(leave=leave, stuck=True)

    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr
    assert b"ended in good order" not in ended.stdout


def test_a_process_without_such_handlers_ends_in_good_order() -> None:
    program = PROGRAM.format(leave="pass", stuck=False)

    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=True)

    assert b"ended in good order" in ended.stdout
