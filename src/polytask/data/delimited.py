"""How a delimited file is written: its delimiter, its quotes, its header. One dialect, see docs/data.md.

A file is surveyed whole before any of it is used, so that a file of two rows and one of two million, read
at once or row by row, are read by the same rules: RFC 4180 (`quoted_records`), and four questions that the
file itself answers. The answers are noted, or the file is refused.

- Delimiter: see `find_delimiter`.
- Quotes that quote nothing: in a tab-separated file, or one of a single column, quotes are characters if
  its quoting breaks the rules, most fields that begin with a quote do not end with one, and none proves
  that quotes quote.
- A quote within an unquoted field is a character if no field of the file is quoted; else it breaks the
  rules.
- Row names: every record has one field more than the header, and the first ones are consecutive numbers, or
  one word with a counter (row1, row2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from polytask.core.counting import agreeing, counted
from polytask.core.errors import DataError
from polytask.data.delimiter import find_delimiter, refuse_saying, sample_lines
from polytask.data.false_records import REPEATED, SEPARATOR, is_header_again, is_separator
from polytask.data.file_format import DELIMITERS, FileFormat
from polytask.data.quoted_records import (
    STRAY,
    QuoteTally,
    ReadRecord,
    plain_records,
    quoted_records,
    without_end,
)
from polytask.data.row_names import are_row_names, consecutive

MAX_COLUMNS = 10_000
_LINES_TOLD, _SHOWN, _SHOWN_NAMES = 3, 40, 2
_QUOTED = re.compile(r'"((?:[^"]|"")*)"\Z')

OpenLines = Callable[[], Iterable[str]]
_UNTOLD = FileFormat()


@dataclass(frozen=True)
class Dialect:
    """What a survey found of a file.

    delimiter     None: the file has one column, and a line is a field
    quoting       "minimal" or "none", as in `FileFormat`
    columns       the names of the fields of a record; row names and other columns without one are ""
    header        whether the first record names the columns
    refuse_stray  whether a quote in an unquoted field breaks the rules
    line_by_line  whether a record that breaks the rules ends with its first line
    notes         what a user should know about the reading
    separator     the line of the dashes below the header, 0 if there are none
    """

    file: str
    delimiter: str | None
    quoting: str
    columns: tuple[str, ...]
    header: bool
    refuse_stray: bool
    line_by_line: bool
    notes: tuple[str, ...] = ()
    separator: int = 0

    def records(self, lines: Iterable[str], first: int = 1) -> Iterator[ReadRecord]:
        """Yield (line, cells), or (line, the reason why they are none), of every record but the header.

        first: the number of the first line, where a record begins.
        """
        width = len(self.columns)
        records = (plain_records(lines, self.delimiter, first) if self.quoting == "none" else
                   quoted_records(self.file, lines, self.delimiter, QuoteTally(), self.refuse_stray,
                                  self.line_by_line, first))
        for line, cells in islice(records, int(self.header and first == 1), None):
            if line == self.separator:
                yield line, SEPARATOR
            elif isinstance(cells, list) and len(cells) != width:
                yield line, width_problem(cells, width)
            elif self.header and isinstance(cells, list) and is_header_again(cells, self.columns):
                yield line, REPEATED
            else:
                yield line, cells


def survey(file: str, open_lines: OpenLines, settings: FileFormat = _UNTOLD) -> Dialect:
    """Return how a file is written.

    Raises `DataError` for a file that is empty or has too many columns, for a delimiter that cannot be
    told, and where most records would be refused.
    """
    sample = sample_lines(open_lines())
    if sample:
        refuse_saying(file, sample[0])
    if len(sample) == 1 and "\r" in without_end(sample[0]) and '"' not in sample[0]:
        raise DataError(f"{file}:1: lines end with carriage returns, and the last one with a line feed; "
                        "save the file with one kind of line ending")
    if sample and max(map(sample[0].count, DELIMITERS)) >= MAX_COLUMNS:
        raise DataError(f"{file}:1: the header has more than {MAX_COLUMNS:,} columns")
    delimiter = settings.delimiter or find_delimiter(file, sample, settings)
    first = _first(file, sample, delimiter, settings)
    names = tuple(name.strip() for name in first)
    notes = []
    if settings.columns is not None and names == settings.columns:
        notes.append("line 1 holds the names of the columns and is read as a header")
    columns = names if settings.columns is None else settings.columns
    header = settings.header or bool(notes)
    reading = _read(file, open_lines, delimiter, settings.quoting, _Expected(columns, header))
    if settings.header and reading.row_names and not reading.trailing and are_row_names(reading.row_names):
        more = ", …" * (len(reading.row_names) > _SHOWN_NAMES)
        notes.append("every record has one field more than the header, so the first ones "
                     f"({', '.join(reading.row_names[:_SHOWN_NAMES])}{more}) are read as row names and "
                     "left out; if texts begin with them, quote the texts")
        columns, reading.unnamed = ("", *columns), {}
        reading.misfits = {reading.separator: SEPARATOR} if reading.separator else {}
    notes += _unnamed_notes(reading)
    refuse_stray = reading.tally.quoted > 0
    if refuse_stray:
        reading.misfits |= dict.fromkeys(reading.tally.stray, STRAY)
    _refuse_most(file, reading)
    notes += _quote_notes(reading, settings)
    return Dialect(file, delimiter, reading.quoting, columns, header, refuse_stray, reading.line_by_line,
                   tuple(notes), reading.separator)


@dataclass(frozen=True)
class _Expected:
    columns: tuple[str, ...]
    header: bool

    @property
    def unnamed(self) -> list[int]:
        return [place for place, name in enumerate(self.columns) if self.header and not name]


@dataclass
class _Attempt:
    """What an attempt to read a file in one way gives.

    misfits    line → why its record is refused
    row_names  the first field of every record, if all have one more than the header; else None
    unnamed    the cells of each column that the header gives no name
    separator  the line of the dashes below the header, 0 if there are none
    """

    quoting: str
    records: int = 0
    misfits: dict[int, str] = field(default_factory=dict)
    row_names: list[str] | None = field(default_factory=list)
    trailing: bool = True
    """Whether the last field of every record is empty, as a delimiter at the end of a line makes it."""
    line_by_line: bool = True
    tally: QuoteTally = field(default_factory=QuoteTally)
    unnamed: dict[int, list[str]] = field(default_factory=dict)
    separator: int = 0

    def take(self, records: Iterable[ReadRecord], expected: _Expected) -> _Attempt:
        width, columns = len(expected.columns), expected.columns
        self.unnamed = {place: [] for place in expected.unnamed}
        for line, cells in islice(records, int(expected.header), None):
            self.records += 1
            if expected.header and self.records == 1 and isinstance(cells, list) and is_separator(cells):
                self.separator = line
                self.misfits[line] = SEPARATOR
                continue
            if isinstance(cells, str):
                self.misfits[line] = cells
            elif len(cells) != width:
                self.misfits[line] = width_problem(cells, width)
            elif expected.header and is_header_again(cells, columns):
                self.misfits[line] = REPEATED
            else:
                for place, unnamed_cells in self.unnamed.items():
                    unnamed_cells.append(cells[place])
            self.trailing = self.trailing and not cells[-1]
            names = self.row_names
            if names is None:
                continue
            # A blank after the delimiter is what follows the comma of a sentence.
            if isinstance(cells, str) or len(cells) != width + 1 or cells[1][:1].isspace():
                self.row_names = None
            else:
                names.append(cells[0])
        return self


def _read(file: str, open_lines: OpenLines, delimiter: str | None, quoting: str | None,
          expected: _Expected) -> _Attempt:
    """Read a file as its quotes say, or without quotes if they plainly quote nothing."""
    if quoting == "none":
        return _Attempt("none").take(plain_records(open_lines(), delimiter), expected)
    quoted = _Attempt("minimal")
    quoted.take(quoted_records(file, open_lines(), delimiter, quoted.tally, refuse_stray=False), expected)
    tally = quoted.tally
    against = len(quoted.misfits) + (len(tally.stray) if tally.quoted else 0)
    doubtful = against and (tally.quoted or tally.bad) and delimiter in (None, "\t")
    if quoting is not None or not doubtful:
        return _apart(file, open_lines, delimiter, quoted, expected)
    plain = _Attempt("none").take(plain_records(open_lines(), delimiter), expected)
    if len(plain.misfits) >= against or not _quote_nothing(open_lines(), delimiter):
        return _apart(file, open_lines, delimiter, quoted, expected)
    plain.tally.bad = sorted({*tally.bad, *tally.stray, *quoted.misfits})
    return plain


def _apart(file: str, open_lines: OpenLines, delimiter: str | None, quoted: _Attempt, expected: _Expected
           ) -> _Attempt:
    """Read a file again if its records have several lines and a bad one does: none of its lines is one."""
    if not quoted.tally.joined or not quoted.tally.lost:
        return quoted
    apart = _Attempt("minimal", line_by_line=False)
    return apart.take(quoted_records(file, open_lines(), delimiter, apart.tally, False, False), expected)


def _quote_nothing(lines: Iterable[str], delimiter: str | None) -> bool:
    """Whether most fields that begin with a quote do not end with one, and none proves to be quoted."""
    proper = improper = 0
    for _, cells in plain_records(lines, delimiter):
        for cell in cells:
            if cell.startswith('"'):
                quoted = _QUOTED.match(cell) if len(cell) > 1 else None
                if quoted is None:
                    improper += 1
                elif '"' in quoted[1] or "\r" in quoted[1]:
                    return False
                else:
                    proper += 1
    return improper > proper


def _first(file: str, sample: list[str], delimiter: str | None, settings: FileFormat) -> list[str]:
    """Return the first record; raise `DataError` for a header that is none."""
    first_record = next(plain_records(sample, delimiter), None)
    if first_record is None:
        raise DataError(f"{file}: is empty, expected a header line and rows")
    line, cells = first_record
    if settings.quoting != "none":
        line, cells = next(quoted_records(file, sample, delimiter, QuoteTally(), refuse_stray=False))
    if not settings.header:
        return [] if isinstance(cells, str) else cells
    if isinstance(cells, str):
        raise DataError(f"{file}:{line}: the header cannot be read: {cells}")
    if any("\0" in cell for cell in cells):
        raise DataError(f"{file}:{line}: the header holds NUL bytes; expected text (UTF-16 needs "
                        'encoding = "utf-16-le" or "utf-16-be")')
    return cells


def width_problem(cells: Sequence[str], width: int) -> str:
    """Return what is said of a record that has another number of fields than the header."""
    count = f"{len(cells)} field" + ("" if len(cells) == 1 else "s")
    last = " (the last one is empty)" if len(cells) == width + 1 and not cells[-1] else ""
    return f"{count}{last}, expected {width}"


def _refuse_most(file: str, reading: _Attempt) -> None:
    """Raise `DataError` if more records are refused than are not."""
    refused = len(reading.misfits)
    if 2 * refused <= reading.records:
        return
    line = min(reading.misfits)
    reason = reading.misfits[line]
    remedy = "; a field that holds the delimiter needs double quotes" * (" fields" in reason)
    remedy += ", and a column of row names needs a name" * bool(reading.row_names)
    if reading.trailing and "last one is empty" in reason:
        remedy = "; every line ends with a delimiter, which the header does not: remove it"
    raise DataError(f"{file}:{line}: {reason}; {refused:,} of {counted(reading.records, 'record')} "
                    f"{agreeing(refused, 'is', 'are')} refused"
                    f"{remedy}")


def _unnamed_notes(reading: _Attempt) -> Iterator[str]:
    """Say which columns without a name hold something; numbers of rows are nothing."""
    for place, cells in reading.unnamed.items():
        filled = [cell.strip() for cell in cells if cell.strip()]
        if filled and not consecutive(filled):
            yield (f"column {place + 1} has no name in the header, so what it holds "
                   f'("{filled[0][:_SHOWN]}") is left out')


def _quote_notes(reading: _Attempt, settings: FileFormat) -> Iterator[str]:
    tally = reading.tally
    if reading.quoting == "none":
        if settings.quoting is None:
            yield ("quotes are read as plain characters, because as quotes they break the rules "
                   f'({_lines_told(tally.bad)}); quoting = "none" confirms this, "minimal" refuses such '
                   'records')
        return
    if tally.stray and not tally.quoted:
        yield ("no field is quoted, so quotes within fields are read as plain characters "
               f"({_lines_told(tally.stray)})")
    if tally.swallowed:
        yield ("quotes join lines that could be records of their own ("
               f"{_lines_told([f'{first}–{last}' for first, last in tally.swallowed])}); if quotes are "
               'characters in this file, set quoting = "none"')


def _lines_told(lines: Sequence[object]) -> str:
    word = "lines" if len(lines) > 1 or "–" in str(lines[0]) else "line"
    more = ", …" if len(lines) > _LINES_TOLD else ""
    return f"{word} {', '.join(map(str, lines[:_LINES_TOLD]))}{more}"
