"""One column of a file: its cells, and whether they may be texts, labels, ids or names of splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from polytask.core.errors import DataError
from polytask.data.label_forms import is_on, number
from polytask.data.label_inference import Inferred, infer
from polytask.data.label_kind import Wanted
from polytask.data.labels import Labels
from polytask.data.splits import SPLIT_WORDS

NAMED_SPLIT = re.compile(r"(^|[^a-z])(split|subset|set|dataset|partition|fold|part|usage)($|[^a-z])",
                         re.IGNORECASE)
_MOST_SPLITS = 8
# Texts read of a column to see what it is; labels are read all.
_SAMPLE = 2000
_WORDS_OF_A_TEXT = 2.5
NAMED_LABEL = re.compile(
    r"label|class|sentiment|score|similarity|duplicate|quality|rating|stars|polarity|grade|"
    r"relatedness|category|target|emotion|topic|intent|gold|stance|toxic|entail|verdict|outcome|\btags?\b",
    re.IGNORECASE)
NAMED_TEXT = re.compile(
    r"text|sentence|question|review|comment|premise|hypothesis|string|sent|body|content|title|"
    r"query|passage|answer|tweet|message|phrase", re.IGNORECASE)
NAMED_ID = re.compile(r"(^|[^a-z])(id|ids|idx|guid|index|uid|key)$", re.IGNORECASE)
# Letters of scripts that put no blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
                       "\U00020000-\U0003ffff]")
_LETTERS_OF_A_WORD = 2
# A date, with or without a time: 2025-01-31, 31.1.2025 14:05, 1/31/25.
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T]\d{1,2}:\d{2}.*)?", re.ASCII)


def count_words(text: str) -> int:
    """Return about how many words a text has, in scripts without blanks too."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_UNSPACED.sub(" ", text).split()) + -(-unspaced // _LETTERS_OF_A_WORD)


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
        if not cells or self._numbers(cells) > len(cells) / 10:
            return False
        words = sum(map(count_words, cells)) / len(cells)
        repeated = self.different < min(20, len(self.filled) / 2)
        least = 1.0 if self.named_text and not self.named_label else _WORDS_OF_A_TEXT
        return not repeated and words >= least and any(count_words(cell) > 1 for cell in cells)

    @property
    def named_text(self) -> bool:
        return NAMED_TEXT.search(self.name) is not None

    @property
    def named_label(self) -> bool:
        return NAMED_LABEL.search(self.name) is not None

    @cached_property
    def may_be_text(self) -> bool:
        """Whether the cells are words of any kind, under the name of a text."""
        return self.named_text and not self.is_split and (
            self._numbers(self.filled[:_SAMPLE]) <= len(self.filled[:_SAMPLE]) / 10)

    @staticmethod
    def _numbers(cells: Sequence[str]) -> int:
        return sum(number(cell) is not None for cell in cells)

    @cached_property
    def is_id(self) -> bool:
        """Whether every row has a cell of its own that is one word."""
        return bool(self.filled) and self.different == len(self.cells) and not self.is_text and (
            NAMED_ID.search(self.name) is not None)

    @cached_property
    def is_split(self) -> bool:
        """Whether the cells say which split a row is of."""
        return bool(self.filled) and {cell.casefold() for cell in self.filled} <= SPLIT_WORDS.keys()

    @cached_property
    def is_odd_split(self) -> bool:
        """Whether the cells are splits under their usual name, but some of other words: Train, Holdout."""
        words = {cell.casefold() for cell in self.filled}
        return not self.is_split and NAMED_SPLIT.search(self.name) is not None and (
            len(words) <= _MOST_SPLITS and not words.isdisjoint(("train", "training")))

    @cached_property
    def inferred(self) -> Inferred | None:
        """What the cells would be as labels, and what of it is a guess; None if they can be none."""
        if self.is_text or self.is_split or self.is_odd_split:
            return None
        if not self.filled or NAMED_ID.search(self.name):
            return None
        numbers = [number(cell) for cell in self.filled]
        whole = all(value is None or value.is_integer() for value in numbers)
        if whole and len(self.filled) > 50 and self.different == len(self.filled):
            return None  # an id that is not called so
        if not self.named_label and all(_DATE.fullmatch(cell) for cell in self.filled):
            return None
        try:
            return infer(self.filled, Wanted(column=self.name))
        except DataError:
            return self._as_classes() if self.named_label and self.different < len(self.filled) else None

    def _as_classes(self) -> Inferred | None:
        """Take labels for classes that are too many, or too rare, to be taken for them without a name."""
        try:
            return infer(self.filled, Wanted(kind="classes", column=self.name))
        except DataError:
            return None

    @property
    def labels(self) -> Labels | None:
        return self.inferred.labels if self.inferred else None

    @property
    def is_flag(self) -> bool:
        """Whether the cells are 0 and 1, or false and true."""
        return self.labels is not None and tuple(name.casefold() for name in self.labels.classes) in (
            ("0", "1"), ("false", "true"))

    @cached_property
    def is_never(self) -> bool:
        """Whether every cell is 0 or false, as in the column of a label that no row has."""
        return len(self.filled) == len(self.cells) > 0 and not NAMED_ID.search(self.name) and (
            {is_on(cell) for cell in {*self.filled}} == {False})

    @property
    def likeness(self) -> tuple[int, int, int]:
        """How much like a label: by its name; then numbers before words; then finer labels."""
        assert self.labels is not None
        named = 2 * self.named_label - ("dataset" in self.name.lower())
        numbers = all(number(name) is not None for name in self.labels.classes)
        return named, int(numbers), min(self.different, 50)
