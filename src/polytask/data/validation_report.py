"""What validation found, and how a terminal shows it: tasks, their splits, and rows that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polytask.core.counting import counted
from polytask.data.labels import Labels
from polytask.data.tables import Refusal

EXAMPLES = 3
# Classes of a task that are named on a terminal, at most.
_SHOWN = 16


@dataclass(frozen=True)
class SplitReport:
    """What one split holds. Examples name lines of `file`.

    `shares`: the share of rows of each class, or of each fifth of a regression's range.
    `lengths`: the percentiles of a row's longest sequence in tokens, and "max". `unknown`: the share of
    tokens that the vocabulary does not have.
    """

    file: str
    found: int
    used: int
    refused: list[Refusal]
    empty_texts: int
    shares: dict[str, float]
    lengths: dict[str, int]
    max_length: int
    truncated: int
    duplicates: int
    conflicting: int
    duplicate_lines: list[tuple[int, int]]
    unknown: float = 0.0

    def lines(self, name: str) -> list[str]:
        """Return the lines for a terminal."""
        used = "" if self.used == self.found else f", {self.used:,} used"
        lines = [f"{name:5} {counted(self.found, 'row')}{used}, {len(self.refused):,} refused   "
                 f"{self.file}"]
        lines += refusal_lines(self.file, self.refused)
        if self.shares:
            lines.append("labels  " + _shown_shares(self.shares))
        spread = ", ".join(f"{key if key == 'max' else key + ' %'} {value}"
                           for key, value in self.lengths.items())
        cut = counted(self.truncated, "row") + (
            f" ({self.truncated / self.used:.1%})" if self.truncated else "")
        lines.append(f"tokens  {spread}; {cut} truncated at {self.max_length}"
                     + (f"; {self.unknown:.1%} unknown" if self.unknown >= 0.001 else ""))
        if self.empty_texts:
            lines.append(f"empty   {counted(self.empty_texts, 'row')} with one empty text of two")
        if self.duplicates:
            conflict = f", {self.conflicting:,} with another label" if self.conflicting else ""
            lines.append(f"twice   {counted(self.duplicates, 'row')} seen before{conflict}: lines "
                         + _more([f"{a} = {b}" for a, b in self.duplicate_lines], self.duplicates))
        return [lines[0], *(f"      {line}" for line in lines[1:])]


@dataclass(frozen=True)
class Overlap:
    """Rows of one split that stand in another; `nearly`: alike, not equal. Examples name lines."""

    here: str
    there: str
    files: tuple[str, str]
    rows: int
    nearly: bool
    examples: list[tuple[int, int]]

    def line(self) -> str:
        """Return the lines for a terminal."""
        kind = "nearly the same as in" if self.nearly else (
            "that stands in" if self.rows == 1 else "that stand in")
        examples = [f"{self.files[0]}:{a} = {self.files[1]}:{b}" for a, b in self.examples]
        return (f"{counted(self.rows, 'row')} of {self.here} {kind} {self.there}: "
                + _more(examples, self.rows))


@dataclass(frozen=True)
class TaskReport:
    """What validation found about one task."""

    labels: dict[str, Any]
    splits: dict[str, SplitReport]
    overlaps: list[Overlap]
    advice: list[str]

    def lines(self, name: str) -> list[str]:
        """Return the lines for a terminal."""
        lines = [f"{name}: {_described(Labels.from_json(self.labels))}"]
        for key, split in self.splits.items():
            lines += [f"  {line}" for line in split.lines(key)]
        lines += [f"  {overlap.line()}" for overlap in self.overlaps]
        return lines + [f"  {line}" for line in self.advice]


@dataclass(frozen=True)
class ValidationReport:
    """What validation found: task by task, between tasks, and notes about reading."""

    tasks: dict[str, TaskReport]
    across: list[Overlap]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the lines for a terminal, without the notes."""
        lines: list[str] = []
        for name, task in self.tasks.items():
            lines += [*task.lines(name), ""]
        lines += [overlap.line() for overlap in self.across]
        return lines if lines[-1:] != [""] else lines[:-1]


def refusal_lines(file: str, refused: Sequence[Refusal]) -> list[str]:
    """Return a line for each reason, with the first lines of the file it is about."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for line, reason in refused:
        reasons[reason].append(line)
    return [f"refused {len(lines):,}: {reason} ("
            + _more([f"{file}:{line}" for line in lines[:EXAMPLES]], len(lines)) + ")"
            for reason, lines in reasons.items()]


def _shown_shares(shares: Mapping[str, float]) -> str:
    """Return the share of each label; of very many the most frequent, and the rarest."""
    shown = [f"{label} {share:.1%}" for label, share in shares.items()]
    if len(shown) > _SHOWN:
        order = sorted(shares, key=lambda label: -shares[label])
        often = [f"{label} {shares[label]:.1%}" for label in order[:_SHOWN // 2]]
        shown = [*often, "…", f"the rarest of {len(shares)}: {order[-1]} {shares[order[-1]]:.1%}"]
    return "   ".join(shown)


def _more(examples: Sequence[str], count: int) -> str:
    return ", ".join(examples) + (", …" if count > len(examples) else "")


def _described(labels: Labels) -> str:
    if labels.is_regression:
        return f"regression from {labels.low:g} to {labels.high:g}"
    positive = f', positive class "{labels.positive}"' if labels.positive is not None else ""
    names = ", ".join(labels.classes[:_SHOWN]) + ", …" * (labels.num_classes > _SHOWN)
    return f"{labels.kind}, {labels.num_classes} classes: {names}{positive}"
