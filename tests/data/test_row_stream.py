"""Rows one after the other: ids, blank texts, and what has no text at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.formats import record_source
from polytask.data.row_stream import RowStream


def stream(path: Path, text: str, *columns: str, **options: str) -> RowStream:
    path.write_text(text)
    return RowStream(record_source(path), columns or ("text",), **options)  # type: ignore[arg-type]


def test_ids_and_falsy_values_and_late_columns(tmp_path: Path) -> None:
    found = stream(tmp_path / "t.jsonl", '{"text": "good"}\n{"id": 0, "text": 0}\n{"id": 7}\n')
    assert list(found.rows()) == [("1", ("good",)), ("0", ("0",)), ("7", ("",))]
    assert found.told() == (f"{tmp_path}/t.jsonl: 1 record has no text (line 3) and an answer all the "
                            "same, which says nothing\n"
                            f"{tmp_path}/t.jsonl: 1 record has no id (line 1); the number of the line "
                            "stands for it")
    found = stream(tmp_path / "t.csv", "id,label\nso good,1\n", "id")
    assert list(found.rows()) == [("2", ("so good",))]
    found = stream(tmp_path / "t.csv", "uid,text\nu1,a\nu2,\n", id="uid")
    assert list(found.rows()) == [("u1", ("a",)), ("u2", ("",))]
    assert list(stream(tmp_path / "t.csv", 'text\n"a\nb"\nc\n').rows()) == [("2", ("a\nb",)), ("4", ("c",))]


def test_rows_without_an_answer_are_reported_with_their_lines(tmp_path: Path) -> None:
    lines = ['{"text": "a"}', '{"text": ["b"]}', '{"text": {}}', "[1]", '{"text": "c"}']
    found = stream(tmp_path / "t.jsonl", "\n".join(lines))
    assert [texts for _, texts in found.rows()] == [("a",), ("c",)]
    assert found.told() == (
        f"{tmp_path}/t.jsonl: 2 records without a prediction: a list or an object, expected text "
        "(lines 2, 3)\n"
        f"{tmp_path}/t.jsonl: 1 record without a prediction: found [1], expected an object (line 4)")
    with pytest.raises(DataError, match=r"t\.jsonl:1: a list or an object, .*; no record is left"):
        list(stream(tmp_path / "t.jsonl", '{"text": ["b"]}\n').rows())


def test_nul_characters_are_predicted_and_reported(tmp_path: Path) -> None:
    found = stream(tmp_path / "t.csv", "text,other\na\0b,\nc,\0\nd,\n")
    assert [texts for _, texts in found.rows()] == [("a\0b",), ("c",), ("d",)]
    assert found.told() == (
        f"{tmp_path}/t.csv: 1 record holds NUL characters (line 2), which the tokenizer is given as they "
        "stand; is the file damaged, or in another encoding?")


def test_columns_are_looked_up_as_in_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'no column "text"; did you mean "texts".*--text names'):
        stream(tmp_path / "t.csv", "texts,label\na,1\n").rows()
    with pytest.raises(DataError, match='there are 2 columns named "text"'):
        stream(tmp_path / "t.csv", "text,text\na,1\n").rows()
    with pytest.raises(DataError, match=r"set header = false and columns = \[\.\.\.\]"):
        stream(tmp_path / "t.csv", "so it was a day,1\nand a night,0\n").rows()


def test_a_file_without_rows_is_reported(tmp_path: Path) -> None:
    found = stream(tmp_path / "t.csv", "text,label\n")
    assert list(found.rows()) == []
    assert found.told() == f"{tmp_path}/t.csv: has no rows, so nothing is predicted"
