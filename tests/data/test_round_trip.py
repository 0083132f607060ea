"""What csv, json, pandas and pyarrow write is read back as it was, by training and by prediction alike.

And what is damaged is refused with its line, or noted with it, or read as it was: never as another text.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pandas
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from polytask.core.errors import DataError
from polytask.data.cache import Cache
from polytask.data.false_records import is_separator
from polytask.data.formats import record_source
from polytask.data.label_forms import is_blank
from polytask.data.quoted_records import ReadRecord
from polytask.data.reading import Columns
from polytask.data.row_stream import RowStream
from small_data import read_rows

Rows = list[tuple[str, ...]]

nasty = st.text(st.one_of(st.sampled_from("\t\n\r\",;|'\\ #{[=\ufeff\u2028\x00\x85é漢😀0"),
                          st.characters(codec="utf-8")), max_size=12)
# A text and a label are something; blanks around a label are not part of it.
texts = st.one_of(nasty.filter(str.strip), st.sampled_from(
    ["NA", "nan", "null", "None", "N/A", "007", "1e3", "0", "False", "-", "=1+1", " padded ", "'tis", '"']))
labels = st.one_of(nasty.map(str.strip).filter(bool),
                   st.sampled_from(["007", "07", "1E3", "+1", "True", "0"]))
# The header's names are stripped, and may be no JSON or UTF-16 to look at.
names = nasty.map(str.strip).filter(lambda name: name and name[0] not in "{[" and "\0" not in name)
# A third column may hold nothing.
tables = st.lists(st.tuples(texts, labels, nasty), min_size=1, max_size=6)


def write_csv(path: Path, header: list[str], rows: Rows, **options: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerow(header)
        writer.writerows(rows)


def write_csv_without_an_end(path: Path, header: list[str], rows: Rows) -> None:
    write_csv(path, header, rows, quoting=csv.QUOTE_ALL)
    path.write_bytes(path.read_bytes().removesuffix(b"\r\n"))


def write_json_lines(path: Path, header: list[str], rows: Rows) -> None:
    lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")


def write_json(path: Path, header: list[str], rows: Rows) -> None:
    records = [dict(zip(header, row, strict=True)) for row in rows]
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def write_pandas(path: Path, header: list[str], rows: Rows, **options: Any) -> None:
    pandas.DataFrame(rows, columns=header).to_csv(path, encoding="utf-8", **options)


def write_parquet(path: Path, header: list[str], rows: Rows) -> None:
    pandas.DataFrame(rows, columns=header).to_parquet(path)


def write_arrow_csv(path: Path, header: list[str], rows: Rows) -> None:
    arrow, arrow_csv = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.csv")
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrow_csv.write_csv(arrow.table(columns, names=header), path)


WRITERS: dict[str, tuple[str, Callable[..., None], dict[str, Any]]] = {
    "csv": ("t.csv", write_csv, {}),
    "csv, all quoted": ("t.csv", write_csv, {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"}),
    "csv, no end of the last line": ("t.csv", write_csv_without_an_end, {}),
    "tsv": ("t.tsv", write_csv, {"delimiter": "\t", "lineterminator": "\n"}),
    "tsv, all quoted": ("t.tsv", write_csv, {"delimiter": "\t", "quoting": csv.QUOTE_ALL}),
    "pandas, with an index": ("t.csv", write_pandas, {}),
    "pandas, without": ("t.csv", write_pandas, {"index": False}),
    "pandas, tsv": ("t.tsv", write_pandas, {"index": False, "sep": "\t", "quoting": csv.QUOTE_NONNUMERIC}),
    "pyarrow": ("t.csv", write_arrow_csv, {}),
    "json lines": ("t.jsonl", write_json_lines, {}),
    "json": ("t.json", write_json, {}),
    "parquet": ("t.parquet", write_parquet, {}),
}
PROPERTY = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate])  # a failure is small enough; shrinking takes minutes


def training(path: Path, text: str, label: str, other: str) -> Rows:
    rows = read_rows(path, Columns((text,), label, other), Cache(path.parent / "cache"))
    assert rows.refused == ()
    ids = rows.table.column(other).texts(rows.index)
    assert all(id == cell for id, cell in zip(rows.ids, ids, strict=True) if not is_blank(cell))
    return list(zip((cells[0] for cells in rows.texts()), rows.labels, ids, strict=True))


def prediction(path: Path, text: str, other: str | None = None) -> list[tuple[str, str]]:
    stream = RowStream(record_source(path), (text,), other)
    found = [(texts[0], id) for id, texts in stream.rows()]
    notes = [line for line in stream.told().split("\n")
             if " no id (" not in line and " an id seen" not in line]
    if any("\0" in cell for cell, _ in found):
        assert len(notes) == 1 and "NUL characters" in notes[0]
    else:
        assert not any(notes)
    return found


@pytest.mark.parametrize("kind", WRITERS)
@PROPERTY
@given(rows=tables, header=st.permutations(range(3)),
       names=st.lists(names, min_size=3, max_size=3, unique=True))
def test_what_libraries_write_is_read_back(kind: str, rows: Rows, header: list[int], names: list[str],
                                           tmp_path_factory: pytest.TempPathFactory) -> None:
    # Without quotes a carriage return at the end of a line is a part of the line's end to anybody.
    assume(not any(row[header[-1]].endswith("\r") for row in rows))
    # What stands twice is a header again, and dashes below a header are those of a Markdown table.
    assume(not any([cell.strip() for cell in row] == names for row in rows) and not is_separator(rows[0]))
    name, write, options = WRITERS[kind]
    path = tmp_path_factory.mktemp("t") / name
    write(path, [names[at] for at in header], [tuple(row[at] for at in header) for row in rows], **options)
    assert training(path, *names) == rows
    assert prediction(path, names[0], names[2]) == [
        (row[0], ANY if is_blank(row[2]) else row[2]) for row in rows]


def test_a_table_of_one_column_is_read_back(tmp_path: Path) -> None:
    rows = ["one, two", "a\tb", 'say "hi"', "two\nlines", "plain", "a;b|c"]
    for name, options in (("t.csv", {}), ("t.tsv", {"delimiter": "\t"})):
        write_csv(tmp_path / name, ["text"], [(row,) for row in rows], **options)  # type: ignore[misc]
        assert [text for text, _ in prediction(tmp_path / name, "text")] == rows


words = st.text("ab ,\"\n\t", min_size=1, max_size=8).filter(str.strip)
DAMAGES = ("drop a field", "add a field", "drop a quote", "add a quote", "bad byte", "cut")


@settings(PROPERTY, max_examples=150)
@given(data=st.data(), rows=st.lists(st.tuples(words, words), min_size=3, max_size=8),
       quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), delimiter=st.sampled_from(",\t"),
       damage=st.sampled_from(DAMAGES))
def test_what_is_damaged_is_never_read_as_another_text(
    data: st.DataObject, rows: Rows, quoting: int, delimiter: str, damage: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = io.StringIO(newline="")
    writer = csv.writer(whole, quoting=quoting, delimiter=delimiter, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerow(["id", "text", "more"])
    for number, row in enumerate(rows):
        writer.writerow([f"k{number}", *row])
    content = whole.getvalue()
    broken = damaged(content, damage, delimiter, data)
    assume(broken is not None and broken != content.encode())
    path = tmp_path_factory.mktemp("t") / ("t.csv" if delimiter == "," else "t.tsv")
    path.write_bytes(broken or b"")
    expected = {f"k{number}": row for number, row in enumerate(rows)}
    said = ""
    try:
        source = record_source(path)
        records = list(source.records())
    except DataError as error:
        said = str(error)
    if said:
        assert re.search(r"t\.[ct]sv:\d+: ", said), said
        return
    if set(source.columns) - {""} != {"id", "text", "more"}:
        return  # the header was hit: a column that is not there is told by its name
    for place, (_, cells) in enumerate(records):
        if isinstance(cells, list):
            row = dict(zip(source.columns, cells, strict=True))
            same = expected.get(row["id"]) == (row["text"], row["more"])
            # Where quotes, delimiters and line ends alone are the texts, a part of a broken record can be a
            # whole one; the other part is refused beside it, or beyond records that hold nothing.
            before, after = records[:place][::-1], records[place:]
            told = source.notes or isinstance(cells_beside(before), str) or isinstance(
                cells_beside(after[1:]), str)
            assert same or told, (content, broken, row)


def cells_beside(records: list[ReadRecord]) -> list[str] | str | None:
    """Return the first record that holds something."""
    return next((cells for _, cells in records if any(cells)), None)


def damaged(content: str, damage: str, delimiter: str, data: st.DataObject) -> bytes | None:
    """Return a file with one thing wrong after its header, or None where it has none of the sort."""
    start = content.index("\n") + 1
    if damage == "bad byte":
        at = data.draw(st.integers(start, len(content)))
        return content[:at].encode() + b"\xff" + content[at:].encode()
    wanted = {"drop a field": delimiter, "drop a quote": '"'}.get(damage)
    inside = [content.count('"', 0, at) % 2 == 1 for at in range(len(content))]
    # A delimiter more or fewer within quotes is another text to anybody.
    places = [at for at in range(start, len(content)) if (wanted is None or content[at] == wanted)
              and not ("field" in damage and inside[at])]
    if not places:
        return None
    at = data.draw(st.sampled_from(places))
    if damage == "cut":
        # A last record cut short within its last field is a whole one to anybody.
        return content[:at].rsplit(delimiter, 1)[0].encode()
    if damage.startswith("drop"):
        return (content[:at] + content[at + 1:]).encode()
    return (content[:at] + (delimiter if damage == "add a field" else '"') + content[at:]).encode()


def read(path: Path) -> tuple[str, tuple[str, ...], list[ReadRecord]]:
    """Return what a file is refused for, its columns and its records."""
    try:
        source = record_source(path)
        return "", source.columns, list(source.records())
    except DataError as error:
        return str(error), (), []


# Escapes are whole within a string; the marks between the strings are what is damaged.
JSON_DAMAGES = ("drop a mark", "add a quote", "bad byte", "cut", "join two lines")


@settings(PROPERTY, max_examples=60)
@given(data=st.data(), rows=st.lists(st.tuples(nasty, nasty), min_size=2, max_size=6),
       damage=st.sampled_from(JSON_DAMAGES))
def test_a_damaged_line_of_json_is_refused_and_no_other_row_changes(
    data: st.DataObject, rows: Rows, damage: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    named = [(f"k{number}", *row) for number, row in enumerate(rows)]
    write_json_lines(path, ["id", "text", "more"], named)
    broken = damaged_json(path.read_bytes(), damage, data)
    assume(broken is not None)
    path.write_bytes(broken or b"")
    said, columns, records = read(path)
    if said:
        assert re.search(r"t\.jsonl:\d+: ", said), said
        return
    good = [dict(zip(columns, cells, strict=True)) for _, cells in records if isinstance(cells, list)]
    refused = [line for line, cells in records if isinstance(cells, str)]
    for row in good:
        assert (row["text"], row["more"]) == rows[int(row["id"][1:])], (broken, row)
    lost = len(rows) - len(good)
    assert damage == "cut" or lost == len(refused) + (damage == "join two lines"), (broken, refused)
    assert lost == 0 or refused or damage == "cut"


def damaged_json(content: bytes, damage: str, data: st.DataObject) -> bytes | None:
    """Return JSON lines with one thing wrong, or None where they have none of the sort."""
    if damage == "cut":
        return content[:data.draw(st.integers(content.index(b"\n") + 1, len(content) - 1))]
    if damage == "bad byte":
        at = data.draw(st.integers(0, len(content)))
        return content[:at] + b"\xff" + content[at:]
    if damage == "join two lines":
        ends = [at for at in range(len(content)) if content[at:at + 1] == b"\n"]
        at = data.draw(st.sampled_from(ends))
        return content[:at] + content[at + 1:]
    # A quote after a backslash is a part of a text, and one put there makes another text.
    places = [at for at in range(len(content)) if content[at - 1:at] != b"\\"
              and (content[at:at + 1] == b'"' if damage == "drop a mark" else content[at] < 0x80)]
    at = data.draw(st.sampled_from(places))
    dropped = damage == "drop a mark"
    return content[:at] + (b"" if dropped else b'"') + content[at + dropped:]


@settings(PROPERTY, max_examples=60, derandomize=True)
@given(data=st.data(), rows=st.lists(st.tuples(texts, texts), min_size=2, max_size=6),
       damage=st.sampled_from(["drop", "add", "change", "cut"]),
       compression=st.sampled_from(["snappy", "none"]))
def test_a_damaged_parquet_file_is_refused_or_read_as_it_was(
    data: st.DataObject, rows: Rows, damage: str, compression: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    path = tmp_path_factory.mktemp("t") / "t.parquet"
    table = arrow.table([[row[0] for row in rows], [row[1] for row in rows]], names=["text", "more"])
    # Without checksums nobody can tell one text from another.
    parquet.write_table(table, path, compression=compression, write_page_checksum=True, row_group_size=2)
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    new = bytes([data.draw(st.integers(0, 255))])
    path.write_bytes({"drop": content[:at] + content[at + 1:], "add": content[:at] + new + content[at:],
                      "change": content[:at] + new + content[at + 1:], "cut": content[:at]}[damage])
    said, columns, records = read(path)
    if said:
        assert said.startswith(str(path)), said
    elif set(columns) == {"text", "more"}:  # else a column that is not there is told by its name
        order = [columns.index("text"), columns.index("more")]
        assert [tuple(cells[at] for at in order) for _, cells in records] == rows, (damage, at, new)
