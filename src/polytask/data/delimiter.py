"""Which character separates the fields of a file, inferred from its first lines.

Of tab, comma, semicolon and bar the one in the header line; of several the one that splits the first
records as it splits the header, then the one that the file's name tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import PurePath

from polytask.core.errors import DataError
from polytask.data.file_format import DELIMITERS, FileFormat
from polytask.data.quoted_records import UNCLOSED, QuoteTally, plain_records, quoted_records
from polytask.data.row_names import consecutive

# Lines, and characters, that are looked at to tell one delimiter from another.
_SAMPLE = 200
_SAMPLE_SIZE = 1 << 20
_BY_SUFFIX = {".tsv": "\t", ".tab": "\t", ".csv": ","}
_SHOWN = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
# What spreadsheets write before the header to say what the delimiter is.
_SAYS = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def refuse_saying(file: str, first_line: str) -> None:
    """Raise `DataError` for a first line that says what the delimiter is: no header, and no row."""
    if declared := _SAYS.fullmatch(first_line):
        raise DataError(f"{file}:1: is not a header but tells spreadsheets the delimiter; remove the line "
                        f"{first_line.strip()} and set delimiter = {json.dumps(declared[1])}")


def find_delimiter(file: str, sample: list[str], settings: FileFormat) -> str | None:
    """Return the delimiter of a file, or None for one of a single column."""
    widths = {delimiter: _widths(file, sample, delimiter) for delimiter in DELIMITERS}
    if settings.columns is not None:
        if len(settings.columns) == 1:
            return None
        misfits = {delimiter: sum(width != len(settings.columns) for width in line_widths)
                   for delimiter, line_widths in widths.items()}
    else:
        several = {delimiter: width for delimiter, width in widths.items() if width and width[0] > 1}
        if not several:
            return _of_row_names(file, sample)
        misfits = {delimiter: _misfits(width) for delimiter, width in several.items()}
    least = min(misfits.values())
    best = [delimiter for delimiter, count in misfits.items() if count == least]
    by_suffix = _BY_SUFFIX.get(PurePath(file.removesuffix(".gz")).suffix.lower())
    if len(best) == 1 or by_suffix in best:
        return by_suffix if by_suffix in best else best[0]
    raise DataError(f"{file}:1: {' and '.join(_SHOWN[mark] for mark in best)} split the records equally "
                    f"well; set delimiter = {' or '.join(map(json.dumps, best))}")


def sample_lines(lines: Iterable[str]) -> list[str]:
    """Return the first lines of a file, which tell one delimiter from another."""
    sample: list[str] = []
    size = 0
    for line in islice(lines, _SAMPLE):
        sample.append(line)
        size += len(line)
        if size > _SAMPLE_SIZE:
            break
    return sample


def _widths(file: str, sample: list[str], delimiter: str) -> list[int]:
    """Return the fields of each record, with quotes or without, whichever suits the header; 0 for none."""
    plain = [len(cells) for _, cells in plain_records(sample, delimiter)]
    quoted = []
    for _, cells in quoted_records(file, sample, delimiter, QuoteTally()):
        if cells == UNCLOSED:
            break  # it may be closed beyond the sample
        quoted.append(0 if isinstance(cells, str) else len(cells))
    return plain if (quoted and not quoted[0]) or _misfits(plain) < _misfits(quoted) else quoted


def _misfits(widths: Sequence[int]) -> int:
    """Return how many records do not have the header's width; none if all have one field more."""
    if not widths:
        return 0
    named = all(width == widths[0] + 1 for width in widths[1:])
    return 0 if named else sum(width != widths[0] for width in widths)


def _of_row_names(file: str, sample: list[str]) -> str | None:
    """Return the delimiter of a header of one column over numbered rows; None if there is none."""
    for delimiter in DELIMITERS:
        records = list(islice(quoted_records(file, sample, delimiter, QuoteTally()), 1, None))
        pairs = all(isinstance(cells, list) and len(cells) == 2 for _, cells in records)
        if len(records) > 1 and pairs and consecutive([cells[0] for _, cells in records]):
            return delimiter
    return None
