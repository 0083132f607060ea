"""What the columns of a file are likely to be: texts, a label, an id, or neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from polytask.core.errors import DataError
from polytask.data.label_forms import number
from polytask.data.label_inference import infer_labels
from polytask.data.labels import Labels
from polytask.data.splits import SPLIT_WORDS
from polytask.data.tables import Table

# Texts read of a column to see what it is; labels are read all.
_SAMPLE = 2000
_WORDS_OF_A_TEXT = 2.5
_NAMED_LABEL = re.compile(
    r"label|class|sentiment|score|similarity|duplicate|quality|rating|stars|polarity|grade|"
    r"relatedness|category|target|emotion|topic|intent|gold|stance|toxic|entail", re.IGNORECASE)
_NAMED_TEXT = re.compile(
    r"text|sentence|question|review|comment|premise|hypothesis|string|sent|body|content|title|"
    r"query|passage|answer|tweet|message|phrase", re.IGNORECASE)
_NAMED_ID = re.compile(r"(^|[^a-z])(id|ids|idx|guid|index|uid|key)$", re.IGNORECASE)
_PAIRS = (("1", "2"), ("0", "1"), ("a", "b"), ("premise", "hypothesis"), ("question", "answer"),
          ("question", "sentence"), ("query", "passage"), ("query", "document"))


@dataclass(frozen=True)
class Profile:
    """One column: its name and its cells, stripped."""

    name: str
    cells: list[str]

    @cached_property
    def filled(self) -> list[str]:
        return [cell for cell in self.cells if cell]

    @cached_property
    def different(self) -> int:
        return len(set(self.filled))

    @cached_property
    def is_text(self) -> bool:
        """Whether the cells are sentences: several words, hardly any number."""
        cells = self.filled[:_SAMPLE]
        if not cells or sum(number(cell) is not None for cell in cells) > len(cells) / 10:
            return False
        words = sum(len(cell.split()) for cell in cells) / len(cells)
        repeated = self.different < min(20, len(self.filled) / 2)
        named = _NAMED_TEXT.search(self.name) is not None and _NAMED_LABEL.search(self.name) is None
        return not repeated and words >= (1.0 if named else _WORDS_OF_A_TEXT) and " " in "".join(
            cells)

    @cached_property
    def is_id(self) -> bool:
        """Whether every row has a cell of its own that is one word."""
        return bool(self.filled) and self.different == len(self.cells) and not self.is_text and (
            _NAMED_ID.search(self.name) is not None)

    @cached_property
    def is_split(self) -> bool:
        """Whether the cells say which split a row is of."""
        return bool(self.filled) and {cell.casefold() for cell in self.filled} <= SPLIT_WORDS.keys()

    @cached_property
    def labels(self) -> Labels | None:
        """What the cells would be as labels; None if they can be none."""
        if self.is_text or self.is_split or not self.filled or _NAMED_ID.search(self.name):
            return None
        numbers = [number(cell) for cell in self.filled]
        whole = all(value is None or value.is_integer() for value in numbers)
        if whole and len(self.filled) > 50 and self.different == len(self.filled):
            return None  # an id that is not called so
        try:
            return infer_labels(self.filled)
        except DataError:
            return None

    @property
    def likeness(self) -> tuple[int, int, int]:
        """How much like a label: by its name; then numbers before words; then finer labels."""
        assert self.labels is not None
        named = 2 * (_NAMED_LABEL.search(self.name) is not None) - ("dataset" in self.name.lower())
        numbers = all(number(name) is not None for name in self.labels.classes)
        return named, int(numbers), min(self.different, 50)


@dataclass(frozen=True)
class Guess:
    """What a file's columns were taken for. `others` could be the label as well."""

    text: tuple[str, ...]
    label: Profile
    id: str | None
    others: list[Profile]
    split: Profile | None


def profiles(table: Table) -> list[Profile]:
    """Return the columns of a table that have a name, each name once."""
    names = [name for name in dict.fromkeys(table.columns)
             if name and table.columns.count(name) == 1]
    return [Profile(name, [cell.strip() for cell in table.column(name).texts()]) for name in names]


def guess(table: Table) -> Guess:
    """Return what the columns of a training file seem to be."""
    every = profiles(table)
    text = _text([profile.name for profile in every if profile.is_text])
    if not text:
        raise DataError(f"{table.file}: no column holds sentences (there are "
                        f"{', '.join(profile.name for profile in every)})")
    labels = [each for each in every if each.name not in text and each.labels is not None]
    if not labels:
        raise DataError(f"{table.file}: no column looks like a label, expected one with 2 to 50"
                        f" values or numbers beside {' and '.join(text)}")
    labels.sort(key=lambda each: each.likeness, reverse=True)
    # Of two ids that make a pair, each is a sentence's and none the row's.
    ids = [each.name for each in every if each.is_id and not any(
        _makes_pair(each.name, other.name) or _makes_pair(other.name, each.name)
        for other in every)]
    ids.sort(key=lambda name: (len(name), name))
    return Guess(text, labels[0], ids[0] if ids else None, labels[1:],
                 next((each for each in every if each.is_split), None))


def _text(names: Sequence[str]) -> tuple[str, ...]:
    """Return the pair among text columns with the shortest names, or the likeliest single one."""
    pairs = [(a, b) for a in names for b in names if a != b and _makes_pair(a, b)]
    if pairs:
        return min(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    named = [name for name in names if _NAMED_TEXT.search(name)]
    return tuple((named or list(names))[:1])


def _makes_pair(first: str, second: str) -> bool:
    """Whether two names differ by which of a pair they are alone: "#1 String", "#2 String"."""
    a, b = first.casefold(), second.casefold()
    for one, other in _PAIRS:
        at = [match.start() for match in re.finditer(re.escape(one), a)]
        if any(a[:k] + other + a[k + len(one):] == b for k in at):
            return True
    return False
