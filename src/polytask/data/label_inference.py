"""Infers the kind, classes and range of a task's labels from the labels themselves.

Every guess that could be wrong comes with a sentence that names the setting which says otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polytask.core.counting import agreeing
from polytask.core.errors import DataError, listed, nearest
from polytask.data.label_column import LabelColumn
from polytask.data.label_doubts import SEPARATORS, doubts, far_off, rare_separator_of, separator_of
from polytask.data.label_forms import (
    LIST_FORMS,
    are_booleans,
    are_numbers,
    canonical,
    is_on,
    number,
    split_at,
)
from polytask.data.label_kind import Wanted, guess_kind, refuse_unread_lists, some_of
from polytask.data.labels import KINDS, Labels

# Of two such classes the second is the positive one.
_POSITIVE = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("negative", "positive"),
             ("neg", "pos"), ("-1", "1"), ("nein", "ja"), ("nee", "ja"), ("nej", "ja"), ("non", "oui"),
             ("no", "si"), ("no", "sí"), ("no", "sì"), ("não", "sim"))
_NEGATIONS = ("not ", "not_", "not-", "non ", "non_", "non-", "no ", "no_", "no-", "un")


_NOTHING_SAID = Wanted()


@dataclass(frozen=True)
class Inferred:
    """Labels, and a sentence for every guess that a setting can overrule."""

    labels: Labels
    notes: tuple[str, ...] = ()


def infer(labels: Sequence[str], wanted: Wanted = _NOTHING_SAID, file: str = "the labels") -> Inferred:
    """Return the kind, classes and range of labels, and what was guessed of them.

    Raises `DataError` for labels that can be none, `ConfigError` for settings that contradict them.
    """
    if wanted.kind is not None and wanted.kind not in KINDS:
        raise wanted.problem("kind", f"found {wanted.kind!r}{nearest(wanted.kind, KINDS)}")
    column = LabelColumn(labels, wanted.classes or ())
    if not column.rows:
        raise DataError(f"{file}: no row has a label (found only {some_of(sorted(set(labels)))})")
    notes: list[str] = []
    kind = wanted.kind or guess_kind(column, wanted, file, notes)
    _check_settings(kind, wanted)
    if kind == "regression":
        return Inferred(_regression(column, wanted, file, notes), tuple(notes))
    if kind == "multi-label":
        return Inferred(_multi_label(column, wanted, file, notes), tuple(notes))
    classes = _classes(column, kind, wanted, file, notes)
    if kind == "binary" and len(classes) != 2:
        raise DataError(f"{file}: found {len(classes)} classes ({some_of(classes)}), expected 2 for"
                        ' kind "binary"')
    if kind == "classes" and len(classes) == 2:
        kind = "binary"
    if wanted.positive is not None and kind != "binary":
        raise wanted.problem("positive", f"only two classes have a positive one, found {len(classes)} "
                             f"({some_of(classes)})")
    if kind == "binary":
        classes = _positive_last(classes, wanted, notes)
    return Inferred(Labels(kind, classes), tuple(notes))


def _check_settings(kind: str, wanted: Wanted) -> None:
    """Refuse settings that mean nothing for this kind of labels."""
    if kind == "regression" and wanted.classes is not None:
        raise wanted.problem("classes", "a regression has a range, not classes")
    if kind != "regression" and wanted.range is not None:
        raise wanted.problem("range", f'labels of kind "{kind}" have classes, not a range')
    if kind != "multi-label" and wanted.separator is not None:
        raise wanted.problem("separator", f'labels of kind "{kind}" are not lists; set kind = '
                                          '"multi-label"')
    if wanted.separator is not None and not wanted.separator.strip() and wanted.separator not in (
            " ", "\t"):
        raise wanted.problem("separator", f"found {wanted.separator!r}, expected the text between two "
                                          "names")
    if kind in ("regression", "multi-label") and wanted.positive is not None:
        raise wanted.problem("positive", f'labels of kind "{kind}" have no positive class')


def _classes(column: LabelColumn, kind: str, wanted: Wanted, file: str, notes: list[str]
             ) -> tuple[str, ...]:
    """Return the ordered classes: numbers by size, words by the alphabet."""
    if wanted.classes is not None:
        return _given_classes(wanted)
    names = _merged(column, notes)
    if kind == "ordinal" and not are_numbers(names):
        raise wanted.problem("classes", "is missing: words have no natural order, expected"
                             f" the classes from lowest to highest ({some_of(sorted(names))})")
    if len(names) < 2:
        raise DataError(f"{file}: every row has the label {listed(names)}, expected two or more"
                        " different")
    notes += doubts(column, names, wanted)
    return _ordered(names)


def _given_classes(wanted: Wanted) -> tuple[str, ...]:
    named = tuple(name.strip() for name in wanted.classes or ())
    classes = tuple(map(canonical, named)) if are_numbers(named) else named
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise wanted.problem("classes", f"found {listed(classes)}, expected two or more different names")
    return classes


def _merged(column: LabelColumn, notes: list[str]) -> set[str]:
    """Return the names of classes. Spellings of one number or boolean are one name; words stay apart."""
    labels = set(column.counts)
    if are_numbers(labels):
        names = {canonical(label) for label in labels}
        if changed := sorted(label for label in labels if canonical(label) != label):
            notes.append(f"all labels are numbers, so {some_of(changed)} "
                         f"{agreeing(len(changed), 'is', 'are')} read as "
                         f"{some_of([*dict.fromkeys(map(canonical, changed))])}")
        return names
    if are_booleans(labels):
        by_count = sorted(labels, key=lambda label: (column.counts[label], label))
        usual = {label.casefold(): label for label in by_count}  # the most frequent spelling stays
        if len(usual) < len(labels):
            notes.append(f"{some_of(sorted(labels))} are read as {some_of(sorted(usual.values()))}: "
                         "capitals make no difference between booleans")
        return set(usual.values())
    return labels


def _ordered(names: set[str]) -> tuple[str, ...]:
    numbers = all(number(name) is not None for name in names)
    return tuple(sorted(names, key=lambda name: (float(name), name)) if numbers else sorted(names))


def _positive_last(classes: tuple[str, ...], wanted: Wanted, notes: list[str]) -> tuple[str, ...]:
    """Return two classes, the positive one second: as the config says, or as the names say."""
    if wanted.positive is not None:
        name = Labels("classes", classes).class_name(wanted.positive)
        if name not in classes:
            raise wanted.problem("positive", f'"{name}" is not a class, expected one of {listed(classes)}'
                                 f"{nearest(name, classes)}")
        return tuple(sorted(classes, key=lambda candidate: candidate == name))
    if wanted.classes is not None:
        return classes
    first, second = (name.casefold() for name in classes)
    for negative, positive in ((first, second), (second, first)):
        if (negative, positive) in _POSITIVE or any(negative == sign + positive for sign in _NEGATIONS):
            return classes if positive == second else classes[::-1]
    if not are_numbers(classes):
        notes.append(f'the positive class is "{classes[1]}", the last in the alphabet; positive = '
                     f'"{classes[0]}" chooses the other')
    return classes


def _multi_label(column: LabelColumn, wanted: Wanted, file: str, notes: list[str]) -> Labels:
    """Return the classes of labels that are lists, and how the lists are written."""
    classes = () if wanted.classes is None else _given_classes(wanted)
    width = column.vector_width
    if wanted.separator is None and not column.lists:
        refuse_unread_lists(column, file)
    if width and classes and len(classes) != width and not all(is_on(name) is not None for name in classes):
        raise wanted.problem("classes", f"found {len(classes)} names, expected {width} for vectors such as "
                                        f"{column.first}")
    if width and (not classes or len(classes) == width):
        names = classes or tuple(str(place) for place in range(width))
        if not classes:
            notes.append(f"labels such as {column.first} are read as 0/1 vectors of {width} classes named "
                         f'"0" to "{width - 1}"; name them with classes = […]')
        return Labels("multi-label", names, form="vectors")
    known = Labels("multi-label", classes, separator=wanted.separator)
    names_by_label = {label: _named(known, label, file) for label in column.counts}
    names_found = {name for names in names_by_label.values() for name in names}
    _refuse_ragged_vectors(names_by_label, names_found, file)
    if all(len(own) < 2 for own in names_by_label.values()) and not (wanted.separator or column.bracketed):
        _refuse_unknown_separator(column, names_found, file)
        notes.append('no row has two labels; if something else separates them, set separator; if each row '
                     'has one, set kind = "classes"')
    if classes:
        return known
    if are_numbers(names_found):
        names_found = {canonical(name) for name in names_found}
    if any(number(name) is not None and not float(name).is_integer() for name in names_found):
        raise DataError(f"{file}: found {column.first}, expected names or entries of 0 and 1; numbers "
                        "such as probabilities are not labels")
    if len(names_found) < 2:
        raise DataError(f"{file}: the lists name {listed(sorted(names_found)) or 'nothing'}, expected "
                        "two or more different labels")
    if wanted.separator is None and (similar := separator_of(names_found)):
        notes.append(f'"{similar[1]}" is read as one label; if it is a list, set separator = '
                     f'"{similar[0]}"')
    return Labels("multi-label", _ordered(names_found), separator=wanted.separator)


def _named(known: Labels, label: str, file: str) -> list[str]:
    try:
        return known.names(label)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from None


def _refuse_ragged_vectors(names_by_label: Mapping[str, list[str]], names: set[str], file: str) -> None:
    """Raise `DataError` for 0/1 vectors of different lengths; a list of the ids 0 and 1 has each once."""
    if any(is_on(name) is None for name in names):
        return
    vector = next((label for label, own in names_by_label.items() if len({*own}) < len(own)), None)
    if vector is not None:
        other = next(label for label in names_by_label if label != vector or len(names_by_label) == 1)
        raise DataError(f"{file}: found {vector} and {other}, expected lists that name a class once, or "
                        "0/1 vectors of one length, written as [1, 0, 1]")


def _refuse_unknown_separator(column: LabelColumn, names: set[str], file: str) -> None:
    """Raise `DataError` where labels that should be lists are separated by something unknown."""
    similar = separator_of(names) or rare_separator_of(names)
    if similar is None:  # no part is a label of its own: any comma or semicolon will do
        similar = next(((separator, name) for separator in SEPARATORS[:2] for name in sorted(names)
                        if len(split_at(name, separator)) > 1), None)
    if similar is not None:
        separator, some = similar
        raise DataError(f'{file}: no label is a list; found "{some}", expected {LIST_FORMS}, or set '
                        f"separator = {json.dumps(separator, ensure_ascii=False)}")


def _regression(column: LabelColumn, wanted: Wanted, file: str, notes: list[str]) -> Labels:
    known = Labels("regression", unit=wanted.label_scale == "unit",
                   form="decimal commas" if column.decimal_commas else "names")
    number_of = {label: value for label in column.counts if (value := known.number(label)) is not None}
    values = [*number_of.values()]
    if column.decimal_commas:
        if column.thousands:
            raise DataError(f'{file}: "{column.thousands}" may be a thousand or a decimal number; write '
                            'it with a '
                            'point or without the comma, or set kind = "classes"')
        if column.mixed_signs:
            comma, point = column.mixed_signs
            raise DataError(f'{file}: "{point}" may be a thousand or a decimal number beside "{comma}"; '
                            'write all numbers with decimal points and without other signs, or set kind = '
                            '"classes"')
        if wanted.kind is None:
            some = next(label for label in column.counts if "," in label)
            notes.append(f'labels such as "{some}" are read as numbers with a decimal comma; if they '
                         'are classes, '
                         'set kind = "classes"')
    if not values:
        raise DataError(f"{file}: found the labels {some_of(sorted(column.counts))}, expected numbers")
    if wanted.range is not None:
        low, high = wanted.range
    else:
        if min(values) == max(values):
            raise DataError(f"{file}: every row has the label {values[0]:g}, expected different numbers")
        low, high = outward(min(values), max(values))
        notes += far_off(column, number_of, wanted)
    return replace(known, low=float(low), high=float(high))


def outward(low: float, high: float) -> tuple[float, float]:
    """Round a range outward to steps of a tenth to a quarter of it: 0.2 … 4.9 is 0 … 5."""
    span = high - low
    scale = 10.0 ** math.floor(math.log10(span) - 1)
    step = next(times * scale for times in (1, 2, 5, 10) if times * scale >= span / 10 * 0.999)
    digits = max(0, 1 - math.floor(math.log10(step)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # The tolerance is for 0.3 / 0.1; a label a hair outside still has to be inside.
    first -= round(first * step, digits) > low
    last += round(last * step, digits) < high
    return round(first * step, digits), round(last * step, digits)
