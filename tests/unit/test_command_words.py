"""Words after `python -m …` of the processes that take none."""

import subprocess
import sys

import pytest

MODULES = ["api_service", "deploy.embedded", "worker_service"]


@pytest.mark.parametrize("module", MODULES)
def test_help_explains_the_process_and_starts_nothing(module: str) -> None:
    ended = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)

    assert ended.returncode == 0
    assert ended.stdout.startswith(f"usage: python -m {module}")
    assert "docs/operating.md" in ended.stdout


@pytest.mark.parametrize("module", MODULES)
def test_a_word_that_means_nothing_is_refused(module: str) -> None:
    ended = subprocess.run([sys.executable, "-m", module, "--prot=1"], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "usage:" in ended.stderr
