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

import pandas
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from polytask.core.errors import DataError
from polytask.data.cache import Cache
from polytask.data.formats import record_source
from polytask.data.reading import Columns, read_rows
from polytask.data.row_stream import RowStream

Rows = list[tuple[str, str]]

nasty = st.text(st.one_of(st.sampled_from("\t\n\r\",;|'\\ #{[=\ufeff\u2028\x00\x85é漢😀0"),
                          st.characters(codec="utf-8")), max_size=12)
# A text and a label are something; blanks around a label are no part of it.
texts = nasty.filter(str.strip)
labels = nasty.map(str.strip).filter(bool)
# The header's names are stripped, and may be no JSON or UTF-16 to look at.
names = nasty.map(str.strip).filter(lambda name: name and name[0] not in "{[" and "\0" not in name)
tables = st.lists(st.tuples(texts, labels), min_size=1, max_size=6)


def write_csv(path: Path, header: list[str], rows: Rows, **options: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **options)
        writer.writerow(header)
        writer.writerows(rows)


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


def training(path: Path, text: str, label: str) -> Rows:
    rows = read_rows(path, Columns((text,), label), Cache(path.parent / "cache"))
    assert rows.refused == ()
    return list(zip((cells[0] for cells in rows.texts()), rows.labels, strict=True))


def prediction(path: Path, text: str) -> list[str]:
    stream = RowStream(record_source(path), (text,))
    found = [texts[0] for _, texts in stream.rows()]
    assert stream.told() == ""
    return found


@pytest.mark.parametrize("kind", WRITERS)
@PROPERTY
@given(rows=tables, text=names, label=names)
def test_what_libraries_write_is_read_back(kind: str, rows: Rows, text: str, label: str,
                                           tmp_path_factory: pytest.TempPathFactory) -> None:
    assume(text != label)
    name, write, options = WRITERS[kind]
    path = tmp_path_factory.mktemp("t") / name
    write(path, [text, label], rows, **options)
    assert training(path, text, label) == rows
    assert prediction(path, text) == [row[0] for row in rows]


def test_a_table_of_one_column_is_read_back(tmp_path: Path) -> None:
    rows = ["one, two", "a\tb", 'say "hi"', "two\nlines", "plain", "a;b|c"]
    for name, options in (("t.csv", {}), ("t.tsv", {"delimiter": "\t"})):
        write_csv(tmp_path / name, ["text"], [(row,) for row in rows], **options)  # type: ignore[misc]
        assert prediction(tmp_path / name, "text") == rows


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
            # whole one; the other part is refused beside it.
            beside = records[max(place - 1, 0):place + 2]
            told = source.notes or any(isinstance(other, str) for _, other in beside)
            assert same or told, (content, broken, row)


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
