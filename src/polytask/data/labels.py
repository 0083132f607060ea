"""What a task's labels are: their kind, their classes or range, and how a loss sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from polytask.data.label_forms import (
    LIST_FORMS,
    MARKED_MISSING,
    WRITTEN_MISSING,
    all_list_items,
    all_parts,
    are_booleans,
    are_numbers,
    canonical,
    decimal_comma,
    is_blank,
    is_on,
    looks_like_list,
    may_be_thousands,
    number,
)

Kind = Literal["classes", "binary", "ordinal", "regression", "multi-label"]
KINDS: tuple[str, ...] = get_args(Kind)
Form = Literal["names", "vectors", "decimal commas"]


@dataclass(frozen=True)
class Labels:
    """The labels of one task, known before its model is built.

    As numbers they are: an index into `classes` (classes, binary, ordinal), a float (regression:
    `unit` maps [low, high] to [0, 1], the setting `label_scale`), or a 0/1 row (multi-label).
    The positive class of a binary task is the second. `form` and `separator` say how files write
    them: multi-label rows as 0/1 vectors, numbers with decimal commas, names apart by `separator`.
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    unit: bool = True
    form: Form = "names"
    separator: str | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def is_regression(self) -> bool:
        return self.kind == "regression"

    @property
    def positive(self) -> str | None:
        """The class that a binary task's score, F1 and "false positives" speak of."""
        return self.classes[1] if self.kind == "binary" and len(self.classes) == 2 else None

    def scaled(self, value: Any) -> Any:
        """Map a regression label to what the loss sees."""
        return (value - self.low) / (self.high - self.low) if self.unit else value

    def unscaled(self, value: Any) -> Any:
        """Map what a regression head gave back to the labels' own range (not clipped)."""
        return self.low + value * (self.high - self.low) if self.unit else value

    def rescaled(self, targets: Any, was: Labels) -> Any:
        """Map targets that `was` scaled to what these labels' loss sees."""
        same = not was.is_regression or self.unit == was.unit
        return targets if same else self.scaled(was.unscaled(targets))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The place of each class."""
        return {name: place for place, name in enumerate(self.classes)}

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        """Classes by what a file may write for them: booleans by their small letters."""
        return {name.casefold(): name for name in self.classes} if are_booleans(self.classes) else {}

    @cached_property
    def _numeric(self) -> bool:
        return bool(self.classes) and are_numbers(self.classes)

    @property
    def has_numbers(self) -> bool:
        """Whether a label is a number: a measure, or a class that is called by one."""
        return self.is_regression or self._numeric

    def class_name(self, label: str) -> str:
        """Return the class that a label names, or the label as it stands if it names none.

        "1.0" names "1" where all classes are numbers; "TRUE" names "true" where both are booleans.
        """
        if label in self.index:
            return label
        if self._numeric and are_numbers([label]):
            return canonical(label)
        return self._folded.get(label.casefold(), label)

    def number(self, label: str) -> float | None:
        """Return a regression's label as a number, or None if it is none."""
        value = number(label)
        if self.form != "decimal commas":
            return value
        if value is None:
            return decimal_comma(label)
        return None if may_be_thousands(label) else value  # 1.250 beside 2,5

    def is_missing(self, label: str) -> bool:
        """Return whether a label says that there is none; a name among `classes` never does."""
        if label in self.index:
            return False
        if is_blank(label) or label in WRITTEN_MISSING:
            return True
        numbers = sum(number(name) is not None for name in self.classes)
        among_numbers = self.is_regression or 2 * numbers >= max(1, self.num_classes)
        return among_numbers and label.casefold() in MARKED_MISSING

    def names(self, label: str) -> list[str]:
        """Return the classes that a multi-label cell names.

        Raises ValueError with what is wrong for a cell that is not a list, or a vector of another length.
        """
        items = self._items(label)
        if self.form == "vectors":
            on = [is_on(item) for item in items]
            if None in on or len(on) != self.num_classes:
                raise ValueError(f"found {label[:60]}, expected {self.num_classes} entries of 0 or 1")
            return [name for name, present in zip(self.classes, on, strict=True) if present]
        return [self.class_name(item) for item in items if item]

    def has_empty_name(self, label: str) -> bool:
        """Return whether one of the names in a multi-label cell is empty: ["a", ""], a||b, ["a", null]."""
        try:
            return self.form == "names" and "" in self._items(label)
        except ValueError:
            return False

    def _items(self, label: str) -> list[str]:
        """Return the names or entries in a multi-label cell, "" for an empty one."""
        items = all_list_items(label)
        if items is None and self.separator is not None:
            items = all_parts(label, self.separator)
        if items is None and "|" in label and label not in self.index:
            items = all_parts(label, "|")
        if items is None and looks_like_list(label) and label not in self.index:
            raise ValueError(f"found {label[:60]}, which is not a list; expected {LIST_FORMS}")
        return [label] if items is None else items

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Labels:
        return cls(**{**table, "classes": tuple(table["classes"])})
