"""The columns of a file of predictions, whatever the user's own are called, and its labels as cells.

The user's columns keep their names. Where one is called "prediction", ours of that name gives way and is
"prediction_"; readers of such files ask here for the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What stands for a row that has none of several labels; an empty cell is a row whose label is not known.
NO_LABELS = "[]"


@dataclass(frozen=True)
class PredictionColumns:
    """The names of the columns that polytask adds to the texts."""

    id: str = "id"
    label: str = "label"
    prediction: str = "prediction"
    score: str = "score"
    probabilities: str = "probabilities"
    tasks: str = "tasks"

    @classmethod
    def beside(cls, text: Sequence[str]) -> PredictionColumns:
        """Return the names beside those of text columns."""
        return cls(*(_free(name, set(text)) for name in cls.__dataclass_fields__))

    @property
    def renamed(self) -> dict[str, str]:
        """The usual name of each column that had to give way, and its own."""
        return {usual: getattr(self, usual) for usual in self.__dataclass_fields__
                if getattr(self, usual) != usual}

    def notes(self) -> list[str]:
        """Return a sentence if a column is not called as usual."""
        if not self.renamed:
            return []
        renamed = ", ".join(f'"{own}" instead of "{usual}"' for usual, own in self.renamed.items())
        return [f"predictions have {renamed}, which is the name of a text column"]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def known_labels(cells: Sequence[str], several: bool) -> list[int]:
    """Return the rows of a file of predictions that have a label.

    several: whether rows have several labels; files of earlier versions have an empty cell for none.
    """
    if several and NO_LABELS not in cells:
        return list(range(len(cells)))
    return [row for row, cell in enumerate(cells) if cell != ""]
