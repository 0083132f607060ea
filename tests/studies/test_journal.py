"""A sweep's journal: what the disk or a kill cut short does not spoil what is written after it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from polytask.core.errors import StorageError
from polytask.studies.journal import Journal


def entries(path: Path) -> list[dict[str, Any]]:
    return list(Journal(path).read_logs(0))


def test_half_a_line_of_a_killed_process_is_removed_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "journal.log"
    Journal(path).append_logs([{"a": 1}, {"a": 2}])
    with path.open("ab") as file:
        file.write(b'{"a": 3, "b')
    journal = Journal(path)
    assert list(journal.read_logs(0)) == [{"a": 1}, {"a": 2}]
    journal.append_logs([{"a": 4}])
    journal.append_logs([{"a": 5}])
    assert list(journal.read_logs(2)) == [{"a": 4}, {"a": 5}]
    assert entries(path) == [{"a": 1}, {"a": 2}, {"a": 4}, {"a": 5}]


def test_a_disk_that_takes_half_an_entry_leaves_the_journal_as_it_was(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.log"
    journal = Journal(path)
    journal.append_logs([{"a": 1}])
    whole = path.read_bytes()

    def full(logs: list[dict[str, Any]]) -> None:
        with path.open("ab") as file:
            file.write(b'{"a"')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(journal._file, "append_logs", full)
        with pytest.raises(StorageError, match=r"journal\.log: could not be written, the disk is full"):
            journal.append_logs([{"a": 2}])
    assert path.read_bytes() == whole
    journal.append_logs([{"a": 3}])
    assert entries(path) == [{"a": 1}, {"a": 3}]
