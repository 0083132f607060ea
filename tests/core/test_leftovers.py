"""What killed writers left is repaired or removed; what is being written, and what is the user's, stays."""

from __future__ import annotations

import os
from pathlib import Path

from polytask.core.atomic_files import write_folder, write_streams
from polytask.core.leftovers import recover, tidy


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a").write_text("1")
    path.rename(tmp_path / ".folder.old")  # where the kill came
    recover(path)
    assert (path / "a").read_text() == "1"
    (tmp_path / ".folder.old").mkdir()  # after the second rename: the new folder stands
    recover(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_leftover_is_removed_and_a_users_hidden_file_is_not(tmp_path: Path) -> None:
    for name in (".model.ab12_x9z.aside", ".data.json.zzzzzzzz.aside"):
        (tmp_path / name).mkdir()
    own = [".gitignore", ".notes.markdown", ".x.part", "model"]
    for name in own:
        (tmp_path / name).write_text("mine")
    tidy(tmp_path, ["data.json"])
    assert (tmp_path / ".model.ab12_x9z.aside").is_dir()
    assert not (tmp_path / ".data.json.zzzzzzzz.aside").exists()
    tidy(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == own


def test_what_another_process_is_writing_is_not_a_leftover(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as folder, write_streams(
            {"x": tmp_path / "x.csv"}) as streams:
        (folder / "a").write_text("1")
        streams["x"].write("1")
        tidy(tmp_path)
        with write_folder(tmp_path / "model") as other:
            (other / "a").write_text("2")
    assert (tmp_path / "model" / "a").read_text() == "1" and (tmp_path / "x.csv").read_text() == "1"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "x.csv"]


def test_a_pipe_and_a_link_under_a_leftovers_name_delay_nobody(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / ".a.abcdefgh.aside")
    (folder / ".b.abcdefgh.aside").symlink_to(outside)
    tidy(folder)
    assert outside.is_dir() and not (folder / ".a.abcdefgh.aside").exists()
