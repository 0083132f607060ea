"""What looks like a record and is none, and files that are not tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.delimited import survey
from polytask.data.false_records import REPEATED, SEPARATOR, is_header_again, is_separator, other_kind
from polytask.data.formats import parse
from polytask.data.row_filter import RowFilter
from polytask.data.shards import cut_file, shard_source


def refused(text: str, file: str = "t.csv") -> tuple[list[list[str]], dict[int, str], tuple[str, ...]]:
    lines = text.splitlines(keepends=True)
    dialect = survey(file, lambda: lines)
    records = list(dialect.records(lines))
    return ([cells for _, cells in records if isinstance(cells, list)],
            {line: cells for line, cells in records if isinstance(cells, str)}, dialect.notes)


@pytest.mark.parametrize("text", [
    "| text | label |\n|---|:--:|\n| fine | 0 |\n| so so | 1 |\n",
    "text | label\n--- | ---\nfine | 0\nso so | 1\n",
    "text,label\n---,---\nfine,0\nso so,1\n",
])
def test_dashes_below_the_header_are_not_a_row(text: str) -> None:
    rows, lines, _ = refused(text)
    assert lines == {2: SEPARATOR}
    filled = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert filled == [["fine", "0"], ["so so", "1"]]


def test_dashes_further_down_are_cells() -> None:
    rows, lines, _ = refused("text,label\nfine,0\n--,--\n")
    assert (rows, lines) == ([["fine", "0"], ["--", "--"]], {})
    assert not is_separator(["---"]) and not is_separator(["---", "a"]) and not is_separator(["", ""])


def test_the_header_of_a_file_that_was_joined_is_not_a_row() -> None:
    once = "text, label\nfine,0\nso so,1\n"
    rows, lines, _ = refused(once + "\ufeff" + once)
    assert lines == {4: REPEATED} and len(rows) == 4
    assert not is_header_again(["text"], ["text"])  # a word in a file of one column


def test_shards_leave_out_the_same_lines(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text,label\n---,---\n" + "fine,0\nso so,1\n" * 2 + "text,label\nlast,1\n")
    cut = cut_file(file, parse.__defaults__[0], ("text",), RowFilter(), 2)  # type: ignore[index]
    records = [record for shard in cut.shards for record in shard_source(cut, shard).records()]
    assert [line for line, cells in records if isinstance(cells, str)] == [2, 7]
    assert [line for line, cells in records if isinstance(cells, list)] == [3, 4, 5, 6, 8]


def test_a_column_without_a_name_is_reported_if_it_holds_something() -> None:
    shifted = "text,label,\n" + "".join(f"Well,it rains {n},{n % 2}\n" for n in range(4))
    assert refused(shifted)[2] == (
        'column 3 has no name in the header, so what it holds ("0") is left out',)
    numbered = ",text,label\n" + "".join(f"{n},it rains,{n % 2}\n" for n in range(4))
    empty = "text,label,\n" + "".join(f"it rains,{n % 2},\n" for n in range(4))
    assert refused(numbered)[2] == refused(empty)[2] == ()


@pytest.mark.parametrize(("head", "says"), [
    (b"PK\x03\x04", "is a zip archive or a spreadsheet"), (b"BZh91AY&SY", "is packed with bzip2"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    (b"\n<!DOCTYPE html><html>", "is a web page"), (b"<HTML >", "is a web page"),
    (b"\n\n <table><tr><td>text</td></tr></table>", "is a web page"),
    (b'<?xml version="1.0"?><rows><row/></rows>', "is an XML file"),
    (b"\xff\xff\xff\xff\xa0\0\0\0\x10\0", "is a stream of Arrow"),
    (b"Obj\x01\x04\x14avro.codec", "is an Avro file"),
    (b"ORC\n\x06\x12\x04\x08(P\0", "is an ORC file"), (b"\x89HDF\r\n\x1a\n\0\0", "is an HDF5 file"),
    (b"\x93NUMPY\x01\0", "is an array of numpy"), (b"\x80\x04\x952\0\0", "is a pickle"),
    (gzip.compress(gzip.compress(b"text,label\n")), "is packed with gzip twice"),
])
def test_what_is_not_a_table_is_named_for_what_it_is(tmp_path: Path, head: bytes, says: str) -> None:
    (tmp_path / "t.csv").write_bytes(head)
    with pytest.raises(DataError) as caught:
        parse(tmp_path / "t.csv")
    assert says in str(caught.value) and str(tmp_path) in str(caught.value)
    assert other_kind(b"<htmlish>,a\n") is None and other_kind(b"PK,a\n") is None
    assert other_kind(b"ORC,label\ngreen,1\n") is None and other_kind(b"<tables>,a\n") is None


def test_carriage_returns_with_a_line_feed_at_the_end_are_reported(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label\rfine,0\rso so,1\n")
    with pytest.raises(DataError, match="lines end with carriage returns"):
        parse(tmp_path / "t.csv")
