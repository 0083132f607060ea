"""Lines of a delimited file that look like records but are not, and files that are not tables at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

SEPARATOR = "dashes that separate the header from the rows, as in a Markdown table"
REPEATED = "the header again, as where files are joined"

_DASHES = re.compile(r":?-{2,}:?")
# How files begin that people take for tables, what they are, and what to do.
_OTHERS = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet", "save it as CSV"),
    (b"BZh91AY&SY", "packed with bzip2", "unpack it"),
    (b"\xfd7zXZ\x00", "packed with xz", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"SQLite format 3\x00", "a database", "export its table as CSV"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"%PDF-", "a PDF", "save its table as CSV"),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS to the file, and not the file",
     "fetch it with git lfs pull"),
)
_WEB_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)


def is_separator(cells: Sequence[str]) -> bool:
    """Return whether all that a record of several fields holds are dashes."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    return len(cells) > 1 and bool(filled) and all(map(_DASHES.fullmatch, filled))


def is_header_again(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Return whether a record of several fields holds the names of the columns."""
    return len(cells) > 1 and cells[0].strip("\ufeff ") == columns[0] and (
        [cell.strip("\ufeff ") for cell in cells] == [*columns])


def other_kind(head: bytes) -> str | None:
    """Return what a file is, and what to do, if its first bytes are of no text and no table."""
    for start, what, remedy in _OTHERS:
        if head.startswith(start):
            return f"is {what}, expected a text file; {remedy}"
    if _WEB_PAGE.match(head):
        return "is a web page, expected a text file; download the file itself"
    return None
