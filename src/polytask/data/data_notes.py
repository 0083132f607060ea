"""Notes on data that are left out or too few, shown before training and kept with the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polytask.core.counting import agreeing, counted
from polytask.core.errors import listed
from polytask.data.collate import InputLayout
from polytask.data.dataset import Split, TaskData, class_counts
from polytask.data.duplicates import same_rows
from polytask.data.row_ids import absent_note
from polytask.data.tables import Refusal
from polytask.data.tokenization import Tokenizer

# Thresholds of notes: the share of unknown tokens; dev rows, and dev rows of a class, below which a score
# says little.
UNKNOWN, FEW_ROWS, FEW_OF_A_CLASS = 0.02, 50, 5
_EXAMPLES = 3


def left_out_notes(data: Mapping[str, TaskData], layouts: Mapping[str, InputLayout]) -> list[str]:
    """Return a sentence for the rows that a training does without, cuts, or cannot read."""
    notes = []
    for name, task in data.items():
        for key, rows in task.found.items():
            notes += [f"{name} {key}: {note}"
                      for note in refusals(Path(rows.table.file).name, rows.refused, rows.found)]
        for key, split in task.splits.items():
            notes += [f"{name} {key}: {note}" for note in _cut(split, layouts[name])]
    return notes


def shared_notes(data: Mapping[str, TaskData], splits: Sequence[str] = ("dev", "test")) -> list[str]:
    """Return a sentence for each split whose rows stand among the training rows of its task too."""
    notes = []
    for name, task in data.items():
        for key in splits:
            # Rows that were carved from train left none of their texts there.
            if key not in task.splits or key not in task.found:
                continue
            split, train = task.splits[key], task.train
            if count := len(same := same_rows(split.rows, train.rows)):
                here = f"{Path(split.file).name}:{split.lines[same.rows[0]]}"
                there = f"{Path(train.file).name}:{train.lines[same.other[0]]}"
                notes.append(f"{name} {key}: {count:,} of {len(split):,} rows "
                             f"{agreeing(count, 'stands', 'stand')} in "
                             f"train too ({here} = {there}{', …' * (count > 1)}), so scores on {key} "
                             "flatter the model; polytask check lists them")
    return notes


def id_notes(data: Mapping[str, TaskData]) -> list[str]:
    """Return a sentence for ids that are missing, or that cannot tell the rows of a split apart."""
    notes = []
    for name, task in data.items():
        wanted = task.train.rows.columns.id
        for key, split in {**task.splits, **task.predicted}.items():
            absent = absent_note(split.rows.table.columns, wanted, split.rows.columns.text)
            notes += [f"{name} {key}: {note}" for note in [*absent, *split.rows.id_notes()]]
    return notes


def nul_notes(data: Mapping[str, TaskData], tokenizer: Path) -> list[str]:
    """Return a sentence for each split whose texts hold NUL characters."""
    notes = []
    for name, task in data.items():
        for key, split in task.splits.items():
            holding = [np.isin(split.rows.index, column.rows_with(0)) for column in split.rows.text_columns]
            if lines := split.lines[np.logical_or.reduce(holding)].tolist():
                notes.append(f"{name} {key}: {len(lines):,} of {len(split):,} rows "
                             f"{agreeing(len(lines), 'holds', 'hold')} NUL characters "
                             f"({_some(Path(split.file).name, lines)}), {reading_of_nul(tokenizer)}; is "
                             "the file damaged, or in another encoding?")
    return notes


def reading_of_nul(tokenizer: Tokenizer | Path) -> str:
    """Return what a tokenizer makes of a NUL character inside a word, as a relative clause."""
    tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else Tokenizer(tokenizer)
    written, joined, apart, known = tokenizer.encode(["a\0a", "aa", "a a", "a"])
    if written == joined:
        return "which the tokenizer drops"
    if written == apart:
        return "which the tokenizer reads as blanks"
    unknown = tokenizer.special_tokens.unknown
    if unknown in written and unknown not in known:
        return "which the tokenizer does not know"
    return "which the tokenizer reads as part of the text"


def too_little_notes(data: Mapping[str, TaskData]) -> list[str]:
    """Return a sentence for everything that is too little to learn from or to score with."""
    return [f"{name}: {note}" for name, task in data.items() for note in _little(task)]


def refusals(file: str, refused: Sequence[Refusal], rows_read: int) -> list[str]:
    """Return a sentence for each reason why rows are left out, with the first lines it is about."""
    lines: dict[str, list[int]] = defaultdict(list)
    for line, reason in refused:
        lines[reason].append(line)
    return [f"{len(numbers):,} of {rows_read:,} rows refused: {reason} (" + _some(file, numbers) + ")"
            for reason, numbers in lines.items()]


def _some(file: str, lines: Sequence[int]) -> str:
    return ", ".join(f"{file}:{line}" for line in lines[:_EXAMPLES]) + ", …" * (len(lines) > _EXAMPLES)


def _cut(split: Split, layout: InputLayout) -> list[str]:
    """Say how many rows lose their ends, and how much the vocabulary does not know."""
    notes = []
    if cut := int(split.lengths(layout).truncated.sum()):
        notes.append(f"{cut:,} of {len(split):,} rows ({cut / len(split):.1%}) "
                     f"{agreeing(cut, 'is', 'are')} longer than {layout.max_length} tokens and "
                     f"{agreeing(cut, 'is', 'are')} cut; data.max_length sets the limit")
    if (share := split.unknown_share()) >= UNKNOWN:
        notes.append(f"{share:.0%} of the tokens are unknown to the vocabulary of the encoder; use one "
                     "trained on this language")
    return notes


def _little(task: TaskData) -> list[str]:
    """Say where there are too few rows to learn from or to score with."""
    dev, counts = task.splits.get("dev"), task.counts
    notes = []
    if counts is not None:
        absent = [name for name, count in zip(task.labels.classes, counts, strict=True) if not count]
        notes += [f"{_classes(absent)} no training row"] if absent else []
    if dev is None or dev.targets is None:
        return notes
    if len(dev) < FEW_ROWS:
        notes.append(f"dev has {counted(len(dev), 'row')}, so one row moves an accuracy by "
                     f"{100 / len(dev):.0f} "
                     "points")
    of_classes = class_counts(dev.targets, task.labels)
    if of_classes is not None and len(dev) >= FEW_ROWS:
        few = [name for name, count in zip(task.labels.classes, of_classes, strict=True)
               if count < FEW_OF_A_CLASS]
        if few:
            notes.append(f"{_classes(few)} fewer than {FEW_OF_A_CLASS} dev rows; scores of single "
                         "classes and macro F1 say little")
    return notes


def _classes(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f'class "{names[0]}" has'
    return f"{len(names)} classes ({listed(names[:4])}{', …' if len(names) > 4 else ''}) have"
