"""Reads lines as records by RFC 4180 and no more: what departs from it is named, never repaired.

A field may stand in double quotes, which then hold delimiters, line ends, and quotes that are doubled. A
record that breaks this is refused by its first line. In a file whose records are single lines reading goes
on with the next line, so that one stray quote costs one record; in one with records of several lines it
goes on after the line where the mistake shows, for what stands between may be the middle of a text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from polytask.core.errors import DataError
from polytask.data.text_lines import MAX_LINE

# (line, cells), or (line, why there are none)
ReadRecord = tuple[int, "list[str] | str"]

STRAY = "a quote inside an unquoted field; quote the field and double its quotes"
UNCLOSED = "a quote opens a field and is never closed"
AFTER_BLANK = "a blank before the quote that opens a field"
ESCAPED = "a quote escaped by a backslash, expected it doubled"
_REMEDY = 'if quotes are characters in this file, set quoting = "none"'
AFTER_QUOTE = "text after the quote that closes a field"


@dataclass
class QuoteTally:
    """What a reading of a file says about its quotes.

    quoted    fields in quotes
    bad       records that break the rules, by line
    stray     records with a quote in a field that is not quoted, by line
    joined    records of several lines
    lost      lines after the first one of bad records
    swallowed records of several lines each of which would be a record by itself: (first line, last line)
    """

    quoted: int = 0
    bad: list[int] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)
    joined: int = 0
    lost: int = 0
    swallowed: list[tuple[int, int]] = field(default_factory=list)


class _NumberedLines:
    """Numbered lines, some of which can be put back."""

    def __init__(self, file: str, lines: Iterable[str], first: int) -> None:
        self.file = file
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self.number = first - 1

    def next(self) -> str:
        """Return the next line, or "" at the end."""
        line = self._again.popleft() if self._again else next(self._lines, "")
        self.number += bool(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)


def plain_records(lines: Iterable[str], delimiter: str | None, first: int = 1) -> Iterator[ReadRecord]:
    """Yield a record for each line that is not blank; quotes are characters. No delimiter: one field.

    first: the number of the first line.
    """
    for number, line in enumerate(lines, first):
        if text := without_end(line):
            yield number, [text] if delimiter is None else text.split(delimiter)


def without_end(line: str) -> str:
    """Return a line without what ends it."""
    if line.endswith("\n"):
        return line[:-2] if line.endswith("\r\n") else line[:-1]
    return line.removesuffix("\r")


def quoted_records(file: str, lines: Iterable[str], delimiter: str | None, tally: QuoteTally,
                   refuse_stray: bool = True, line_by_line: bool = True, first: int = 1
                   ) -> Iterator[ReadRecord]:
    """Yield the records of a file with quotes; `tally` is added to as they come.

    refuse_stray: whether a quote in a field that is not quoted is against the rules, or a character.
    line_by_line: whether reading goes on with the second line of a record that breaks the rules.
    first: the number of the first line.
    Raises `DataError` for quotes that stay open to no end.
    """
    source = _NumberedLines(file, lines, first)
    while line := source.next():
        number = source.number
        if '"' not in line:
            if text := without_end(line):
                yield number, [text] if delimiter is None else text.split(delimiter)
            continue
        record_lines = [line]
        record = _quoted_record(record_lines, source, delimiter, tally)
        if record == UNCLOSED and not line_by_line:
            raise DataError(f"{file}:{number}: {UNCLOSED}; {_REMEDY}")
        if isinstance(record, str):
            tally.bad.append(number)
            tally.lost += len(record_lines) - 1
            if line_by_line:
                # Read twice at most: the quote that opens another field would have closed this one.
                source.put_back(record_lines[1:])
            elif len(record_lines) > 1:
                record = f"{record} (lines {number}–{number + len(record_lines) - 1})"
        elif tally.stray and tally.stray[-1] == number and refuse_stray:
            record = STRAY
        yield number, record


def _quoted_record(record_lines: list[str], source: _NumberedLines, delimiter: str | None, tally: QuoteTally
                   ) -> list[str] | str:
    """Return the fields of the record that begins with `record_lines`, which its lines are added to."""
    number, text, at = source.number, record_lines[0], 0
    fields: list[str] = []
    stray = False
    while True:
        if text.startswith('"', at):
            end = _closing(text, at + 1)
            if end < 0:
                more, end = _more_lines(record_lines, source, len(text))
                if end < 0:
                    return UNCLOSED
                text += more
            fields.append(text[at + 1:end].replace('""', '"'))
            tally.quoted += 1
            at = end + 1
            rest = without_end(text[at:]) if len(text) - at <= 2 else text[at]
            if rest and rest[0] != delimiter:
                return ESCAPED if text[end - 1] == "\\" else AFTER_QUOTE
        else:
            end = text.find(delimiter, at) if delimiter is not None else -1
            cell = without_end(text[at:]) if end < 0 else text[at:end]
            if '"' in cell:
                stray = True
                if delimiter not in (None, "\t") and cell.lstrip(" ").startswith('"'):
                    return AFTER_BLANK
            fields.append(cell)
            at = len(text) if end < 0 else end
        if delimiter is None or not text.startswith(delimiter, at):
            break
        at += 1
    if stray:
        tally.stray.append(number)
    tally.joined += len(record_lines) > 1
    if len(record_lines) > 1 and all(_width(line, delimiter) == len(fields) for line in record_lines):
        tally.swallowed.append((number, number + len(record_lines) - 1))
    return fields


def _more_lines(record_lines: list[str], source: _NumberedLines, length: int) -> tuple[str, int]:
    """Take lines up to the one with the closing quote; return them, and its place in the record or -1."""
    more: list[str] = []
    size = length
    while line := source.next():
        record_lines.append(line)
        more.append(line)
        end = _closing(line, 0)
        if end >= 0:
            return "".join(more), size + end
        size += len(line)
        if size > MAX_LINE:
            first = source.number - len(record_lines) + 1
            raise DataError(f"{source.file}:{first}: {UNCLOSED} within {MAX_LINE:,} characters; {_REMEDY}")
    return "", -1


def _closing(text: str, at: int) -> int:
    """Return where a quote is that is not one of a doubled pair, or -1."""
    while (at := text.find('"', at)) >= 0:
        if not text.startswith('"', at + 1):
            return at
        at += 2
    return -1


def _width(line: str, delimiter: str | None) -> int:
    return 1 if delimiter is None else line.count(delimiter) + 1
