"""Shards: every record of a file once, in order, with its line, whatever the file looks like."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.core.errors import DataError
from polytask.data.file_format import FileFormat
from polytask.data.formats import record_source
from polytask.data.row_filter import RowFilter
from polytask.data.shards import CutFile, cut_file, named_files, shard_source

# Quotes that hold line ends and headers, a record too wide, a stray quote, blank lines, other scripts.
HARD = ('\ufefftext,lang\n"a\ntext,lang\n""b""",en\nné 日本,de\n\nx,y,z\n"open,de\nplain,en\n'
        + "".join(f'row {n},{"en" if n % 3 else "de"}\n"two\nlines {n}",en\n' for n in range(9)))
WESTERN = "text;lang\n" + "".join(f"é{n};en\n" for n in range(20))
LINES = "".join(json.dumps({"text": ["no text"] if n % 7 == 3 else f"é {n}", "lang": "en"},
                           ensure_ascii=False) + "\n" + "\n" * (n % 4 == 0) for n in range(20))
BARE = "1\tfirst\n2\t\"second\n3\tthird\n" * 5
FILES: dict[str, tuple[bytes, FileFormat]] = {
    "hard.csv": (HARD.encode(), FileFormat()),
    "hard.csv.gz": (gzip.compress(HARD.encode()), FileFormat()),
    "western.csv": (WESTERN.encode("latin-1"), FileFormat(encoding="latin-1")),
    "wide.csv": (WESTERN.encode("utf-16"), FileFormat(encoding="utf-16")),
    "old.csv": (WESTERN.replace("\n", "\r").encode(), FileFormat()),
    "windows.csv": (HARD.replace("\n", "\r\n").encode(), FileFormat()),
    "bare.tsv": (BARE.encode(), FileFormat(header=False, columns=("lang", "text"))),
    "lines.jsonl": (LINES.encode(), FileFormat()),
    "array.json": (json.dumps([{"text": f"{n}", "lang": "en"} for n in range(20)]).encode(), FileFormat()),
}


def cut(path: Path, settings: FileFormat, rows: int, where: dict[str, str] | None = None) -> CutFile:
    file = cut_file(path, settings, ["text"], RowFilter.of(where), rows)
    return CutFile.from_json(json.loads(json.dumps(file.to_json())))


def written(name: str, tmp_path: Path) -> tuple[Path, FileFormat]:
    content, settings = FILES[name]
    (tmp_path / name).write_bytes(content)
    return tmp_path / name, settings


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("name", FILES)
def test_the_shards_of_a_file_are_the_file(name: str, rows: int, tmp_path: Path) -> None:
    path, settings = written(name, tmp_path)
    file = cut(path, settings, rows)
    whole = list(record_source(path, settings).records())
    found = [list(shard_source(file, shard).records()) for shard in file.shards]
    assert [record for part in found for record in part] == whole and len(whole) > 12
    assert [len(part) for part in found] == [shard.records for shard in file.shards]
    assert all(shard.rows == rows for shard in file.shards[:-1]) and (len(found) > 1) is (rows < 100)


def test_a_shard_is_read_from_its_own_byte(tmp_path: Path) -> None:
    path, settings = written("hard.csv", tmp_path)
    last = cut(path, settings, 5).shards[-1]
    assert path.read_bytes()[last.byte:].decode().startswith(("row", '"two'))
    zipped, settings = written("hard.csv.gz", tmp_path)
    assert {shard.byte for shard in cut(zipped, settings, 5).shards} == {0}


def test_row_groups_are_cut_between_and_within(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(25)]}), path, row_group_size=4)
    for rows in (1, 3, 8, 30):
        file = cut(path, FileFormat(), rows)
        found = [record for shard in file.shards for record in shard_source(file, shard).records()]
        assert found == [(n + 1, [f"t{n}"]) for n in range(25)]
    assert [shard.group for shard in cut(path, FileFormat(), 8).shards] == [0, 2, 4, 6]


def test_rows_are_counted_as_they_are_answered(tmp_path: Path) -> None:
    path, settings = written("hard.csv", tmp_path)
    file = cut(path, settings, 2, {"lang": "de"})
    assert [shard.rows for shard in file.shards] == [2, 1]  # "row 0" is lost to the quote that stays open
    assert sum(shard.records for shard in file.shards) == len(list(record_source(path, settings).records()))


def test_nul_characters_are_reported_when_a_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text\na\nb\0\n\0c\n")
    notes = cut_file(path, FileFormat(), ["text"], RowFilter(), 1).notes
    assert [note for note in notes if "NUL" in note] == [
        "2 records hold NUL characters (lines 3, 4), which the tokenizer is given as they stand; is the "
        "file damaged, or in another encoding?"]


def test_ids_are_reported_when_a_file_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,a\n,b\n1,c\n")
    assert cut_file(path, FileFormat(), ["text"], RowFilter(), 1).notes == (
        "1 record has no id (line 3); the number of the line stands for it",
        '1 record has an id seen before ("1" in lines 2 and 4), so predictions cannot be told apart by it')


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path, settings = written("western.csv", tmp_path)
    file = cut(path, settings, 5)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match=r"western\.csv: changed since it was cut into shards"):
        shard_source(file, file.shards[0])


def test_files_are_named_by_paths_patterns_and_folders(tmp_path: Path) -> None:
    for name in ("b.csv", "a.tsv.gz", "sub/c.parquet", "notes.txt", ".hidden.csv", "_temporary/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in named_files([tmp_path])] == ["a.tsv.gz", "b.csv", "c.parquet"]
    assert [path.name for path in named_files([tmp_path / "b.csv", f"{tmp_path}/*.*"])] == [
        "b.csv", "a.tsv.gz", "notes.txt"]
    with pytest.raises(DataError, match=r"x\*\.csv: no file has such a name"):
        named_files([f"{tmp_path}/x*.csv"])
    with pytest.raises(DataError, match=r'did you mean "b\.csv"'):
        named_files([tmp_path / "bb.csv"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: has no table in it"):
        named_files([tmp_path / "empty"])


def test_shards_begin_where_lines_do_after_repeated_byte_order_marks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeff\ufefftext\nfirst\nsecond\nthird\n", encoding="utf-8")
    file = cut_file(path, FileFormat(), ["text"], RowFilter(), 1)
    assert [list(shard_source(file, shard).records()) for shard in file.shards] == [
        [(2, ["first"])], [(3, ["second"])], [(4, ["third"])]]
