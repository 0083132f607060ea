"""All labels of a column at a glance: which there are, how often, and what they look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from polytask.data.label_forms import (
    MARKED_MISSING,
    SUSPECT,
    WRITTEN_MISSING,
    decimal_comma,
    is_blank,
    is_code,
    is_on,
    is_sure_list,
    is_unread_list,
    list_items,
    may_be_thousands,
    number,
)

# A column of which so many labels are numbers is one of numbers, and a word in it none.
_MOSTLY = 0.95


class LabelColumn:
    """The different labels of some rows and how often each occurs; what is not a label is left out.

    `named`: the classes that the config lists, which are labels whatever they look like.
    """

    def __init__(self, labels: Sequence[str], named: Iterable[str] = ()) -> None:
        named = set(named)
        every = Counter(labels)
        kept = {label: count for label, count in every.items()
                if label in named or not (is_blank(label) or label in WRITTEN_MISSING)}
        plain = {label for label in kept if label in named or label.casefold() not in MARKED_MISSING}
        numeric = sum(number(label) is not None or decimal_comma(label) is not None for label in plain)
        if 2 * numeric >= len(plain):
            kept = {label: count for label, count in kept.items() if label in plain}
        self.counts: dict[str, int] = kept
        self.rows = sum(kept.values())

    def count(self, labels: Iterable[str]) -> int:
        """Return how many rows have one of some labels."""
        return sum(self.counts[label] for label in labels)

    @property
    def first(self) -> str:
        return next(iter(self.counts))

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The labels that are numbers; codes such as "007" are none."""
        return {label: value for label in self.counts
                if (value := number(label)) is not None and not is_code(label)}

    @cached_property
    def words(self) -> list[str]:
        """The labels that are not numbers, of decimal commas either, the most frequent first."""
        return sorted((label for label in self.counts if label not in self.numbers
                       and not (self.decimal_commas and decimal_comma(label) is not None)),
                      key=lambda label: (-self.counts[label], label))

    @property
    def lowest(self) -> float:
        return min(self.numbers.values())

    @property
    def highest(self) -> float:
        return max(self.numbers.values())

    @property
    def numeric(self) -> bool:
        """Whether hardly any row has a word."""
        return self.count(self.numbers) >= _MOSTLY * self.rows

    @property
    def whole(self) -> bool:
        return all(value.is_integer() for value in self.numbers.values())

    @cached_property
    def decimal_commas(self) -> bool:
        """Whether hardly any row has a word, and some numbers have a decimal comma."""
        with_comma = [label for label in self.counts if decimal_comma(label) is not None]
        return bool(with_comma) and self.count(
            [*with_comma, *self.numbers]) >= _MOSTLY * self.rows

    @property
    def thousands(self) -> str | None:
        """A label whose comma may separate thousands, where no other shows that it cannot."""
        with_comma = [label for label in self.counts if decimal_comma(label) is not None]
        return with_comma[0] if all(map(may_be_thousands, with_comma)) else None

    @property
    def mixed_signs(self) -> tuple[str, str] | None:
        """A label with a decimal comma, and one whose point may then separate thousands: 2,5 and 1.250."""
        commas = [label for label in self.counts if decimal_comma(label) is not None]
        points = [label for label in self.numbers if may_be_thousands(label)]
        return (commas[0], points[0]) if commas and points else None

    @cached_property
    def bracketed(self) -> list[str]:
        """The labels that are lists in brackets. "[spam]" is one where another label is one for sure."""
        lists = [label for label in self.counts if list_items(label) is not None]
        return lists if any(map(is_sure_list, lists)) else []

    @cached_property
    def unread_list(self) -> str | None:
        """A label that looks like a list and cannot be read as one, where most rows have such a label."""
        labels = [label for label in self.counts if is_unread_list(label)]
        return labels[0] if labels and 2 * self.count(labels) >= self.rows else None

    @cached_property
    def lists(self) -> list[str]:
        """The labels that are lists, in brackets or with "|" between their names."""
        return self.bracketed or [label for label in self.counts if "|" in label.strip("|")]

    @cached_property
    def vector_width(self) -> int:
        """The length of the 0/1 vectors that all labels are; 0 if they are none.

        Lists of class ids differ in length, and names stand in quotes.
        """
        if any('"' in label or "'" in label for label in self.counts):
            return 0
        items = [list_items(label) for label in self.counts]
        widths = {len(entries) if entries is not None else 0 for entries in items}
        width = widths.pop() if len(widths) == 1 else 0
        binary = width > 1 and all(is_on(entry) is not None for entries in items for entry in entries or ())
        return width if binary else 0

    @property
    def suspects(self) -> list[str]:
        """The labels that people write where there is none."""
        return [label for label in self.counts if label.casefold() in SUSPECT]
