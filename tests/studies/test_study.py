"""A study file: what is wrong in it is named, and rows stay different under --set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from polytask.core.errors import ConfigError
from polytask.studies.study import Study, read_study

BASE = '[tasks.sst]\ntrain = "sst-train.csv"\n[train]\nbatch_size = 8\n'
ROWS = '[[rows]]\nname = "a"\n[[rows]]\nname = "b"\nset = { "train.batch_size" = 4 }\n'


def _read(tmp_path: Path, text: str, assignments: Sequence[str] = (), base: str = BASE) -> Study:
    (tmp_path / "base.toml").write_text(base, encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(f'base = "base.toml"\n{text}', encoding="utf-8")
    return read_study(path, assignments=assignments)


def test_set_makes_no_two_rows_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='row "b": --set makes it equal to row "a", expected keys that'):
        _read(tmp_path, ROWS, ["train.batch_size=16"])
    assert _read(tmp_path, ROWS, ["train.epochs=2"]).notes == ()
    (note,) = _read(tmp_path, ROWS.replace("4 }", '4, "train.epochs" = 3 }'), ["train.batch_size=16"]).notes
    assert note == '--set train.batch_size takes the place of what these rows set: "b"'
    same = '[[rows]]\nname = "a"\n[[rows]]\nname = "b"\n'
    assert len(_read(tmp_path, same, ["train.batch_size=16"]).rows) == 2  # as the file has them


@pytest.mark.parametrize("count", [0, 1001, 10**12])
def test_the_number_of_seeds_has_bounds(count: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"seeds: found {count:,}, expected 1 to 1,000"):
        _read(tmp_path, f"seeds = {count}\n{ROWS}")


def test_a_task_that_no_base_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'row "a": "x" is not a task of base\.toml'):
        _read(tmp_path, '[[rows]]\nname = "a"\nset = { "tasks.x.limit" = 3 }\n', base="seed = 1\n")
    with pytest.raises(ConfigError, match=r"tasks: found 1, expected the names(.|\n)*found \['x'\]"):
        _read(tmp_path, '[[rows]]\nname = "a"\ntasks = [1, ["x"]]\n')
