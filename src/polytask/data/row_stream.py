"""A file's rows one after the other, whatever its length: the rules of reading, in constant memory."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from polytask.core.errors import DataError
from polytask.data.formats import RecordSource
from polytask.data.reading import NESTED_TEXT
from polytask.data.row_filter import RowFilter
from polytask.data.tables import Nested, column_index

# (id, texts)
StreamedRow = tuple[str, tuple[str, ...]]

_LINES_TOLD = 10
_TEXT_REMEDY = "; --text names the columns to read"


@dataclass
class RowStream:
    """The ids and texts of a file's records, blank texts among them.

    `id` is the column of the ids; absent, the one called "id", or the line. Afterwards `refused` is reason
    → lines that have no text, and `passed_over` how many rows `where` left out. Raises `DataError` for
    columns that are not there, or there twice, and for a file whose every record is refused.
    """

    source: RecordSource
    text: Sequence[str]
    id: str | None = None
    where: RowFilter = field(default_factory=RowFilter)
    refused: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    passed_over: int = 0

    def rows(self) -> Iterator[StreamedRow]:
        source = self.source
        places = [column_index(source.columns, name, source.file, remedy=_TEXT_REMEDY)
                  for name in self.text]
        name = next((name for name in (self.id, "id") if name in source.columns), None)
        identity = None if name is None else column_index(source.columns, name, source.file)
        return self._rows(places, identity)

    def _rows(self, places: list[int], identity: int | None) -> Iterator[StreamedRow]:
        admits = self.where.on(self.source.columns).admits(self.source.columns)
        answered = 0
        for line, cells in self.source.records():
            if isinstance(cells, str):
                self.refused[cells].append(line)
            elif not admits(cells):
                self.passed_over += 1
            else:
                texts = tuple(cells[place] for place in places)
                if Nested in map(type, texts):
                    self.refused[NESTED_TEXT].append(line)
                    continue
                answered += 1
                yield str(line) if identity is None else str(cells[identity]), texts
        if self.refused and not answered:
            reason, lines = next(iter(self.refused.items()))
            raise DataError(f"{self.source.file}:{lines[0]}: {reason}; no record is left to be answered")

    def told(self) -> str:
        """Return lines about the records that have no answer, or ""."""
        rows = []
        for reason, lines in self.refused.items():
            shown = ", ".join(map(str, lines[:_LINES_TOLD])) + (", …" if len(lines) > _LINES_TOLD else "")
            several = "s" * (len(lines) > 1)
            rows.append(f"{self.source.file}: {len(lines):,} record{several} without a prediction: "
                        f"{reason} (line{several} {shown})\n")
        if self.passed_over:
            rows.append(f"{self.source.file}: {self.passed_over:,} rows are left out by where\n")
        return "".join(rows)

    def tell(self) -> None:
        """Write to stderr what has no answer."""
        sys.stderr.write(self.told())
