"""Large files in shards, each read by itself and by the same rules as the whole.

A file is read once to be cut: how it is written is told from all of it, and a shard begins where a
record begins (quotes hold line ends, so no place of a file can be judged by itself). A shard is read from
its own first byte or row group on; one of a gzipped file, or of a JSON array, after what stands before it.
"""

from __future__ import annotations

import codecs
import glob
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from polytask.core.errors import DataError
from polytask.core.json_files import typed
from polytask.data.arrow_records import parquet_records, row_groups
from polytask.data.delimited import Dialect, survey
from polytask.data.file_format import UTF8, FileFormat
from polytask.data.formats import RecordSource, kind_of, record_source
from polytask.data.json_records import json_array, json_cells, json_lines
from polytask.data.quoted_records import ReadRecord
from polytask.data.reading import check_file
from polytask.data.row_filter import RowFilter
from polytask.data.row_ids import RowIds, id_column
from polytask.data.row_stream import blank_note, holds_nul, lacks_text, nul_note, texts_reader
from polytask.data.tables import column_index
from polytask.data.text_lines import LinePlace, bytes_of_mark, is_utf8, read_lines

SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True)
class Shard:
    """A part of a file.

    line     of its first record; in Parquet and JSON arrays, whose records have no lines, its number
    byte     the first one of that line; 0: the lines before it have to be read
    group    the row group of Parquet in which it begins
    records  how many it has
    rows     how many of them are rows with texts, which are answered
    """

    line: int
    byte: int
    group: int
    records: int
    rows: int


@dataclass(frozen=True)
class CutFile:
    """A file in shards, and all that reading one of them needs."""

    path: str
    size: int
    modified: int
    kind: str
    encoding: str
    columns: tuple[str, ...]
    dialect: Dialect | None
    notes: tuple[str, ...]
    shards: tuple[Shard, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shards": [list(vars(shard).values()) for shard in self.shards]}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> CutFile:
        """Return what `to_json` wrote; raise `ValueError` or `TypeError` for anything else."""
        shards = [vars(Shard(*numbers)) for numbers in table["shards"]]
        file = typed(cls, {**table, "shards": shards})
        if any(number < 0 for shard in file.shards for number in vars(shard).values()):
            raise ValueError("a number of its shards is negative")
        try:
            codecs.lookup(file.encoding)
        except LookupError as error:
            raise ValueError(f"encoding: {error}") from None
        if file.dialect is not None and len(file.dialect.delimiter or ",") != 1:
            raise ValueError("a delimiter has more than one character")
        return file


def named_files(names: Iterable[str | Path]) -> list[Path]:
    """Return the files that paths, patterns (`part-*.csv`) and folders name, in order, each once.

    A folder stands for the tables in it and below, by name. Raises `DataError` for what names no file.
    """
    files: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            matches = sorted(file for file in path.rglob("*") if file.is_file() and _is_table(file, path))
            remedy = f"has no table in it (a name that ends with {', '.join(SUFFIXES)}, or these and .gz)"
        elif not path.exists() and glob.has_magic(str(path)):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))
                       if Path(match).is_file()]
            remedy = "no file has such a name"
        else:
            check_file(path)
            matches, remedy = [path], ""
        if not matches:
            raise DataError(f"{name}: {remedy}")
        files |= dict.fromkeys(matches)
    return list(files)


def _is_table(path: Path, root: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(root).parts)
    return not hidden and Path(path.name.removesuffix(".gz")).suffix.lower() in SUFFIXES


def cut_file(path: Path, settings: FileFormat, text: Sequence[str], where: RowFilter, rows: int,
             id: str | None = None) -> CutFile:
    """Cut a file into shards of `rows` answered rows each; the last one has the rest.

    text: the columns that are read; id: that of the ids, if a task names one. Raises `DataError` for a file
    that is not a table or lacks them.
    """
    state = path.stat()
    kind = kind_of(path, settings.encoding)
    if kind == "delimited":
        dialect = survey(str(path), partial(read_lines, path, settings.encoding), settings)
        source = RecordSource(str(path), dialect.columns, lambda: iter(()), dialect.notes)
    else:
        dialect, source = None, record_source(path, settings)
    file = CutFile(str(path), state.st_size, state.st_mtime_ns, kind, settings.encoding, source.columns,
                   dialect, source.notes, ())
    texts_of = texts_reader(source, text, where)
    blank: list[int] = []
    holding_nul: list[int] = []
    ids, name = RowIds(), id_column(source.columns, id, text)
    identity = None if name is None else column_index(source.columns, name, source.file)

    def answered(record: ReadRecord) -> bool:
        texts = texts_of(record)
        if isinstance(texts, tuple) and lacks_text(texts):
            blank.append(record[0])
        if isinstance(texts, tuple) and holds_nul(texts):
            holding_nul.append(record[0])
        if isinstance(texts, tuple) and identity is not None:
            ids.of(str(record[1][identity]), record[0])
        return isinstance(texts, tuple)

    shards = tuple(_shards(file, answered, rows))
    notes = (*file.notes, *(note(lines) for note, lines in ((blank_note, blank), (nul_note, holding_nul))
                            if lines), *ids.notes())
    return CutFile(**{**vars(file), "notes": notes, "shards": shards})


def _shards(file: CutFile, answered: Callable[[ReadRecord], bool], rows: int) -> Iterator[Shard]:
    """Yield the shards: a new one begins with the record after the last row of the one before."""
    begin, records, taken = (1, 0, 0), 0, 0
    for place, record in _placed_records(file):
        if taken == rows or not records:
            if records:
                yield Shard(*begin, records, taken)
            begin, records, taken = place, 0, 0
        records += 1
        taken += answered(record)
    if records:
        yield Shard(*begin, records, taken)


def _placed_records(file: CutFile) -> Iterator[tuple[tuple[int, int, int], ReadRecord]]:
    """Yield ((line, byte, group), record) of every record."""
    path = Path(file.path)
    if file.kind == "Parquet":
        ends, group = list(accumulate(row_groups(path))), 0
        for number, cells in parquet_records(path):
            while number > ends[group]:
                group += 1
            yield (number, 0, group), (number, cells)
    elif file.kind == "JSON array":
        for number, record in enumerate(json_cells(file.columns, json_array(path, file.encoding)), 1):
            yield (number, 0, 0), record
    else:
        lines = _CountedLines(path, file.encoding)
        for record in _text_records(file, lines, 1):
            yield (record[0], lines.byte(record[0]), 0), record


def _text_records(file: CutFile, lines: Iterable[str], first: int) -> Iterator[ReadRecord]:
    if file.dialect is None:
        return json_cells(file.columns, json_lines(lines, first))
    return file.dialect.records(lines, first)


class _CountedLines:
    """The lines of a file, which remembers where those begin that a reader may still ask for."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.encoding = path, encoding
        self.mark = bytes_of_mark(path, encoding)
        self.places: deque[tuple[int, int]] = deque()

    def __iter__(self) -> Iterator[str]:
        encoding = UTF8 if is_utf8(self.encoding) else self.encoding
        byte = self.mark or 0
        for number, line in enumerate(read_lines(self.path, self.encoding), 1):
            self.places.append((number, byte if number > 1 and self.mark is not None else 0))
            byte += len(line) if line.isascii() else len(line.encode(encoding))
            yield line

    def byte(self, line: int) -> int:
        """Return the first byte of a line, 0 where lines have no places; forget the lines before."""
        while self.places[0][0] < line:
            self.places.popleft()
        return self.places[0][1]


def shard_source(file: CutFile, shard: Shard) -> RecordSource:
    """Return the records of a shard, with the lines that they have in the whole file.

    Raises `DataError` for a file that is no longer the one that was cut.
    """
    path = Path(file.path)
    check_file(path)
    state = path.stat()
    if (state.st_size, state.st_mtime_ns) != (file.size, file.modified):
        raise DataError(f"{path}: changed since it was cut into shards; give another --out")
    return RecordSource(file.path, file.columns, partial(_shard_records, file, shard), file.notes)


def _shard_records(file: CutFile, shard: Shard) -> Iterator[ReadRecord]:
    path, skipped = Path(file.path), 0
    records: Iterable[ReadRecord]
    if file.kind == "Parquet":
        skipped = shard.line - 1 - sum(row_groups(path)[:shard.group])
        records = parquet_records(path, shard.group)
    elif file.kind == "JSON array":
        skipped = shard.line - 1
        records = json_cells(file.columns, json_array(path, file.encoding))
    else:
        lines = read_lines(path, file.encoding, LinePlace(shard.line, shard.byte))
        records = _text_records(file, lines, shard.line)
    return islice(records, skipped, skipped + shard.records)
