"""What a task read from a file must be like to be answered: anybody may have written the file."""

from __future__ import annotations

import math
from typing import Any, get_args

from polytask.data.collate import InputLayout
from polytask.data.labels import KINDS, Form, Labels

# Texts and sequences of a row: single, cross_encoder, bi_encoder, twin, cross_bi_encoder; and of the two
# that read both texts in one sequence, where they read it in both orders.
_SHAPES = {(1, 1), (2, 1), (2, 2), (1, 2), (2, 3)}
_SYMMETRIC = {(2, 2), (2, 4)}
_LONGEST = 1 << 20


def stored_task_problem(text: Any, labels: Labels, layout: InputLayout, threshold: Any,
                        of_score: bool = False) -> str | None:
    """Return what is wrong with a task, its key first, or None.

    of_score: whether the threshold is one of scores, such as cosines, and not of probabilities.
    """
    return (layout_problem(layout) or _text_problem(text, layout.texts) or _labels_problem(labels)
            or _threshold_problem(threshold, labels, of_score))


def wanted_threshold_problem(threshold: Any) -> str | None:
    """Return what is wrong with the threshold that a task's settings asked for, or None."""
    if threshold is None or threshold in ("tuned", "accuracy") or (
            _is_number(threshold) and 0 < threshold < 1):
        return None
    return f'threshold: found {_short(threshold)}, expected "tuned", "accuracy" or a number between 0 and 1'


def layout_problem(layout: InputLayout) -> str | None:
    """Return what is wrong with a layout, or None."""
    if not all(map(_is_whole, (layout.texts, layout.sequences, layout.max_length))):
        return f"layout: found {_short(layout)}, expected whole numbers"
    if not isinstance(layout.symmetric, bool):
        return f"layout.symmetric: found {_short(layout.symmetric)}, expected true or false"
    if (layout.texts, layout.sequences) not in (_SYMMETRIC if layout.symmetric else _SHAPES):
        return (f"layout: found {layout.texts} texts in {layout.sequences} sequences, expected "
                + ("2 in 2 or 4" if layout.symmetric else "1 or 2 in 1 or 2, or 2 in 3"))
    if not 1 <= layout.max_length <= _LONGEST:
        return f"max_length: found {layout.max_length}, expected 1 to {_LONGEST:,}"
    return None


def _text_problem(text: Any, count: int) -> str | None:
    if len(text) != count or not all(isinstance(name, str) and name for name in text):
        return f"text: found {_short(text)}, expected {count} names of columns"
    return None


def _labels_problem(labels: Labels) -> str | None:
    if labels.kind not in KINDS:
        return f"labels.kind: found {_short(labels.kind)}, expected one of {', '.join(KINDS)}"
    if not isinstance(labels.unit, bool):
        return f"labels.unit: found {_short(labels.unit)}, expected true or false"
    if labels.form not in get_args(Form):
        return f"labels.form: found {_short(labels.form)}, expected one of {', '.join(get_args(Form))}"
    if labels.separator is not None and not (isinstance(labels.separator, str) and labels.separator):
        return f"labels.separator: found {_short(labels.separator)}, expected the text between two names"
    if labels.is_regression:
        if _is_number(labels.low) and _is_number(labels.high) and labels.low < labels.high:
            return None
        return f"labels: found the range {_short(labels.low)} to {_short(labels.high)}, expected low < high"
    if not all(isinstance(name, str) for name in labels.classes):
        return f"labels.classes: found {_short(labels.classes)}, expected names"
    if len(set(labels.classes)) != labels.num_classes:
        return "labels.classes: found a class twice, expected different names"
    least, most = {"binary": (2, 2), "multi-label": (1, math.inf)}.get(labels.kind, (2, math.inf))
    if not least <= labels.num_classes <= most:
        return f"labels.classes: found {labels.num_classes}, expected {least}{' or more' * (most > 2)}"
    return None


def _threshold_problem(threshold: Any, labels: Labels, of_score: bool) -> str | None:
    several = labels.kind == "multi-label" and isinstance(threshold, list)
    if threshold is None:
        return None
    numbers = threshold if several and len(threshold) == labels.num_classes else [threshold]
    if all(_is_number(each) and (of_score or 0 <= each <= 1) for each in numbers):
        return None
    return (f"threshold: found {_short(threshold)}, expected a number{' from 0 to 1' * (not of_score)}, "
            "or one for each of several labels")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "…"
