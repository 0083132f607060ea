"""The kind of a file is told by its content, and its records are the same however often they are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.file_format import FileFormat
from polytask.data.formats import kind_of, parse, record_source
from polytask.data.tables import read_table
from polytask.data.text_lines import MAX_LINE


@pytest.mark.parametrize(("name", "content", "kind"), [
    ("t.csv", b"a,b\n1,2\n", "delimited"), ("t.txt", b'{"a": 1}\n', "JSON lines"),
    ("t.data", b'[\n {"a": 1}]', "JSON array"), ("t.csv", b"[a],{b}\n1,2\n", "delimited"),
    ("t.jsonl", b"[1]\n", "JSON lines"), ("t.csv", b"PAR1...", "Parquet"),
    ("t.gz", gzip.compress(b'{"a": 1}', mtime=0), "JSON lines"),
])
def test_the_kind_is_recognized_by_content(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) == kind


def test_a_source_is_read_again_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n4,5\n")
    source = record_source(tmp_path / "t.csv")
    assert list(source.records()) == list(source.records()) == [
        (2, ["1", "2"]), (3, "1 field, expected 2"), (4, ["4", "5"])]


def test_encodings_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for encoding in ("latin-1", "cp1252", "utf-16", "utf-16-le"):
        path.write_bytes("text,label\ncafé,1\nnaïve,0\n".encode(encoding))
        folder = tmp_path / encoding
        folder.mkdir()
        parse(path, FileFormat(encoding=encoding)).write(folder)
        assert read_table(folder, "t.csv", "").column("text").texts() == ["café", "naïve"], encoding
    path.write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r't\.csv:2: is not UTF-8 text .* encoding = "latin-1"'):
        parse(path)
    path.write_bytes("text,label\ncafé,1\n".encode("utf-16"))
    with pytest.raises(DataError, match=r't\.csv:1: is UTF-16 text, .* set encoding = "utf-16"'):
        parse(path)


def test_an_encoding_that_the_file_is_not_in_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\ncaf\u00e9,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv: is not utf-16 text after line 0 .*set another encoding"):
        record_source(file, FileFormat(encoding="utf-16"))
    notes = record_source(file, FileFormat(encoding="latin-1")).notes
    assert notes == ('the file seems to be UTF-8; read as encoding = "latin-1" its characters are others',)
    file.write_text("text,label\ncaf\u00e9,0\n", encoding="latin-1")
    assert record_source(file, FileFormat(encoding="latin-1")).notes == ()
    file.write_text("text,label\ncafe,0\n", encoding="utf-32")
    with pytest.raises(DataError, match='is UTF-32 text, expected UTF-8; set encoding = "utf-32"'):
        record_source(file)


def test_a_line_without_end_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"text,label\n")
        for _ in range(20):
            file.write(b"a" * (1 << 20))
    with pytest.raises(DataError, match=rf"t\.csv\.gz:2: the line has more than {MAX_LINE:,} characters"):
        parse(path)


def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text,label\n"never closed,1\n' + "so it is,0\n" * ((MAX_LINE >> 3) - 1))
    with pytest.raises(DataError, match=r"t\.csv:2: a quote opens a field and is never closed"):
        parse(path)


def test_rows_of_every_kind_have_the_same_cells(tmp_path: Path) -> None:
    lines = ['{"text": 0, "label": false}', '{"id": 7, "text": "bad", "label": null}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    source = record_source(tmp_path / "t.jsonl")
    assert source.columns == ("text", "label", "id")
    assert list(source.records()) == [(1, ["0", "false", ""]), (2, ["bad", "", "7"])]
    (tmp_path / "t.json").write_text(json.dumps([{"text": "a"}, {"text": float("nan")}]))
    assert [cells for _, cells in record_source(tmp_path / "t.json").records()] == [["a"], [""]]


def test_repeated_byte_order_marks_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeff\ufefftext,label\na,1\n", encoding="utf-8")
    assert record_source(tmp_path / "t.csv").columns == ("text", "label")
    (tmp_path / "t.json").write_text("\ufeff\ufeff" + '{"text": "a"}\n', encoding="utf-8")
    assert record_source(tmp_path / "t.json").columns == ("text",)


def test_an_array_of_strings_is_refused_as_json(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('["a text", "another"]')
    with pytest.raises(DataError, match=r't\.json:1: found "a text", expected an object; 2 of 2 records'):
        record_source(tmp_path / "t.json")
