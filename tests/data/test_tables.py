"""Tables on disk: cells, blanks, lists, and an entry that is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.tables import Nested, TableWriter, read_table, table_of


def written(folder: Path, *rows: list[str]) -> Path:
    writer = TableWriter(["a", "", "b"])
    for line, row in enumerate(rows, 2):
        writer.add(line, row)
    writer.refuse(9, "why")
    writer.notes.append("how")
    folder.mkdir(exist_ok=True)
    writer.write(folder)
    return folder


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = written(tmp_path / "t", ["é\n", "1", Nested("[1]")], ["", "2", "x"], ["z", "3", Nested("{}")])
    table = read_table(folder, "t.csv", "key", "content")
    assert table.column("a").texts() == ["é\n", "", "z"]
    assert table.column("b").nested.tolist() == [0, 2] and table.column("a").nested.tolist() == []
    assert (table.lines.tolist(), table.refused, table.notes) == ([2, 3, 4], ((9, "why"),), ("how",))
    assert (table.found, table.content) == (4, "content")
    with pytest.raises(DataError, match=r't\.csv: tasks\.x\.text: there is no column "c" \(its columns: '
                                        r'"a"'):
        table.column("c", "tasks.x.text")


def test_blanks_are_what_unicode_says(tmp_path: Path) -> None:
    cells = ["", " \t\n", "\u00a0\u3000", "\x17", "é", "\u200b", "\x1c\x85", "a"]
    table = table_of([(cell,) for cell in cells], "t")
    assert table.column("text1").blank.tolist() == [not cell.strip() for cell in cells]


def test_an_entry_cut_short_is_not_a_table(tmp_path: Path) -> None:
    folder = written(tmp_path / "t", ["a", "b", "c"])
    (folder / "cells.npy").write_bytes((folder / "cells.npy").read_bytes()[:-1])
    with pytest.raises(ValueError):
        read_table(folder, "t.csv", "key")
