"""Folders for temporary files, and what becomes of those of the dead."""

import subprocess
import sys
from pathlib import Path

from shared.ids import new_task_id
from worker_service.scratch import Scratch, remove


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob("*taskmill-scratch-*"))


def test_the_folder_of_a_worker_that_was_killed_goes_when_another_starts(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib, sys; from worker_service.scratch import Scratch;"
        " Scratch(pathlib.Path(sys.argv[1])).open(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    [left] = folders(tmp_path)

    scratch = Scratch(tmp_path)
    scratch.open()

    assert not left.exists()
    assert len(folders(tmp_path)) == 1
    scratch.close()


def test_workers_that_live_leave_each_other_s_folders_alone(tmp_path: Path) -> None:
    first, second = Scratch(tmp_path), Scratch(tmp_path)
    first.open()
    file = first.of(new_task_id(), 1) / "x"
    file.parent.mkdir()
    file.write_text("mine")

    second.open()
    second.close()

    assert file.read_text() == "mine"
    first.close()
    assert folders(tmp_path) == []


def test_no_two_attempts_share_a_folder_not_even_of_one_number(tmp_path: Path) -> None:
    scratch, task_id = Scratch(tmp_path), new_task_id()

    assert scratch.of(task_id, 1) != scratch.of(task_id, 1)


def test_a_folder_that_was_never_made_is_no_fault(tmp_path: Path) -> None:
    remove(tmp_path / "never")
