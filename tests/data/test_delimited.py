"""What a survey says of a file: its delimiter, its quotes, its header, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import DataError
from polytask.data.delimited import MAX_COLUMNS, Dialect, survey
from polytask.data.file_format import FileFormat


def found(text: str, file: str = "t.csv", **settings: object) -> tuple[Dialect, list[object]]:
    lines = text.splitlines(keepends=True)
    dialect = survey(file, lambda: lines, FileFormat(**settings))  # type: ignore[arg-type]
    return dialect, [cells for _, cells in dialect.records(lines)]


def refusal(text: str, file: str = "t.csv", **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        found(text, file, **settings)
    return str(caught.value)


def test_a_sentence_s_comma_makes_no_row_names() -> None:
    rows = "".join(f"So, it rained {n},{n % 2}\n" for n in range(9))
    assert refusal("text,label\n" + rows) == (
        "t.csv:2: 3 fields, expected 2; 9 of 9 records are refused; a field that holds the delimiter needs "
        "double quotes")
    assert "3 fields, expected 2" in refusal("text,label\nOne,two a,0\nThree,four b,1\n")
    assert refusal("text,label\n@user0,so it is,0\n@user1,thanks,1\n").endswith(
        "needs double quotes, and a column of row names needs a name")
    assert "3 fields, expected 2" in refusal("text,label\n1,the room was fine,0\n")
    assert "3 fields, expected 2" in refusal("text,label\n1999,a year,0\n1984,a book,1\n")
    assert "3 fields, expected 2" in refusal("text,label\n1, two,0\n2, three,1\n")


def test_row_names_are_counters_alone_or_behind_one_word() -> None:
    dialect, rows = found('"text","label"\n"1","so, it is",0\n"2","b",1\n')
    assert (dialect.columns, rows[0]) == (("", "text", "label"), ["1", "so, it is", "0"])
    assert dialect.notes == (
        "every record has one field more than the header, so the first ones (1, 2) are read as row names "
        "and left out; if texts begin with them, quote the texts",)
    assert found("text,label\nr7,a,0\nr8,b,1\n")[0].columns == ("", "text", "label")
    assert found("text\n7,a single row\n")[1] == [["7,a single row"]]


def test_a_delimiter_at_the_end_of_every_line_is_refused() -> None:
    rows = "".join(f"{n},a text {n},{n % 2},\n" for n in range(9))
    assert "t.csv:2: 4 fields (the last one is empty), expected 3" in refusal("id,text,label\n" + rows)


def test_one_stray_quote_costs_one_record() -> None:
    good = [f'"So, it rained {n}",{n % 2}\n' for n in range(9)]
    dialect, rows = found("text,label\n" + "".join([*good[:4], '"So, "it" rained",1\n', *good[4:]]))
    assert rows[4] == "text after the quote that closes a field"
    assert [row for row in rows if isinstance(row, list)] == [
        [f"So, it rained {n}", str(n % 2)] for n in range(9)]
    assert dialect.columns == ("text", "label")


@pytest.mark.parametrize(("line", "reason"), [
    ('1, "quiet"\n', "a blank before the quote"),
    ('1,"a \\"quiet\\" room"\n', "escaped by a backslash"),
    ('1,a "quiet" room\n', "a quote inside an unquoted field"),
    ("1,a,b\n", "3 fields, expected 2"),
    ("1\n", "1 field, expected 2"),
])
def test_what_departs_from_the_dialect_is_refused_with_its_line(line: str, reason: str) -> None:
    lines = ["label,text\n", '0,"well, fine"\n', line, '0,"fine"\n', "1,good\n"]
    dialect = survey("t.csv", lambda: lines)
    records = list(dialect.records(lines))
    assert records[1][0] == 3 and reason in str(records[1][1])
    assert [cells for _, cells in records if isinstance(cells, list)] == [
        ["0", "well, fine"], ["0", "fine"], ["1", "good"]]


def test_quotes_that_are_characters_are_noted() -> None:
    dialect, rows = found('text,label\nan 8" nail,0\nthe "best",1\n')
    assert rows == [['an 8" nail', "0"], ['the "best"', "1"]]
    assert dialect.notes == (
        "no field is quoted, so quotes within fields are read as plain characters (lines 2, 3)",)
    dialect, rows = found('text\tlabel\n"So it rained\t0\n"All day\t1\n')
    assert (dialect.quoting, rows[0]) == ("none", ['"So it rained', "0"])
    assert "quotes are read as plain characters" in dialect.notes[0]
    assert "closed" in refusal('text\tlabel\n"So it rained\t0\n', quoting="minimal")


def test_lines_that_a_quote_joins_are_reported() -> None:
    dialect, rows = found('text,label\n"so\nit rained",1\nfine,0\n')
    assert rows == [["so\nit rained", "1"], ["fine", "0"]] and dialect.notes == ()
    dialect, _ = found('text\n"so\nit rained"\nfine\n')
    assert "quotes join lines that could be records of their own (lines 2–3)" in dialect.notes[0]


def test_the_delimiter_is_recognized_by_the_header_or_asked_for() -> None:
    assert found("text;label\nso, it is;0\n")[0].delimiter == ";"
    assert found("text, raw\tlabel\nso it is\t0\nfine\t1\n")[0].delimiter == "\t"
    assert found("text\nso, it is; well|yes\n")[1] == [["so, it is; well|yes"]]
    assert "a comma and a semicolon split the records equally well" in refusal("a,b;c\n1,2;3\n", "t.txt")
    assert found("a,b;c\n1,2;3\n", "t.csv")[0].delimiter == ","
    assert found("a,b;c\n1,2;3\n", "t.txt", delimiter=";")[0].columns == ("a,b", "c")


def test_a_file_without_a_header_has_its_columns_from_the_settings() -> None:
    settings = {"header": False, "columns": ("text", "label")}
    assert found("so it is,0\nfine,1\n", **settings)[1] == [["so it is", "0"], ["fine", "1"]]
    dialect, rows = found("text,label\nfine,1\n", **settings)
    assert rows == [["fine", "1"]] and "read as a header" in dialect.notes[0]


def test_absurd_files_are_refused_at_once(tmp_path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(MAX_COLUMNS + 1))
    assert f"more than {MAX_COLUMNS:,} columns" in refusal(names + "\n")
    assert "NUL bytes" in refusal("t\0e\0x\0t\0,\0a\0\n1,2\n")
    assert "is empty" in refusal("") and "is empty" in refusal("\n\n")


def test_quotes_that_join_fields_of_a_tab_separated_file_are_characters_with_a_note() -> None:
    dialect, rows = found('text\tlabel\n"So it rained\tall day"\na text\t1\n', "t.tsv")
    assert rows == [['"So it rained', 'all day"'], ["a text", "1"]]
    assert "quotes are read as plain characters" in dialect.notes[0] and "(line 2)" in dialect.notes[0]
