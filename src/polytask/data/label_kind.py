"""Which kind of labels a column holds, where the config does not say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polytask.core.counting import agreeing, counted
from polytask.core.errors import ConfigError, DataError, listed
from polytask.data.label_column import LabelColumn
from polytask.data.label_forms import LIST_FORMS, is_code, is_dressed_number
from polytask.data.labels import Kind

# Different words that are classes without being called so, and whole numbers that can be classes at all.
MAX_CLASSES, MOST_NUMBERED_CLASSES = 50, 1000
# Lists in fewer rows than this do not make all labels lists.
_SOME_LISTS = 0.05


@dataclass(frozen=True)
class Wanted:
    """What the config says of a task's labels; None is told from the data.

    `where` is the dotted key of the task and `column` that of its label, for messages.
    """

    kind: Kind | None = None
    classes: tuple[str, ...] | None = None
    range: tuple[float, float] | None = None
    label_scale: str = "unit"
    where: str = ""
    positive: str | None = None
    separator: str | None = None
    column: str = "label"

    def problem(self, key: str, text: str) -> ConfigError:
        return ConfigError(f"{self.where}.{key}: {text}" if self.where else f"{key}: {text}")


def guess_kind(column: LabelColumn, wanted: Wanted, file: str, notes: list[str]) -> Kind:
    """Return the kind that labels look like; what is not certain goes into `notes`."""
    if wanted.range is not None:
        return "regression"
    if wanted.separator is not None:
        return "multi-label"
    if wanted.classes is not None and column.counts.keys() <= {*wanted.classes}:
        return "classes"
    if column.lists and _are_lists(column, notes):
        return "multi-label"
    if wanted.classes is not None or wanted.positive is not None:
        return "classes"
    refuse_unread_lists(column, file)
    if column.decimal_commas:
        _note_words(column, notes)
        return "regression"
    return _kind_of_numbers(column, notes) if column.numeric else _kind_of_words(column, file, notes)


def refuse_unread_lists(column: LabelColumn, file: str) -> None:
    """Raise `DataError` where most labels look like lists that cannot be read: each would be a class."""
    if (label := column.unread_list) is not None:
        raise DataError(f"{file}: labels such as {label[:60]} look like lists and cannot be read as such; "
                        f'expected {LIST_FORMS}, or set kind = "classes" if they are names')


def _are_lists(column: LabelColumn, notes: list[str]) -> bool:
    """Return whether the lists among labels make all of them lists."""
    some, lists = column.lists[0], sum(column.counts[label] for label in column.lists)
    share = lists / column.rows
    if share < _SOME_LISTS and not column.bracketed:
        notes.append(f'"|" stands in {lists:,} of {column.rows:,} labels ("{some}") and is read as '
                     'part of a name; if it separates labels, set kind = "multi-label"')
        return False
    if share < 0.2:
        notes.append(f"{lists:,} of {column.rows:,} labels are lists (\"{some}\"), so each row may have "
                     "several "
                     'labels; if each has one, set kind = "classes"')
    return True


def _kind_of_numbers(column: LabelColumn, notes: list[str]) -> Kind:
    """Tell classes that are called by numbers from measures."""
    if not _are_ids(column, notes):
        _note_words(column, notes)
        return "regression"
    _note_mixture(column, notes)
    return "classes"


def _note_words(column: LabelColumn, notes: list[str]) -> None:
    """Say which rows of a regression have a word."""
    if column.words:
        rows = column.count(column.words)
        notes.append(f"{rows:,} of {column.rows:,} rows {agreeing(rows, 'has', 'have')} "
                     f"{_word_of(column.words)} where the others have numbers ({some_of(column.words)}) "
                     f"and {agreeing(rows, 'is', 'are')} left out; if the labels are classes, set "
                     'kind = "classes"')


def _word_of(words: Sequence[str]) -> str:
    """Return what words among numbers are: 1e400 and inf are no words, but numbers without an end."""
    return "no finite number" if all(word.lstrip("+-")[:1].isdigit() or word.lstrip("+-").casefold() in
                                     ("inf", "infinity") for word in words) else "a word"


def _are_ids(column: LabelColumn, notes: list[str]) -> bool:
    """Return whether numbers are names of classes. A few whole numbers are; many only if they count up.

    Ids start at 0 or 1 and leave hardly one out; 0 to 100 are percents.
    """
    if not column.whole:
        return False
    different, low, high = len({*column.numbers.values()}), column.lowest, column.highest
    ids = low in (0, 1) and high != 100 and different >= 0.9 * (high - low + 1)
    classes = different <= MAX_CLASSES or (ids and different <= MOST_NUMBERED_CLASSES)
    if different > 20:
        taken, other, kind = (("classes", "measures", "regression") if classes
                              else ("a regression", "classes", "classes"))
        notes.append(f"{different:,} whole numbers from {low:g} to {high:g} are treated as {taken}; if "
                     "they are "
                     f'{other}, set kind = "{kind}"')
    return classes


def _note_mixture(column: LabelColumn, notes: list[str]) -> None:
    words = [word for word in column.words if not is_code(word)]
    if words and column.numbers:
        # 0 and 1 measure nothing; beside words they are answers to one question.
        answers = {*column.numbers.values()} <= {0, 1}
        remedy = ("if two of them mean the same, write them alike" if answers else
                  'if the labels are measurements, set kind = "regression", which leaves the words out')
        notes.append(f"numbers and words are mixed ({some_of(words)} in {column.count(words):,} of "
                     f"{column.rows:,} rows), so each is a class; {remedy}")


def _kind_of_words(column: LabelColumn, file: str, notes: list[str]) -> Kind:
    """Return "classes" for words that are few enough, or that stand in several rows each."""
    different = len(column.counts)
    if different > MAX_CLASSES:
        if different > MOST_NUMBERED_CLASSES or column.rows < 2 * different:
            raise DataError(f"{file}: {_neither(column)}")
        notes.append(f'{different} different labels are treated as classes; set kind = "classes" to '
                     'confirm it')
    _note_mixture(column, notes)
    dressed = [label for label in column.counts if is_dressed_number(label)]
    if 2 * len(dressed) >= different:
        notes.append(f'labels such as "{dressed[0]}" are not plain numbers and are treated as classes; if '
                     "they are measures, write them as numbers, such as 12.5")
    return "classes"


def _neither(column: LabelColumn) -> str:
    """Return why labels are neither numbers nor classes."""
    words = column.words
    if 2 * column.count(column.numbers) < column.rows:
        return (f"found {len(column.counts):,} different labels ({some_of(sorted(column.counts))}), "
                f"expected "
                f'plain numbers or 2 to {MAX_CLASSES} classes; set kind = "classes" if they are classes')
    rows = column.count(words)
    dressed = next((word for word in words if is_dressed_number(word)), None)
    remedy = 'set kind = "regression", which leaves them out' if dressed is None else (
        f'write "{dressed}" and the like as plain numbers, such as -0.5')
    return (f"{rows:,} of {counted(column.rows, 'row')} {agreeing(rows, 'has', 'have')} a word where the "
            f"others have numbers ({some_of(words)}), expected plain numbers; {remedy}")


def some_of(names: Sequence[str]) -> str:
    """Return the first six of some names for a message."""
    return listed(names[:6]) + (", …" if len(names) > 6 else "")
