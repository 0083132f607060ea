"""How a delimited file is written: its delimiter, its quotes, its header. Told by its content.

Files named .csv are tab separated, and files full of quotation marks may quote nothing: whichever
reading leaves the fewest records of a wrong width is taken.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

DelimitedRecord = tuple[int, list[str]]
Quotes = Literal["csv", "none", "each"]

DELIMITERS = ("\t", ",", ";", "|")
_SAMPLE = 200
_BLOCK = 4096
# A field longer than this is a quote that nobody closed.
_FIELD_LIMIT = 1 << 24
# A lone surrogate, which no UTF-8 text holds.
_RETURN = "\udc0d"
_QUOTED = re.compile(r'"(?:[^"]|"")*"\Z')


@dataclass(frozen=True)
class Dialect:
    """`quotes`: "csv" as RFC 4180, "none" characters like any other, "each" field by field.

    "each" is a file that quotes its fields, but with a stray quote somewhere, so that every line
    is a record and fields are unquoted one at a time. `shift`: the header lacks the index column.
    """

    delimiter: str
    quotes: Quotes
    header: tuple[str, ...]
    shift: bool = False

    def records(self, lines: Iterable[str]) -> Iterator[DelimitedRecord]:
        """Yield (line number, fields) of every record after the header."""
        quotes: Literal["csv", "none"] = "csv" if self.quotes == "csv" else "none"
        found = islice(split(lines, self.delimiter, quotes), 1, None)
        if self.quotes != "each":
            return found
        return ((line, [unquoted(field) for field in fields]) for line, fields in found)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the fields of a record; an index column that has no name is ''."""
        return ("", *self.header) if self.shift else self.header


def unquoted(field: str) -> str:
    """Return a field without its CSV quotes, or as it stands where they are not."""
    return field[1:-1].replace('""', '"') if len(field) > 1 and _QUOTED.match(field) else field


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def split(lines: Iterable[str], delimiter: str, quotes: Literal["csv", "none"],
          strict: bool = False) -> Iterator[DelimitedRecord]:
    """Yield (number of its first line, fields) of every record that is not a blank line.

    A record that csv cannot read comes as one field, so that its width tells it is wrong.
    """
    reader = csv.reader(map(_shield, lines), delimiter=delimiter, strict=strict,
                        quoting=csv.QUOTE_MINIMAL if quotes == "csv" else csv.QUOTE_NONE)
    while block := _block(reader, strict):
        yield from (record for record in block if record[1])


def _shield(line: str) -> str:
    """Put a stand-in for carriage returns within a line, which csv takes for its end."""
    end = len(line) - (2 if line.endswith("\r\n") else 1)
    return line[:end].replace("\r", _RETURN) + line[end:] if "\r" in line[:end] else line


def _block(reader: Any, strict: bool) -> list[DelimitedRecord]:
    """Read some records; csv's limit of a field's length is raised meanwhile only."""
    block: list[DelimitedRecord] = []
    with _long_fields():
        while len(block) < _BLOCK:
            first = reader.line_num + 1
            try:
                fields = next(reader)
                if any(_RETURN in field for field in fields):
                    fields = [field.replace(_RETURN, "\r") for field in fields]
                block.append((first, fields))
            except StopIteration:
                break
            except csv.Error:
                if strict:
                    raise
                block.append((first, ["unreadable"]))
    return block


def survey(open_lines: Callable[[], Iterable[str]]) -> Dialect | None:
    """Return how a file is written, or None if it has no header line."""
    sample = list(islice(open_lines(), _SAMPLE))
    delimiter = _delimiter(sample)
    header = next((fields for _, fields in split(sample, delimiter, "csv")), None)
    if header is None:
        return None
    names = tuple(name.strip() for name in header)
    shift = _shifted(_best_widths(sample, delimiter))
    return Dialect(delimiter, _quotes(open_lines, delimiter, len(names) + shift), names, shift)


def _delimiter(sample: list[str]) -> str:
    """Return the delimiter under which most records are as wide as the header."""
    return max(DELIMITERS, key=lambda each: _agreeing(_best_widths(sample, each)))  # a tab first


def _best_widths(sample: list[str], delimiter: str) -> list[int]:
    """Return the widths of records, read with quotes or without, whichever suits the header."""
    quoted = [len(fields) for _, fields in split(sample, delimiter, "csv")]
    plain = [len(fields) for _, fields in split(sample, delimiter, "none")]
    return plain if _agreeing(plain) > _agreeing(quoted) else quoted


def _agreeing(widths: list[int]) -> float:
    """How many records are as wide as the header; 0 if the header is one column.

    A count, not a share: a quote that is none swallows what follows it, and leaves few records.
    """
    if not widths or widths[0] < 2:
        return 0.0
    if _shifted(widths):
        return len(widths) - 0.5
    return sum(each == widths[0] for each in widths)


def _shifted(widths: list[int]) -> bool:
    """Whether every record has one field more than the header, as R writes its row names."""
    return len(widths) > 1 and all(each == widths[0] + 1 for each in widths[1:])


@dataclass
class _Tally:
    """What one way of reading a file gives: records of a wrong width, and of several lines."""

    ragged: int = 0
    records: int = 0
    last: int = 0

    def count(self, records: Iterable[DelimitedRecord], width: int) -> _Tally:
        for line, fields in records:
            self.ragged += len(fields) != width
            self.records += 1
            self.last = line
        return self


def _quotes(open_lines: Callable[[], Iterable[str]], delimiter: str, width: int) -> Quotes:
    """Return which quotes a file has. Only a file with something odd is read more than once."""
    try:
        quoted = _Tally().count(split(open_lines(), delimiter, "csv", strict=True), width)
        if width == 1 or (quoted.ragged == 0 and quoted.last <= quoted.records):
            return "csv"
    except csv.Error:
        quoted = _Tally().count(split(open_lines(), delimiter, "csv"), width)
    plain = _Tally().count(split(open_lines(), delimiter, "none"), width)
    if plain.ragged > quoted.ragged:
        return "csv"
    return "each" if _mostly_quoted(open_lines(), delimiter) else "none"


def _mostly_quoted(lines: Iterable[str], delimiter: str) -> bool:
    """Whether nine in ten of the fields that begin with a quote are quoted as CSV says."""
    proper = improper = 0
    for _, fields in split(lines, delimiter, "none"):
        for field in fields:
            if field.startswith('"'):
                if _QUOTED.match(field):
                    proper += 1
                else:
                    improper += 1
    return proper >= 9 * max(improper, 1) or (proper > 0 and improper == 0)
