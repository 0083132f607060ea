"""What is written is whole or not there; a kill between two renames is mended."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from polytask.core import atomic_files
from polytask.core.errors import RunError, StorageError
from polytask.core.run_folder import RunFolder, first_difference
from polytask.learn.checkpoint import save_checkpoint


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    atomic_files.write_file(path, "first")

    def half(aside: Path) -> None:
        aside.write_text("seco")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match=r"file\.txt: could not be written, the disk is full"):
        atomic_files.write_file(path, half)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]  # nothing is left aside
    atomic_files.write_file(path, b"second")
    assert path.read_bytes() == b"second"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_files.write_folder(path) as aside:
        (aside / "a").write_text("1")
    with pytest.raises(StorageError), atomic_files.write_folder(path) as aside:  # noqa: PT012
        (aside / "a").write_text("2")
        raise OSError(errno.EROFS, "")
    assert (path / "a").read_text() == "1"
    with atomic_files.write_folder(path) as aside:
        (aside / "b").write_text("3")
    assert sorted(each.name for each in path.iterdir()) == ["b"]
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_that_the_disk_does_not_take_are_a_storage_error(tmp_path: Path) -> None:
    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit(1 << 16)
    try:
        with pytest.raises(StorageError, match=r"state: could not be written, .*what was there is intact"):
            save_checkpoint(tmp_path / "state", {"weights": torch.zeros(1 << 18)})
    finally:
        limit(resource.RLIM_INFINITY)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a").write_text("1")
    path.rename(tmp_path / ".folder.old")  # where the kill came
    atomic_files.recover(path)
    assert (path / "a").read_text() == "1"
    (tmp_path / ".folder.old").mkdir()  # after the second rename: the new folder stands
    atomic_files.recover(path)
    assert list(tmp_path.iterdir()) == [path]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "seed = 1\n")
    with folder.locked(), pytest.raises(RunError, match="another process"), folder.locked():
        pass


@pytest.mark.parametrize(("held", "given", "key"), [
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"), ({"a": 1}, {}, "a"), ({}, {"c": [1]}, "c"),
])
def test_the_first_difference_of_two_configs_is_named(held: object, given: object, key: str) -> None:
    difference = first_difference(held, given)
    assert difference is not None and difference[0] == key
    assert first_difference(held, held) is None
