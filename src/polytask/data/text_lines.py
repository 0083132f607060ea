"""The lines of a text file: gzipped or not, in any encoding, none of them absurdly long."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from polytask.core.errors import DataError
from polytask.data.file_format import UTF8

# Characters of a line, and of a record of several lines. What is longer is not a table of texts: a file
# without line ends, a quote that is never closed, an archive.
MAX_LINE = 1 << 24
HEAD = 1 << 16
_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class LinePlace:
    """Where a line begins: its number, and its first byte; no byte: the lines before it must be read."""

    line: int = 1
    byte: int = 0


START = LinePlace()


def is_utf8(encoding: str) -> bool:
    """Whether a name is one of UTF-8's."""
    return codecs.lookup(encoding).name in (UTF8, "utf-8-sig")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what cannot be read into a `DataError`."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: is not a whole gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def seems_utf8(head: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8 text with characters beyond ASCII."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not text.isascii()


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked if it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with readable(path), open_bytes(path) as file:
        return file.read(HEAD)


def bytes_of_mark(path: Path, encoding: str) -> int | None:
    """Return how many bytes stand before a file's first line, or None where lines cannot be found by bytes.

    They can in a file that is not gzipped, and whose encoding writes a text always in the same bytes.
    """
    with readable(path), path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(_GZIP):
        return None
    if is_utf8(encoding):
        return len(head) - len(_without_marks(head))
    name = codecs.lookup(encoding).name
    return 0 if name in ("ascii", "iso8859-1", "cp1252") else None


def _without_marks(head: bytes) -> bytes:
    while head.startswith(codecs.BOM_UTF8):
        head = head.removeprefix(codecs.BOM_UTF8)
    return head


def read_lines(path: Path, encoding: str = UTF8, place: LinePlace = START) -> Iterator[str]:
    """Yield the lines with their ends as they are, which quoted fields keep; a byte order mark is dropped.

    place: the line to begin with.

    A file that has no line feed at its start but carriage returns has lines that end with these. Raises
    `DataError` with the line for what is not text of the encoding, or too long.
    """
    head = head_of(path)
    if is_utf8(encoding) and head.startswith(_UTF32):
        raise DataError(f'{path}:1: is UTF-32 text, expected UTF-8; set encoding = "utf-32", or save it '
                        "as UTF-8")
    if is_utf8(encoding) and head.startswith(_UTF16):
        raise DataError(f'{path}:1: is UTF-16 text, expected UTF-8; set encoding = "utf-16", or save it '
                        "as UTF-8")
    if is_utf8(encoding) and b"\0" in head[:4]:
        raise DataError(f"{path}:1: begins with NUL bytes, expected text; UTF-16 needs "
                        'encoding = "utf-16-le" or "utf-16-be"')
    wide = head.replace(b"\0", b"")  # of UTF-16 and UTF-32
    ending = "\n" if b"\n" in wide or b"\r" not in wide else "\r"
    number = place.line - 1 if place.byte else 0
    with readable(path), open_bytes(path) as file:
        if place.byte:
            file.seek(place.byte)
            encoding = UTF8 if is_utf8(encoding) else encoding  # a mark in the middle of a file is text
        text = io.TextIOWrapper(file, encoding=encoding, newline=ending)
        lines = iter(lambda: text.readline(MAX_LINE + 1), "")
        try:
            for line in lines:
                number += 1
                if len(line) > MAX_LINE:
                    raise DataError(f"{path}:{number}: the line has more than {MAX_LINE:,} characters; "
                                    "expected a text file with one record per line")
                if number == 1:
                    line = line.lstrip(_BOM)  # files that were joined or saved twice have several
                if number >= place.line and line:
                    yield line
        except UnicodeError as error:  # of UTF-16 without a mark, too, which tells no place
            raise _undecodable(path, encoding, number, getattr(error, "reason", str(error))) from None


def _undecodable(path: Path, encoding: str, lines: int, reason: str) -> DataError:
    """Return an error that tells the line. The decoder is ahead of the lines, so they are read again."""
    if not is_utf8(encoding):
        return DataError(f"{path}: is not {encoding} text after line {lines} ({reason}); set another "
                         "encoding, or save it as UTF-8")
    with open_bytes(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(4 * MAX_LINE), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                lines = number
                break
    return DataError(f"{path}:{lines}: is not UTF-8 text ({reason}); save it as UTF-8, or set its "
                     'encoding, such as encoding = "latin-1"')
