"""The labels of a task's splits: inferred from its training and dev rows, or known from a trained model.

Rows without a label are left out and counted, each with what stands there instead of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from polytask.core.counting import agreeing, counted
from polytask.core.errors import DataError
from polytask.data.label_forms import are_numbers, number
from polytask.data.label_inference import infer, outward
from polytask.data.label_kind import Wanted
from polytask.data.label_targets import missing, only_unknown, unreadable
from polytask.data.labels import Labels
from polytask.data.reading import NO_LABEL, Rows

UNREADABLE = "a label that is not a number"


@dataclass(frozen=True)
class LabelledRows:
    """Labels and the rows that have one, split by split; `notes` are what was guessed."""

    labels: Labels
    rows: dict[str, Rows]
    notes: tuple[str, ...]


def read_labels(by_split: Mapping[str, Rows], wanted: Wanted, known: Labels | None = None) -> LabelledRows:
    """Return the labels of the rows of a task's splits, and those rows that have one.

    known: of a trained model, which then say what the labels are; the rows have to fit. A test file
    whose rows all have one value that is not a label (-1, "?") has no labels.
    """
    notes: list[str] = []
    if known is None:
        labels, guesses = _inferred(by_split, wanted)
        notes += guesses
    else:
        labels = known
    kept = {}
    for split, rows in by_split.items():
        if split == "test" and (value := only_unknown(rows.labels, labels)) is not None:
            notes.append(f'every row of {rows.table.file} has the label "{value}", which is not a label '
                         "of the task: the test rows are treated as unlabelled")
            rows = replace(rows, columns=replace(rows.columns, label=None))
        kept[split] = _with_label(rows, labels)
    if wanted.classes is None and not are_numbers(labels.classes):
        notes += [f'"{mark}" is not read as a label and its rows are left out; if it is one, list it in '
                  'classes'
                  for mark in _word_marks(kept)]
    notes += _empty_names(kept, labels)
    return LabelledRows(labels, kept, tuple(notes))


def _empty_names(kept: Mapping[str, Rows], labels: Labels) -> list[str]:
    """Return a note on the lists with an empty name among their names, if there are any."""
    if labels.kind != "multi-label":
        return []
    cells = [cell for rows in kept.values() for cell in rows.labels]
    empty = {cell for cell in set(cells) if labels.has_empty_name(cell)}
    if not empty:
        return []
    rows = sum(cell in empty for cell in cells)
    return [f"an empty name stands among the labels of {counted(rows, 'row')} ({min(empty)[:60]}) and is "
            f"left out"]


def _inferred(by_split: Mapping[str, Rows], wanted: Wanted) -> tuple[Labels, tuple[str, ...]]:
    train = by_split["train"]
    labels = list(train.labels)
    if "dev" in by_split:
        _refuse_unlabelled_dev(by_split["dev"], train, wanted)
        labels += by_split["dev"].labels
    try:
        inferred = infer(labels, wanted, train.table.file)
    except DataError as error:
        raise DataError(f"{error}{_refused_besides(train)}") from None
    beyond = _beyond_training(by_split, inferred.labels) if wanted.range is None else []
    return inferred.labels, (*inferred.notes, *beyond)


def _beyond_training(by_split: Mapping[str, Rows], labels: Labels) -> list[str]:
    """Return a note on dev labels far from those of train, which may be on another scale."""
    if not labels.is_regression or "dev" not in by_split:
        return []
    train, dev = ([value for label in by_split[split].labels if (value := labels.number(label)) is not None]
                  for split in ("train", "dev"))
    if not train or min(train) == max(train):
        return []
    low, high = outward(min(train), max(train))
    beyond = [value for value in dev if not low <= value <= high]
    if not beyond:
        return []
    return [f"{counted(len(beyond), 'dev row')} of {len(dev):,} {agreeing(len(beyond), 'has', 'have')} a "
            f"label outside those of train ({min(train):g} to {max(train):g}), such as "
            f"{max(beyond, key=abs):g}, so "
            f"the range is {labels.low:g} to {labels.high:g}; are they on another scale? "
            f"range = [{low:g}, {high:g}] refuses them"]


def _refused_besides(train: Rows) -> str:
    """Return how many rows could not be read, which may be those with the other labels."""
    if not train.refused:
        return ""
    line, reason = train.refused[0]
    return (f" ({len(train.refused):,} of {counted(train.found, 'row')} "
            f"{agreeing(len(train.refused), 'is', 'are')} refused: line {line}: {reason})")


def _refuse_unlabelled_dev(dev: Rows, train: Rows, wanted: Wanted) -> None:
    """Raise `DataError` where -1 or a word stands in every dev row, and in no training row."""
    if len(dev) < 2 or len(set(dev.labels)) > 1 or dev.labels[0] in train.labels:
        return
    value = dev.labels[0]
    if value == "-1" or number(value) is None:
        raise DataError(f'{dev.table.file}: every row has the label "{value}", which no training row '
                        'has: these dev rows have no labels; give a labelled file, or carve dev rows with '
                        'dev = 0.1')


def _with_label(rows: Rows, labels: Labels) -> Rows:
    """Return the rows that have a label; the others are refused with what stands there."""
    if rows.columns.label is None:
        return rows
    reasons = dict.fromkeys(unreadable(rows.labels, labels), UNREADABLE)
    for mark, without in missing(rows.labels, labels).items():
        reasons |= dict.fromkeys(without, f'{NO_LABEL} ("{mark}")' if mark else NO_LABEL)
    kept = rows.without(reasons) if reasons else rows
    if not len(kept):
        what = "a number" if labels.is_regression else "a label"
        raise DataError(f"{rows.table.file}: none of its {counted(rows.found, 'label')} is {what}")
    return kept


def _word_marks(kept: Mapping[str, Rows]) -> list[str]:
    """Return the words that were taken for no label."""
    start = f'{NO_LABEL} ("'
    marks = {reason.removeprefix(start).removesuffix('")'): None for rows in kept.values()
             for _, reason in rows.refused if reason.startswith(start)}
    return list(marks)
