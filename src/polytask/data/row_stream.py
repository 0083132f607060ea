"""A file's rows one after the other, whatever its length: the rules of reading, in constant memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from polytask.core.counting import agreeing, counted
from polytask.core.errors import DataError
from polytask.core.terminal import tell
from polytask.data.formats import RecordSource
from polytask.data.quoted_records import ReadRecord
from polytask.data.reading import NESTED_TEXT
from polytask.data.row_filter import RowFilter
from polytask.data.row_ids import RowIds, id_column
from polytask.data.tables import Nested, column_index

# (id, texts)
StreamedRow = tuple[str, tuple[str, ...]]

_LINES_TOLD = 10
_TEXT_REMEDY = "; --text names the columns to read"


def texts_reader(source: RecordSource, text: Sequence[str], where: RowFilter
                 ) -> Callable[[ReadRecord], tuple[str, ...] | str | None]:
    """Return the function that gives a record's texts, or why it has none; None if `where` leaves it out.

    Raises `DataError` for columns that are not there, or there twice.
    """
    places = [column_index(source.columns, name, source.file, remedy=_TEXT_REMEDY) for name in text]
    admits = where.on(source.columns).admits(source.columns)

    def texts_of(record: ReadRecord) -> tuple[str, ...] | str | None:
        cells = record[1]
        if isinstance(cells, str):
            return cells
        if not admits(cells):
            return None
        texts = tuple(cells[place] for place in places)
        return NESTED_TEXT if Nested in map(type, texts) else texts

    return texts_of


def holds_nul(texts: Sequence[str]) -> bool:
    """Return whether a text holds a NUL character."""
    return any("\0" in text for text in texts)


def lacks_text(texts: Sequence[str]) -> bool:
    """Return whether a text is empty, or nothing but spaces."""
    return any(not text or text.isspace() for text in texts)


def blank_note(lines: Sequence[int]) -> str:
    """Return a sentence about the records of which a text is blank."""
    return (f"{counted(len(lines), 'record')} {agreeing(len(lines), 'has', 'have')} no text "
            f"({_lines(lines)}) and "
            "an answer all the same, which says nothing")


def nul_note(lines: Sequence[int]) -> str:
    """Return a sentence about the records whose texts hold NUL characters."""
    return (f"{counted(len(lines), 'record')} {agreeing(len(lines), 'holds', 'hold')} NUL characters "
            f"({_lines(lines)}), which the tokenizer is given as they stand; is the file damaged, or in "
            "another encoding?")


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES_TOLD])) + (", …" if len(lines) > _LINES_TOLD else "")
    return f"line{'s' * (len(lines) > 1)} {shown}"


@dataclass
class RowStream:
    """The ids and texts of a file's records, blank texts among them.

    `id` is the column of the ids; absent, the one called "id", or the line (`id_column`). Afterwards
    `refused` is reason → lines that have no text, `passed_over` how many rows `where` left out, `blank`
    the lines of texts
    without a character, and `holding_nul` those of texts with NUL characters. Raises `DataError` for
    columns that are not there, or there twice, and for a file whose every record is refused; `part`: the
    source is a part of a file, whose every record may be.
    """

    source: RecordSource
    text: Sequence[str]
    id: str | None = None
    where: RowFilter = field(default_factory=RowFilter)
    part: bool = False
    refused: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    passed_over: int = 0
    blank: list[int] = field(default_factory=list)
    holding_nul: list[int] = field(default_factory=list)
    ids: RowIds = field(default_factory=RowIds)
    empty: bool = False

    def rows(self) -> Iterator[StreamedRow]:
        source = self.source
        texts_of = texts_reader(source, self.text, self.where)
        name = id_column(source.columns, self.id, self.text)
        identity = None if name is None else column_index(source.columns, name, source.file)
        return self._rows(texts_of, identity)

    def _rows(self, texts_of: Callable[[ReadRecord], tuple[str, ...] | str | None], identity: int | None
              ) -> Iterator[StreamedRow]:
        answered = 0
        for line, cells in self.source.records():
            texts = texts_of((line, cells))
            if texts is None:
                self.passed_over += 1
            elif isinstance(texts, str):
                self.refused[texts].append(line)
            else:
                answered += 1
                if lacks_text(texts):
                    self.blank.append(line)
                if holds_nul(texts):
                    self.holding_nul.append(line)
                yield str(line) if identity is None else self.ids.of(str(cells[identity]), line), texts
        self.empty = not (answered or self.refused or self.passed_over or self.part)
        if self.refused and not answered and not self.part:
            reason, lines = next(iter(self.refused.items()))
            raise DataError(f"{self.source.file}:{lines[0]}: {reason}; no record is left to predict")

    def told(self) -> str:
        """Return lines about the records that have no answer, or "", without the last line's end."""
        rows = []
        for reason, lines in self.refused.items():
            rows.append(f"{self.source.file}: {counted(len(lines), 'record')} without a "
                        f"prediction: {reason} ({_lines(lines)})")
        if self.empty:
            rows.append(f"{self.source.file}: has no rows, so nothing is predicted")
        if self.blank:
            rows.append(f"{self.source.file}: {blank_note(self.blank)}")
        if self.holding_nul:
            rows.append(f"{self.source.file}: {nul_note(self.holding_nul)}")
        rows += [f"{self.source.file}: {note}" for note in self.ids.notes()]
        if self.passed_over:
            rows.append(f"{self.source.file}: {counted(self.passed_over, 'row')} "
                        f"{agreeing(self.passed_over, 'is', 'are')} skipped by where")
        return "\n".join(rows)

    def tell(self) -> None:
        """Write to stderr what has no answer."""
        if lines := self.told():
            tell(lines)
