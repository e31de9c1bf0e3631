"""What becomes of a data folder that PostgreSQL does not start on."""

import subprocess
import sys
from pathlib import Path

from tests.embedded import environment


def test_data_of_another_postgresql_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    data = tmp_path / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")

    ended = subprocess.run(
        [sys.executable, "-m", "deploy.embedded"],
        cwd=tmp_path,
        env=environment(API_PORT="0", DATA_DIR=str(tmp_path / "data")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert f"the PostgreSQL of {data} does not start" in said
    assert "another DATA_DIR" in said
    assert "Traceback" not in said
