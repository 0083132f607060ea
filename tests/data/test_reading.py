"""Files as they are found become the rows they mean, and what is not a row is told by its line."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polytask.core.errors import DataError, MissingExtra
from polytask.data import formats, reading
from polytask.data.cache import Cache
from polytask.data.reading import Columns
from small_data import read_rows, write

PAIR = Columns(("a", "b"), "label", "id")

nasty = st.text(
    st.one_of(st.sampled_from("\t\n\r\",;|' \\#\ufeff\u2028é漢😀"), st.characters(codec="utf-8")),
    max_size=12,
)


def read(path: Path, columns: Columns = PAIR) -> reading.Rows:
    return read_rows(path, columns, Cache(path.parent / "cache"))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(nasty, nasty), min_size=1, max_size=6),
    delimiter=st.sampled_from(["\t", ",", ";", "|"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.booleans(), zipped=st.booleans(),
)
def test_whatever_csv_writes_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, ending: str, quoting: int,
    mark: bool, zipped: bool,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writerow(["", "id", "a", "b", "label"])
    lines = []
    for number, (a, b) in enumerate(rows):
        lines.append(1 + text.getvalue().count("\n"))
        writer.writerow([number, f"id{number}", "x" + a, b + "y", number % 2])
    content = text.getvalue().encode("utf-8-sig" if mark else "utf-8")
    path = tmp_path / "rows.csv"
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read(path)
    assert found.texts() == [("x" + a, b + "y") for a, b in rows]
    assert found.labels == [str(number % 2) for number in range(len(rows))]
    assert found.ids == [f"id{number}" for number in range(len(rows))]
    assert found.lines.tolist() == lines
    assert found.refused == ()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(nasty, nasty), min_size=1, max_size=6), array=st.booleans(),
       indent=st.sampled_from([None, 1]))
@example(rows=[("\u2028", "\x85")], array=False, indent=None)
def test_whatever_json_writes_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str]], array: bool, indent: int | None
) -> None:
    records = [{"id": number, "a": "x" + a, "b": b + "y", "label": 1.5} for number, (a, b)
               in enumerate(rows)]
    path = tmp_path / "rows.json"
    if array:
        path.write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8",
                        newline="")
    else:
        path.write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in records),
                        encoding="utf-8", newline="")
    found = read(path)
    assert found.texts() == [("x" + a, b + "y") for a, b in rows]
    assert found.labels == ["1.5"] * len(rows)
    if not array:
        assert found.lines.tolist() == list(range(1, len(rows) + 1))
    elif indent:
        assert found.lines.tolist() == [2 + 6 * number for number in range(len(rows))]


def test_index_columns_without_names_are_passed_over(tmp_path: Path) -> None:
    doubled = write(tmp_path / "doubled.csv", "0\t\tid\ta\tb", "1\t0.0\tx\tone\ttwo")
    assert read(doubled, Columns(("a", "b"), None, "id")).texts() == [("one", "two")]
    row_names = write(tmp_path / "r.csv", '"a","b","label"', '"1","one, two","three",0',
                      '"2","four","five",1')
    assert read(row_names, Columns(("a", "b"), "label")).texts() == [
        ("one, two", "three"), ("four", "five")]


def test_quotes_that_quote_nothing_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.tsv", "label\ta\tb",
                 '1\t"Sanitation is poor...\t"Sanitation is poor," he said.',
                 "0\tHe said it.\t\"I won't\" and left",
                 '1\tThe "witness" spoke\tAn 8" nail "',
                 '1\t"whole"\tshort')
    assert read(path, Columns(("a", "b"), "label")).texts() == [
        ('"Sanitation is poor...', '"Sanitation is poor," he said.'),
        ("He said it.", "\"I won't\" and left"),
        ('The "witness" spoke', 'An 8" nail "'),
        ('"whole"', "short")]


def test_one_stray_quote_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    good = [f'{k % 2}\t"He said ""no"" {k}"\tplain {k}' for k in range(20)]
    stray = '1\t"never closed\tb'
    path = write(tmp_path / "stray.tsv", "label\ta\tb", *good[:10], stray, *good[10:])
    found = read(path, Columns(("a", "b"), "label"))
    assert found.refused == ((12, "text after the quote that closes a field"),)
    assert len(found) == 20
    assert found.texts([0, 10, 19]) == [('He said "no" 0', "plain 0"), ('He said "no" 10', "plain 10"),
                                        ('He said "no" 19', "plain 19")]


def test_refused_rows_are_reported_by_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a,b,label", "x,y,1", "x,y", '"two\nlines",y,0', "x,y,",
                 "x,,1", " , ,1", "x,y,1,2", "", "x,y,0")
    found = read(path, Columns(("a", "b"), "label"))
    assert found.refused == (
        (3, "2 fields, expected 3"), (6, "no label"), (8, "no text"), (9, "4 fields, expected 3"))
    assert (found.found, len(found), found.unlabeled) == (8, 4, 1)
    assert found.lines.tolist() == [2, 4, 7, 11]
    assert found.texts([1, 2]) == [("two\nlines", "y"), ("x", "")]


def test_json_rows_may_lack_keys_and_have_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"a": "x", "label": ["red", "blue"]}', '{"a": "y"}',
                 "[1]", '{"a": ', '{"a": 3, "label": 1, "more": null}')
    found = read(path, Columns(("a",), "label"))
    assert found.texts() == [("x",), ("3",)]
    assert found.labels == ['["red", "blue"]', "1"]
    assert found.refused == ((2, "no label"), (3, "found [1], expected an object"),
                             (4, "is not JSON (Expecting value)"))


BAD = {
    "a folder": ("", None, "is a folder, expected a file"),
    "no such file": ("trian.csv", None, 'there is no such file; did you mean "train.csv"?'),
    "no such folder": ("data/train.csv", None, "there is no folder"),
    "empty": ("x.csv", b"", "x.csv: is empty, expected a header line and rows"),
    "blank lines": ("x.csv", b"\n\n", "x.csv: is empty, expected a header line and rows"),
    "header only": ("x.csv", b"a\tb\tlabel\n", "x.csv: has a header line but no rows"),
    "no such column": ("x.csv", b"a,bb,label\nx,y,1\n",
                       'there is no column "b"; did you mean "bb"? (its columns: "a", "bb", "label")'),
    "one column twice": ("x.csv", b"a,a,b,label\nx,y,z,1\n", 'there are 2 columns named "a"'),
    "Latin-1": ("x.csv", b"a,b,label\nx,y,1\ncaf\xe9,y,1\n", "x.csv:3: is not UTF-8 text"),
    "UTF-16": ("x.csv", "a,b,label\nx,y,1\n".encode("utf-16"), "x.csv:1: is UTF-16 text"),
    "a cut gzip": ("x.csv.gz", gzip.compress(b"a,b,label\n" + bytes(range(33, 90)) * 90)[:-30],
                   "is not a whole gzip file"),
    "another width": ("x.csv", b"a,b,label\nx,y,1\nx\nx\n",
                      "x.csv:3: 1 field, expected 3; 2 of 3 records are refused"),
    "no labels": ("x.csv", b"a,b,label\nx,y,\n",
                  'none of its 1 row has a label in column "label"'),
    "no texts": ("x.csv", b"a,b,label\n,,1\n", "none of its 1 row has any text"),
    "a cut JSON array": ("x.json", b'[{"a": "x"},\n {"a": ', "x.json:2: is not JSON"),
    "a cut Parquet": ("x.parquet", b"PAR1 and no more", "is not a whole Parquet file"),
}


@pytest.mark.parametrize(("name", "content", "said"), BAD.values(), ids=BAD)
def test_bad_files_are_reported_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    write(tmp_path / "train.csv", "a,b,label", "x,y,1")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name, Columns(("a", "b"), "label"))
    assert said in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_and_hub_data_sets_are_rows_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = importlib.import_module("datasets")
    features = datasets.Features({"a": datasets.Value("string"), "b": datasets.Value("string"),
                                  "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict(
        {"a": ["x", "y\tz"], "b": ["1", "2"], "label": [1, -1]}, features=features)
    made.to_parquet(tmp_path / "rows.parquet")
    rows = read(tmp_path / "rows.parquet", Columns(("a", "b"), "label"))
    assert (rows.texts(), rows.labels) == ([("x", "1"), ("y\tz", "2")], ["1", "-1"])

    asked: list[object] = []
    monkeypatch.setattr(datasets, "load_dataset",
                        lambda *args, **options: asked.append((args, options)) or made)
    rows = read_rows("hf://nyu/glue/rte:train", Columns(("a", "b"), "label"), Cache(tmp_path / "c"))
    assert asked == [(("nyu/glue", "rte"), {"split": "train"})]
    assert (rows.texts(), rows.labels, rows.refused) == ([("x", "1")], ["yes"], ((2, "no label"),))


def test_an_absent_extra_is_reported_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r'pip install "polytask\[data\]"'):
        read(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r'pip install "polytask\[data\]"'):
        read_rows("hf://owner/name/train", PAIR, Cache(tmp_path))


def test_a_second_start_does_not_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_SETTLED_SECONDS", -60.0)
    path = write(tmp_path / "rows.csv", "a,b,label,id", "x,y,1,k")
    first = read(path)
    monkeypatch.setattr(reading, "parse", lambda path: pytest.fail("the file was parsed again"))
    opened = Path.open

    def closed(self: Path, *args: object, **options: object) -> object:
        assert self != path, "the file was opened again"
        return opened(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", closed)
    again = read(path)
    assert (again.texts(), again.labels, again.ids) == (first.texts(), first.labels, first.ids)


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "rows.csv", "a,b,label,id", "x,y,1,k")
    assert read(path).labels == ["1"]
    write(path, "a,b,label,id", "x,y,2,k")  # at once, and of the same size
    assert read(path).labels == ["2"]
    monkeypatch.setattr(reading, "_SETTLED_SECONDS", -60.0)
    assert read(path).labels == ["2"]
    time.sleep(0.02)
    write(path, "a,b,label,id", "x,y,3,k")
    assert read(path).labels == ["3"]


def test_long_fields_leave_csv_as_it_was(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = write(tmp_path / "rows.csv", "a,b,label,id", f"{'x' * 300_000},y,1,k")
    assert len(read(path).texts()[0][0]) == 300_000
    assert csv.field_size_limit() == before
    assert formats.parse(path).refused == []


@pytest.mark.data
@pytest.mark.parametrize(("name", "columns", "found", "refused"), [
    ("ids-sst-train.csv", Columns(("sentence",), "sentiment", "id"), 8544, ()),
    ("ids-sst-dev.csv", Columns(("sentence",), "sentiment", "id"), 1101, ()),
    ("ids-sst-test-student.csv", Columns(("sentence",), None, "id"), 2210, ()),
    ("ids-cfimdb-train.csv", Columns(("sentence",), "sentiment", "id"), 1707, ()),
    ("quora-train.csv", Columns(("sentence1", "sentence2"), "is_duplicate", "id"), 61394, ()),
    ("quora-dev.csv", Columns(("sentence1", "sentence2"), "is_duplicate", "id"), 20214,
     ((2577, "no label"), (14222, "no label"))),
    ("sts-train.csv", Columns(("sentence1", "sentence2"), "similarity", "id"), 6040, ()),
    ("sts-dev.csv", Columns(("sentence1", "sentence2"), "similarity", "id"), 863, ()),
    ("sts-test-student.csv", Columns(("sentence1", "sentence2"), None, "id"), 1725, ()),
    ("extra/msr-para-train.tsv", Columns(("#1 String", "#2 String"), "Quality"), 3576, ()),
    ("extra/msr-para-val.tsv", Columns(("#1 String", "#2 String"), "Quality"), 500, ()),
    ("extra/sick2014.csv", Columns(("sentence_A", "sentence_B"), "relatedness_score"), 9840, ()),
    ("extra/nli-triples.csv", Columns(("sent0", "sent1"), "hard_neg"), 27560, ()),
])
def test_the_real_files_are_read_whole(
    real_data: Path, tmp_path: Path, name: str, columns: Columns, found: int,
    refused: tuple[object, ...],
) -> None:
    rows = read_rows(real_data / name, columns, Cache(tmp_path))
    assert (rows.found, rows.refused) == (found, refused)
    assert len(rows) == found - len(refused)


def test_devices_and_pipes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("zero.csv", "pipe.csv"):
        with pytest.raises(DataError, match=rf"{name}: is a device or a pipe, expected a file"):
            read(tmp_path / name)


@pytest.mark.parametrize("known", [[1], 7, None, {"key": "x"}, {"state": "…", "key": 3},
                                   {"state": "…", "key": ["0" * 32]}, {"state": "…", "key": "../" * 10}])
def test_a_fact_of_another_shape_is_gathered_again(known: object, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SETTLED_SECONDS", -60.0)
    cache, file = Cache(tmp_path / "cache"), write(tmp_path / "a.csv", "a\nb\n")
    key = reading.content_key(file, cache)
    entry, = (cache.folder / "files").iterdir()
    kept = json.loads(entry.read_text())
    if isinstance(known, dict) and "state" in known:
        known = known | {"state": kept["state"]}
    entry.write_text(json.dumps(known))
    assert reading.content_key(file, cache) == key and json.loads(entry.read_text()) == kept
    entry.write_text(json.dumps(kept | {"key": "0" * 32}))
    assert reading.content_key(file, cache) == "0" * 32, "an entry of the right shape is not read"
