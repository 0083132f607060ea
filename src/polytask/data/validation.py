"""Validation of the data: what the files contain and what is wrong with it, before any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from polytask.core.counting import agreeing, counted
from polytask.data.collate import InputLayout, Lengths
from polytask.data.dataset import Split, TaskData, class_counts
from polytask.data.duplicates import Fingerprint, SharedRows, nearly_shared, repeats, shared
from polytask.data.labels import Labels
from polytask.data.validation_report import (
    EXAMPLES,
    Overlap,
    SplitReport,
    TaskReport,
    ValidationReport,
)

PERCENTILES = (50, 95, 99)
# Noted from this ratio on: rows of the largest class over rows of the smallest.
_IMBALANCE = 2.0
_BARS = 5


def inspect(data: Mapping[str, TaskData], layouts: Mapping[str, InputLayout]) -> ValidationReport:
    """Return what is in the data of tasks; `layouts` say how their rows become sequences."""
    prints = {(name, key): Fingerprint(split.rows)
              for name, task in data.items() for key, split in task.splits.items()}
    tasks = {name: _task(name, task, layouts[name], prints) for name, task in data.items()}
    notes = dict.fromkeys(note for task in data.values() for note in task.notes)
    return ValidationReport(tasks, _across(prints), list(notes))


def _task(name: str, data: TaskData, layout: InputLayout,
          prints: Mapping[tuple[str, str], Fingerprint]) -> TaskReport:
    splits = {key: _split(data, key, layout, prints[name, key]) for key in data.splits}
    overlaps = []
    names = list(data.splits)
    for at, there in enumerate(names):
        for here in names[at + 1:]:
            pair = (prints[name, here], prints[name, there])
            overlaps += _overlaps(f"{name} {here}", f"{name} {there}", *pair)
    return TaskReport(data.labels.to_json(), splits, overlaps, _advice(data))


def _split(data: TaskData, key: str, layout: InputLayout, print_: Fingerprint) -> SplitReport:
    split = data.splits[key]
    rows_read = data.found.get(key)  # None: carved from train, which tells what was refused
    lengths = split.lengths(layout)
    again = repeats(print_, split.targets)
    lines = split.lines
    examples = [(int(lines[row]), int(lines[earlier])) for row, earlier in
                zip(again.rows[:EXAMPLES], again.earlier[:EXAMPLES], strict=True)]
    blank = [column.blank[split.rows.index] for column in split.rows.text_columns]
    return SplitReport(
        file=Path(split.file).name, found=rows_read.found if rows_read else len(split), used=len(split),
        refused=list(rows_read.refused) if rows_read else [],
        empty_texts=int(np.logical_or.reduce(blank).sum()),
        shares=_shares(split, data.labels), lengths=_percentiles(lengths),
        max_length=layout.max_length, truncated=int(lengths.truncated.sum()),
        duplicates=len(again.rows), conflicting=int(again.conflicting.sum()),
        duplicate_lines=examples, unknown=split.unknown_share(),
    )


def _percentiles(lengths: Lengths) -> dict[str, int]:
    longest = lengths.full.max(axis=1)
    values = np.percentile(longest, PERCENTILES, method="higher")
    return {str(p): int(v) for p, v in zip(PERCENTILES, values, strict=True)} | {
        "max": int(longest.max())}


def _shares(split: Split, labels: Labels) -> dict[str, float]:
    if split.targets is None:
        return {}
    counts = class_counts(split.targets, labels)
    if counts is not None:
        return {name: count / len(split)
                for name, count in zip(labels.classes, counts, strict=True)}
    edges = np.linspace(labels.low, labels.high, _BARS + 1)
    values = np.asarray(labels.unscaled(split.targets.astype(np.float64)))
    bars, _ = np.histogram(np.clip(values, labels.low, labels.high), edges)
    return {f"{low:g}…{high:g}": float(bar) / len(split)
            for low, high, bar in zip(edges[:-1], edges[1:], bars, strict=True)}


def _overlaps(here_name: str, there_name: str, here: Fingerprint, there: Fingerprint
              ) -> list[Overlap]:
    comparisons = [(False, shared(here, there)), (True, nearly_shared(here, there))]
    return [_overlap(here_name, there_name, here, there, nearly, pairs)
            for nearly, pairs in comparisons if len(pairs)]


def _overlap(here_name: str, there_name: str, here: Fingerprint, there: Fingerprint, nearly: bool,
             rows_shared: SharedRows) -> Overlap:
    examples = [(int(here.rows.lines[row]), int(there.rows.lines[other])) for row, other in
                zip(rows_shared.rows[:EXAMPLES], rows_shared.other[:EXAMPLES], strict=True)]
    files = (Path(here.rows.table.file).name, Path(there.rows.table.file).name)
    return Overlap(here_name, there_name, files, len(rows_shared), nearly, examples)


def _across(prints: Mapping[tuple[str, str], Fingerprint]) -> list[Overlap]:
    """Return what a task is tested on that another is trained on."""
    overlaps = []
    for (task, split), here in prints.items():
        for (other, theirs), there in prints.items():
            if task == other or split == "train" or theirs != "train":
                continue
            if len(here.rows.columns.text) == len(there.rows.columns.text):
                overlaps += _overlaps(f"{task} {split}", f"{other} train", here, there)
    return overlaps


def _advice(data: TaskData) -> list[str]:
    counts, labels = data.counts, data.labels
    unlabeled = sum(rows.unlabeled for split, rows in data.found.items() if split != "test")
    if labels.kind == "multi-label":
        return _advice_on_several(data, unlabeled)
    if counts is None:
        return []
    notes = [f'class "{name}" has no training row'
             for name, count in zip(labels.classes, counts, strict=True) if not count]
    least = max(min(counts), 1)
    if max(counts) < _IMBALANCE * least:
        return notes
    ratio = f"imbalanced {max(counts) / least:.1f} to 1; to weight the classes equally: "
    if labels.kind == "binary":
        return [*notes, f'{ratio}loss = {{ type = "binary_cross_entropy", positive_weight ='
                       f" {counts[0] / max(counts[1], 1):.3g} }}"]
    weights = ", ".join(f"{name} {sum(counts) / (len(counts) * max(count, 1)):.3g}"
                        for name, count in zip(labels.classes, counts, strict=True))
    return [*notes, f'{ratio}loss = {{ type = "cross_entropy", class_weights = "balanced" }}'
                   f" ({weights})"]


def _advice_on_several(data: TaskData, unlabeled: int) -> list[str]:
    """Return advice on rows with several labels: rare labels are predicted only if they weigh more."""
    notes = [f"{counted(unlabeled, 'row')} {agreeing(unlabeled, 'has', 'have')} an empty label and "
             f"{agreeing(unlabeled, 'is', 'are')} left out; write [] for rows with none of "
             "the labels"] if unlabeled else []
    counts, rows = data.counts or [], len(data.train)
    ratio = (rows * len(counts) - sum(counts)) / max(1, sum(counts))
    if ratio >= _IMBALANCE:
        notes.append(f"a label is absent {ratio:.1f} times as often as it is there, and rare ones may "
                     "never reach "
                     '0.5; loss = '
                     f'{{ type = "binary_cross_entropy", positive_weight = {min(ratio, 20):.2g} }} gives '
                     'them more weight; threshold = "tuned" chooses a threshold for each on dev')
    return notes
