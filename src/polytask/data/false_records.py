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
    (b"\xff\xff\xff\xff", "a stream of Arrow", "save it as Parquet"),
    (b"Obj\x01", "an Avro file", "save it as Parquet"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "save its table as Parquet"),
    (b"\x93NUMPY", "an array of numpy", "save it as CSV"),
    *((b"\x80" + bytes([protocol]), "a pickle", "save its table as Parquet") for protocol in range(2, 6)),
    (b"\x1f\x8b", "packed with gzip twice", "unpack it once"),
    (b"%PDF-", "a PDF", "save its table as CSV"),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS to the file, and not the file",
     "fetch it with git lfs pull"),
)
_ORC = re.compile(rb"ORC.{,60}?[\x00-\x08\x0e-\x1f]", re.DOTALL)  # a header may begin with these letters
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml\b")
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|table)\b", re.IGNORECASE)


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
    if _ORC.match(head):
        return "is an ORC file, expected a text file; save it as Parquet"
    if _XML.match(head):
        return "is an XML file, expected a text file; save its table as CSV"
    if _WEB_PAGE.match(head):
        return "is a web page, expected a text file; download the file itself"
    return None
