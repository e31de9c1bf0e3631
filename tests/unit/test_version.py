"""The version is written twice; both must say the same."""

import tomllib
from pathlib import Path

from shared.version import VERSION

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_code_and_the_project_file_agree_on_the_version() -> None:
    assert tomllib.loads(PROJECT.read_text())["project"]["version"] == VERSION
