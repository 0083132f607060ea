"""Ids of rows: from which column, what stands for a missing one, and what is noted."""

from __future__ import annotations

import pytest

from polytask.data import row_ids
from polytask.data.row_ids import RowIds, absent_note, id_column


@pytest.mark.parametrize(("columns", "wanted", "column"), [
    (["rid", "id", "text"], "rid", "rid"), (["id", "text"], "rid", "id"), (["id", "text"], None, "id"),
    (["text"], "rid", None), (["text"], None, None),
])
def test_the_column_is_the_one_asked_for_or_the_one_called_id(
        columns: list[str], wanted: str | None, column: str | None) -> None:
    assert id_column(columns, wanted, ["text"]) == column


def test_a_text_is_an_id_only_where_it_is_asked_for() -> None:
    assert id_column(["id", "label"], None, ["id"]) is None
    assert id_column(["id", "label"], "id", ["id"]) == "id"


def test_a_column_that_is_not_there_is_reported() -> None:
    assert absent_note(["id", "text"], "rid", ["text"]) == [
        'there is no column "rid" of ids, so the ids are those of column "id"']
    assert absent_note(["text"], "rid", ["text"]) == [
        'there is no column "rid" of ids, so the ids are line numbers']
    assert absent_note(["rid", "text"], "rid", ["text"]) == []
    assert absent_note(["id", "text"], None, ["text"]) == []


def test_missing_and_repeated_ids_are_reported_once() -> None:
    ids = RowIds()
    cells = ["a", "", "b", " ", "a", "b", "", "\u200b"]
    assert [ids.of(cell, line) for line, cell in enumerate(cells, 2)] == [
        "a", "3", "b", "5", "a", "b", "8", "9"]
    assert ids.notes() == [
        "4 records have no id (lines 3, 5, 8, …); the number of the line stands for it",
        '2 records have an id seen before ("a" in lines 2 and 6), so predictions cannot be told apart by '
        "it"]
    one = RowIds("row")
    one.of("", 7)
    assert one.notes() == ["1 row has no id (line 7); the number of the line stands for it"]
    assert RowIds().notes() == []


def test_a_bounded_number_of_ids_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_ids, "_REMEMBERED", 2)
    ids = RowIds()
    for line, cell in enumerate(["a", "b", "c", "c", "a"]):
        ids.of(cell, line)
    assert len(ids.first) == 2 and ids.notes()[0].startswith("at least 1 record has an id seen before")
