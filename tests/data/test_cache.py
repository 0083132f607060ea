"""Entries of the cache are built once, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from polytask.data.cache import Cache, growing_array, open_array, write_array


def test_an_entry_is_built_once_and_again_if_it_is_broken(tmp_path: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "x").write_text("42", encoding="utf-8")

    def load(folder: Path) -> int:
        return int((folder / "x").read_text(encoding="utf-8"))

    cache = Cache(tmp_path)
    assert [cache.entry("kind/key", build, load) for _ in range(3)] == [42] * 3 and len(built) == 1
    (tmp_path / "kind" / "key" / "x").write_text("no number", encoding="utf-8")
    assert cache.entry("kind/key", build, load) == 42 and len(built) == 2
    assert sorted(path.name for path in (tmp_path / "kind").iterdir() if path.name[0] != ".") == ["key"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("", encoding="utf-8")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Cache(tmp_path).entry("kind/key", fail, lambda folder: 0)
    assert list((tmp_path / "kind").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_replaced_and_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    cache = Cache(tmp_path / "file" / "cache")
    assert cache.entry("kind/key", lambda folder: None, lambda folder: 7) == 7
    assert "could not be written" in cache.notes[0]


def test_arrays_grow_and_are_checked(tmp_path: Path) -> None:
    with growing_array(tmp_path / "g.npy", np.int32) as append:
        for part in ([1, 2], [], [3]):
            append(np.array(part))
    assert open_array(tmp_path / "g.npy", np.int32).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="holds int32, not int64"):
        open_array(tmp_path / "g.npy", np.int64)
    write_array(tmp_path / "w.npy", np.arange(4))
    (tmp_path / "w.npy").write_bytes((tmp_path / "w.npy").read_bytes()[:-1])
    with pytest.raises(ValueError):
        open_array(tmp_path / "w.npy", np.int64)


def test_the_cache_is_its_owners_alone_whatever_is_kept_first(tmp_path: Path) -> None:
    Cache(tmp_path / "one").remember("files/a.json", 1)
    Cache(tmp_path / "two").entry("a/b", lambda folder: None, lambda folder: None)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("one", "two")] == [0o700, 0o700]


def test_only_a_small_json_file_is_remembered(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.remember("files/a.json", {"key": [1, "x"]})
    assert cache.remembered("files/a.json") == {"key": [1, "x"]}
    damaged = {"deep": "[" * 100_000, "large": "[" + " " * (1 << 20) + "]", "cut": '{"a"'}
    for name, content in damaged.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert cache.remembered(name) is None
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    assert [cache.remembered(name) for name in ("pipe", "endless", "files", "nothing")] == [None] * 4


def test_an_entry_of_any_other_shape_is_built_again(tmp_path: Path) -> None:
    def load(folder: Path) -> int:
        return int(open_array(folder / "x.npy", np.int64)[0])

    def build(folder: Path) -> None:
        write_array(folder / "x.npy", np.array([42]))

    cache = Cache(tmp_path)
    assert cache.entry("kind/key", build, load) == 42
    place = tmp_path / "kind" / "key" / "x.npy"
    with place.open("wb") as file:
        np.savez(file, a=np.arange(3))
    assert cache.entry("kind/key", build, load) == 42
    place.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': (((   ")
    assert cache.entry("kind/key", build, load) == 42
    shutil.rmtree(place.parent)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.npy").write_bytes(b"mine")
    place.parent.symlink_to(tmp_path / "mine")
    assert cache.entry("kind/key", build, load) == 42
    assert (tmp_path / "mine" / "x.npy").read_bytes() == b"mine" and not place.parent.is_symlink()
