"""What is written is whole or not there; a kill between two renames is mended."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from polytask.core import atomic_files, leftovers
from polytask.core.errors import StorageError
from polytask.learn.checkpoint import save_checkpoint


@pytest.mark.parametrize("name", [".", "..", "/", "", "../there"])
def test_a_folder_is_read_by_whatever_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "there" / ("in" if name == ".." else ""))
    assert atomic_files.standing(name) == Path(name)


def test_the_folder_one_is_in_stands_aside_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert leftovers.standing_aside(Path()) == tmp_path / ".there.old"


def test_a_file_is_written_where_a_killed_process_was_writing_it(tmp_path: Path) -> None:
    for name in (".file.txt.ab_cd123.aside", ".other.txt.ab_cd123.aside"):
        (tmp_path / name).touch()
    atomic_files.write_file(tmp_path / "file.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.txt.ab_cd123.aside", "file.txt"]


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


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_text("untouched")
    (tmp_path / "folder").symlink_to(other)
    (tmp_path / "file").symlink_to(other / "a")
    with atomic_files.write_folder(tmp_path / "folder") as aside:
        (aside / "a").write_text("new")
    atomic_files.write_file(tmp_path / "file", "new")
    with atomic_files.write_streams({"x": tmp_path / "file"}) as streams:
        streams["x"].write("newer")
    assert (other / "a").read_text() == "untouched"
    assert (tmp_path / "folder" / "a").read_text() == "new" and (tmp_path / "file").read_text() == "newer"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder", "other"]


def test_two_writers_of_one_path_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with atomic_files.write_streams({"a": path}) as first:
        with atomic_files.write_streams({"a": path}) as second:
            first["a"].write("first")
            second["a"].write("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_gets_one_version_of_a_folder_that_is_replaced_while_it_reads(tmp_path: Path) -> None:
    path, tries = tmp_path / "folder", []

    def write(version: str) -> None:
        with atomic_files.write_folder(path) as aside:
            (aside / "a").write_text(version)
            (aside / "b").write_text(version)

    def read(place: Path) -> tuple[str, str]:
        first = (place / "a").read_text()
        if not tries:  # the writer comes between the two files
            write("new")
        tries.append(first)
        return first, (place / "b").read_text()

    write("old")
    assert atomic_files.read_folder(path, read) == ("new", "new")
    assert tries == ["old", "new"]
    path.rename(tmp_path / ".folder.old")  # between the two renames of a writer
    assert atomic_files.read_folder(path, read) == ("new", "new")
    assert not path.exists()  # a reader mends nothing
    with pytest.raises(FileNotFoundError):
        atomic_files.read_folder(tmp_path / "none", read)


def test_a_folder_missed_between_two_renames_is_looked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "model"
    seen: list[bool] = []

    def is_there(place: Path) -> bool:
        seen.append(place.is_dir())
        if len(seen) == 2:  # the writer's second rename, after the reader has looked
            path.mkdir()
        return seen[-1]

    assert atomic_files.read_folder(path, is_there)
    assert seen == [False, False, True]
    path.rmdir()
    assert not atomic_files.read_folder(path, lambda place: place.is_dir())


_WRITER = """
import sys
from pathlib import Path
from polytask.core.atomic_files import write_folder
number = 0
while True:
    number += 1
    with write_folder(Path(sys.argv[1])) as aside:
        for name in "abcdef":
            (aside / name).write_text(str(number))
"""


def test_a_reader_beside_a_writer_in_a_loop_sees_whole_folders_and_disturbs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen: set[str] = set()
        reads = 0
        while reads < 200 or (len(seen) < 2 and time.monotonic() < deadline):
            reads += 1
            versions = {*atomic_files.read_folder(
                path, lambda place: [(place / name).read_text() for name in "abcdef"])}
            assert len(versions) == 1
            seen |= versions
        assert len(seen) > 1
        assert writer.poll() is None, writer.stderr
    finally:
        writer.kill()
        writer.wait()
        writer.stderr.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("intruder", ["folder", "file"])
def test_what_another_puts_in_the_place_of_a_folder_between_its_renames_goes_as_the_old_one(
        intruder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    path.mkdir()
    plain = Path.rename

    def beaten(self: Path, target: Path) -> Path:
        if target == path:
            monkeypatch.undo()
            if intruder == "folder":
                (path / "page").mkdir(parents=True)
            else:
                path.touch()
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", beaten)
    with atomic_files.write_folder(path) as aside:
        (aside / "weights").touch()
    assert [each.name for each in path.iterdir()] == ["weights"]
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
