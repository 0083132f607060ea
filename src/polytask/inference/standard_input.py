"""Texts from standard input: one per line, or CSV or JSON lines if the user says so; nothing is guessed."""

from __future__ import annotations

import codecs
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from polytask.core.atomic_files import storing
from polytask.core.errors import ConfigError, DataError, nearest
from polytask.data.delimiter import refuse_saying
from polytask.data.file_format import DELIMITERS, FileFormat
from polytask.data.formats import RecordSource, kind_of, record_source
from polytask.data.quoted_records import QuoteTally, quoted_records
from polytask.data.row_stream import StreamedRow
from polytask.data.text_lines import MAX_LINE

KINDS = ("text", "csv", "jsonl")
NAME = "standard input"
_PART = 1 << 20
_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# The first line of JSON: an object (of Python too), an array of them, or a bracket by itself.
_JSON = re.compile(r'\s*(\{\s*["\']|\[\s*\{|[\[{]\s*\Z)')


def check_kind(kind: str | None) -> None:
    """Raise `ConfigError` for an --input-format that there is not."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f'--input-format: found "{kind}", expected text, csv or jsonl'
                          f"{nearest(kind, KINDS)}")


def typed_rows(text: Sequence[str], labelled: bool) -> Iterator[StreamedRow]:
    """Yield the lines of standard input; the texts of a pair are separated by a tab.

    labelled: whether the user said that it is text. Raises `DataError` for a line that is not UTF-8 or has
    another number of texts, and for a first line that looks like JSON, or like the header of a table.
    """
    for number, line in enumerate(_lines(), 1):
        if number == 1 and not labelled:
            _refuse_a_table(line, text)
        texts = tuple(line.split("\t")) if len(text) > 1 else (line,)
        if len(texts) != len(text):
            raise DataError(f"{NAME}:{number}: found {len(texts)} field{'s' * (len(texts) != 1)}, "
                            f"expected {len(text)} separated by tabs ({', '.join(text)})")
        yield str(number), texts


@contextmanager
def piped_source(kind: str, settings: FileFormat) -> Iterator[RecordSource]:
    """Give the records of CSV or JSON lines on standard input, which is kept on disk meanwhile."""
    with tempfile.TemporaryDirectory(prefix="polytask-") as folder:
        path = Path(folder) / f"{NAME}.{kind}"
        with storing(path), path.open("wb") as file:
            for part in iter(lambda: _bytes().read(_PART), b""):
                file.write(part)
        try:
            actual = kind_of(path, settings.encoding)
            if (kind == "jsonl") is not actual.startswith("JSON"):
                raise DataError(f"{NAME}:1: looks like {'JSON' if kind == 'csv' else actual + ' text'}, "
                                f"but --input-format says {kind}")
            source = record_source(path, settings)
            yield replace(source, file=NAME, records=lambda: _renamed(source, path))
        except DataError as error:
            raise DataError(str(error).replace(str(path), NAME)) from None


def _renamed(source: RecordSource, path: Path) -> Iterator[tuple[int, list[str] | str]]:
    try:
        yield from source.records()
    except DataError as error:
        raise DataError(str(error).replace(str(path), NAME)) from None


def _bytes() -> BinaryIO:
    return sys.stdin.buffer


def _lines() -> Iterator[str]:
    number = 0
    while line := _bytes().readline(MAX_LINE + 1):
        number += 1
        if number == 1 and line.startswith(_GZIP):
            raise DataError(f"{NAME}: is packed with gzip, expected text; unpack it first, for example "
                            "with gunzip -c, or name the file")
        if len(line) > MAX_LINE:
            raise DataError(f"{NAME}:{number}: the line has more than {MAX_LINE:,} bytes; expected one "
                            "text per line")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            encoding = "utf-16" if line.startswith(_UTF16) else "latin1"
            raise DataError(f"{NAME}:{number}: is not UTF-8 text ({error.reason}); convert it, for example "
                            f"with iconv -f {encoding} -t utf-8") from None
        if "\0" in text:
            raise DataError(f"{NAME}:{number}: holds a NUL byte, expected one text per line; convert "
                            "UTF-16, for example with iconv -f utf-16 -t utf-8")
        yield text.removesuffix("\n").removesuffix("\r")


def _is_list(line: str) -> bool:
    """Return whether a line is a JSON list of texts; a text may begin with a bracket, or be a footnote: "
      "[1]."""
    try:
        items = json.loads(line) if line.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(items, list) and any(isinstance(item, str) for item in items)


def _refuse_a_table(line: str, text: Sequence[str]) -> None:
    """Raise `DataError` for a line that is JSON, or names the columns that the tasks read."""
    if _JSON.match(line) or _is_list(line):
        raise DataError(f"{NAME}:1: looks like JSON; give --input-format jsonl, or text if it is text")
    refuse_saying(NAME, line)
    for delimiter in (None, *DELIMITERS):
        _, cells = next(quoted_records(NAME, [line], delimiter, QuoteTally()), (1, ""))
        names = {cell.strip().casefold() for cell in cells} if isinstance(cells, list) else set()
        if names >= {name.casefold() for name in text}:
            raise DataError(f"{NAME}:1: looks like the header of a table ({', '.join(text)}); give "
                            "--input-format csv, or text if it is text")
