"""An S3 server of the tests' own: moto, in a process of its own on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from tests.servers.sandbox import free_port

_START_DEADLINE_S: Final = 60.0
BUCKET: Final = "taskmill-tests"


@contextmanager
def running_s3() -> Iterator[str]:
    """The address of an S3 server that has a bucket, until the block ends."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(64 * 1024 * 1024)},
    )
    try:
        _wait_for(url, process)
        make_bucket(url, BUCKET)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def make_bucket(url: str, name: str) -> None:
    """Make a bucket; S3's signature is not checked there."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT"), timeout=30):
        return


def fresh_prefix() -> str:
    """An address in the bucket that nobody else uses."""
    return f"s3://{BUCKET}/{uuid4().hex}/deep"


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"moto does not answer at {url}; it ended with {process.poll()}") from None
            time.sleep(0.05)
