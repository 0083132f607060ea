"""How a delimited file departs from the dialect that is read by default."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from polytask.core.errors import nearest

DELIMITERS = ("\t", ",", ";", "|")
QUOTINGS = ("minimal", "none")
UTF8 = "utf-8"
# Python counts these among the encodings of text: two are of domain names, one refuses every text.
_NOT_OF_FILES = ("idna", "punycode", "undefined")


@dataclass(frozen=True)
class FileFormat:
    """What a task's settings say of its files. Only `encoding` concerns JSON; Parquet knows it all itself.

    header     whether the first record names the columns; without one `columns` does
    columns    the names of the columns of a file without a header, from left to right
    encoding   the name of the character encoding, as Python knows it
    quoting    "minimal": fields may stand in double quotes (RFC 4180); "none": quotes are characters;
               None: "minimal", except in a tab-separated file whose quotes plainly quote nothing
    delimiter  what separates fields; None: told from the header
    """

    header: bool = True
    columns: tuple[str, ...] | None = None
    encoding: str = UTF8
    quoting: str | None = None
    delimiter: str | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the settings, each with its key first."""
        if self.columns is None and not self.header:
            yield 'columns: is missing; a file without a header needs it, such as ["text", "label"]'
        if self.columns is not None and self.header:
            yield "columns: names the columns of a file without a header; add header = false"
        if self.columns is not None:
            named = [name for name in self.columns if name]
            if twice := next((name for name in named if named.count(name) > 1), None):
                yield f'columns: found "{twice}" twice, expected different names'
            if not named:
                yield "columns: found no name, expected a name for each column in use"
        if mistake := _encoding_problem(self.encoding):
            yield f"encoding: {mistake}"
        if self.quoting is not None and self.quoting not in QUOTINGS:
            yield (f'quoting: found "{self.quoting}", expected "minimal" or "none"'
                   f"{nearest(self.quoting, QUOTINGS)}")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            yield (f"delimiter: found {json.dumps(self.delimiter)}, expected one character, such as "
                   r'"\t" or ";"')

    def to_json(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        usual = asdict(FileFormat())
        return {key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(self).items() if value != usual[key]}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> FileFormat:
        columns = table.get("columns")
        return cls(**{**table, "columns": None if columns is None else tuple(columns)})


def _encoding_problem(name: str) -> str | None:
    try:
        known = codecs.lookup(name)
    except (LookupError, ValueError):
        known = None
    if known is None or known.name in _NOT_OF_FILES:
        return f'found "{name}", expected an encoding such as "utf-8", "latin-1", "cp1252" or "utf-16"'
    # The only mark that Python gives of codecs that are not character encodings (rot13, base64).
    if not getattr(known, "_is_text_encoding", True):
        return f'"{name}" does not turn bytes into text, expected an encoding such as "utf-8" or "latin-1"'
    return None
