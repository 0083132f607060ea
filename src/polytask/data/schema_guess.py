"""What the columns of a file are likely to be: texts, a label, an id, or neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from polytask.core.counting import agreeing
from polytask.core.errors import DataError, listed
from polytask.data.column_profile import NAMED_ID, NAMED_LABEL, NAMED_TEXT, Profile, count_words
from polytask.data.label_forms import number
from polytask.data.label_inference import infer
from polytask.data.label_kind import Wanted
from polytask.data.row_names import consecutive
from polytask.data.tables import Table

# 0/1 columns from here on are taken for the labels of one task.
_SEVERAL = 3
# Share of the rows whose text stood in an earlier one, above which it may be the half of a pair.
_REPEATED = 0.1
_PAIRS = (("1", "2"), ("0", "1"), ("a", "b"), ("premise", "hypothesis"), ("question", "answer"),
          ("question", "sentence"), ("query", "passage"), ("query", "document"))
# So many rows say whether the first one has a label that no other has.
_ROWS_THAT_TELL = 20
# What columns without a name are called, before their number.
_PLACE = "column"


@dataclass(frozen=True)
class Guess:
    """What a file's columns were taken for. `others` could be the label as well.

    `flags`: 0/1 columns that are the labels of one task, in place of `label`; empty if there are none.
    `more_texts`: columns of sentences that are not read. `why_text`, `why_label`: the reasons.
    """

    text: tuple[str, ...]
    label: Profile
    id: str | None
    others: list[Profile]
    split: Profile | None
    flags: list[Profile] = field(default_factory=list)
    more_texts: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    """Columns of 0 beside a label of 0 and 1: labels that no row has, perhaps."""
    odd_splits: list[Profile] = field(default_factory=list)
    """Columns that name splits, some of them with other words than polytask knows."""
    why_text: str = ""
    why_label: str = ""

    @property
    def label_names(self) -> list[str]:
        return [column.name for column in self.flags] or [self.label.name]


def profiles(table: Table) -> list[Profile]:
    """Return the columns of a table that have a name, each name once."""
    names = [name for name in dict.fromkeys(table.columns)
             if name and table.columns.count(name) == 1]
    return [Profile(name, [cell.strip() for cell in table.column(name).texts()]) for name in names]


def guess(table: Table) -> Guess:
    """Return what the columns of a training file seem to be.

    Raises `DataError` if none holds texts, or none looks like a label.
    """
    every = profiles(table)
    text = _text(every)
    if not text:
        twice = _twice(table)
        raise DataError(f"{table.file}: no column holds sentences (its columns: "
                        f"{listed(profile.name for profile in every) or 'none'}"
                        + f"; {twice}" * bool(twice) + ")")
    return _guessed(every, text, table.file, twice=_twice(table))


def _twice(table: Table) -> str:
    """Return what is said of names that several columns have, or ""."""
    twice = [name for name in dict.fromkeys(table.columns) if name and table.columns.count(name) > 1]
    return (f"{listed(twice)} {agreeing(len(twice), 'is the name', 'are the names')} of several columns, "
            "which cannot be used") if twice else ""


def _guessed(every: Sequence[Profile], text: tuple[str, ...], file: str, header: bool = True,
             twice: str = "") -> Guess:
    """Return what columns are beside the texts; raise `DataError` if none looks like a label.

    header: whether the file names its columns. twice: what is said of names that occur twice.
    """
    labels = [column for column in every if column.name not in text and column.labels is not None]
    if not labels:
        raise DataError(f"{file}: no column looks like a label, expected one with 2 to 50 values or "
                        f"numbers beside {_shown(text, header)}{_why_no_label(every, text)}"
                        + f" ({twice})" * bool(twice))
    labels.sort(key=lambda column: column.likeness, reverse=True)
    flags = [column for column in every if column in labels and column.is_flag]
    several = [] if not labels[0].is_flag or len(flags) < _SEVERAL else [
        column for column in every if column in flags or (column.name not in text and column.is_never)]
    texts = tuple(column.name for column in every if column.is_text)
    if len(text) == 1 and len(texts) == 2 and _contradicts_itself(every, text[0], labels[0]):
        text = texts
    # Of two ids that make a pair, each is a sentence's and none the row's.
    ids = [column.name for column in every if column.is_id and not any(
        _makes_pair(column.name, other.name) or _makes_pair(other.name, column.name)
        for other in every)]
    ids.sort(key=lambda name: (len(name), name))
    return Guess(text, labels[0], ids[0] if ids else None,
                 labels[1:] if not several else [column for column in labels if not column.is_flag],
                 next((column for column in every if column.is_split), None), several,
                 [column.name for column in every if column.is_text and column.name not in text],
                 [column.name for column in every if column.is_never and column.name not in text]
                 if labels[0].is_flag and len(flags) > 1 and not several else [],
                 [column for column in every if column.is_odd_split], _why_text(text, len(texts)),
                 _why_label(labels))


def _shown(text: Sequence[str], header: bool) -> str:
    """Return what a message calls the columns of the texts."""
    if header:
        return " and ".join(text)
    places = " and ".join(name.removeprefix(_PLACE) for name in text)
    return f"the sentences in column {places} (line 1 looks like data, not a header)"


def _why_text(text: Sequence[str], sentences: int) -> str:
    """Return what made these columns the texts, of so many that hold sentences."""
    if len(text) == 2:
        if _makes_pair(*text) or _makes_pair(*reversed(text)):
            return "a pair by their names"
        return "a pair by their alike names" if _are_alike(*text) else "a pair: both hold sentences"
    if sentences < 2:
        return "the only column of sentences"
    return f"named like a text, of {sentences} columns of sentences" if NAMED_TEXT.search(text[0]) else (
        f"the first of {sentences} columns of sentences")


def _why_label(labels: Sequence[Profile]) -> str:
    """Return what put the first of these columns before the others."""
    if len(labels) == 1:
        return "no other column can be a label"
    return "named like a label" if labels[0].named_label else (
        f"of {len(labels)} columns that can be labels, this one has numbers or the most values")


def _why_no_label(every: Sequence[Profile], text: Sequence[str]) -> str:
    """Return what keeps a column from being the label whose name is one's, or ""."""
    named = next((column for column in every if column.named_label and column.name not in text), None)
    if named is None:
        return ""
    if not named.filled:
        return f' (column "{named.name}" is empty)'
    try:
        infer(named.filled, Wanted(column=named.name))
    except DataError as error:
        return f' (in column "{named.name}" {str(error).removeprefix("the labels: ")})'
    return ""


def _text(every: Sequence[Profile]) -> tuple[str, ...]:
    """Return the pair among text columns with the shortest names, or the likeliest single one.

    Two columns of sentences are a pair as well where their names are alike. A text's partner by name is a
    text even where its cells are single words.
    """
    texts = [column.name for column in every if column.is_text]
    words = [column.name for column in every if column.may_be_text]
    pairs = [(a, b) for a in [*texts, *words] for b in [*texts, *words]
             if a != b and (a in texts or b in texts) and _makes_pair(a, b)]
    if pairs:
        return min(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    named = [name for name in texts if NAMED_TEXT.search(name)]
    if len(texts) == 2 and _are_alike(*texts):
        return tuple(texts)
    return tuple((named or texts)[:1])


def _contradicts_itself(every: Sequence[Profile], text: str, label: Profile) -> bool:
    """Return whether texts stand in several rows, most of them with another label, as half a pair does."""
    cells = next(column.cells for column in every if column.name == text)
    seen: dict[str, set[str]] = {}
    for cell, answer in zip(cells, label.cells, strict=True):
        seen.setdefault(cell, set()).add(answer)
    repeated = len(cells) - len(seen)
    several = sum(len(answers) - 1 for answers in seen.values())
    return repeated > len(cells) * _REPEATED and several > repeated / 2


def _makes_pair(first: str, second: str) -> bool:
    """Whether two names differ by which of a pair they are alone: "#1 String", "#2 String"."""
    a, b = first.casefold(), second.casefold()
    for one, other in _PAIRS:
        at = [match.start() for match in re.finditer(re.escape(one), a)]
        if any(a[:k] + other + a[k + len(one):] == b for k in at):
            return True
    return False


def _are_alike(first: str, second: str) -> bool:
    """Whether two names say which of two alike they are: "new question", "known question"."""
    a, b = (re.findall(r"[^\W_]+", name.casefold()) for name in (first, second))
    return len(a) == len(b) > 1 and a[-1] == b[-1] and (
        sum(one != other for one, other in zip(a, b, strict=True)) == 1)


def lacks_header(table: Table) -> bool:
    """Return whether the names of the columns look like a row, as in a file without a header.

    They do if none is that of a text, label or id, and one stands in its own column as well, or a number
    names a column of numbers (0, 1, 2 … are what pandas calls columns without names), or a sentence names
    a column of sentences.
    """
    every = [Profile(name, [cell.strip() for cell in table.column_at(place).texts()])
             for place, name in enumerate(table.columns) if name]
    if [column.name for column in every] == [str(place) for place in range(len(every))]:
        return False
    headed = any(_names_what_is_below(column) for column in every)
    known = any(pattern.search(column.name) and count_words(column.name) <= 3
                and column.name not in column.filled
                for column in every for pattern in (NAMED_TEXT, NAMED_LABEL, NAMED_ID))
    return not known and any(_names_a_row(column, headed) for column in every)


def _names_what_is_below(column: Profile) -> bool:
    """Return whether a column's name is a word that no cell has, though each of them stands often there."""
    return (len(column.filled) >= _ROWS_THAT_TELL and 4 * column.different <= len(column.filled)
            and column.name not in column.filled and number(column.name) is None)


def _names_a_row(column: Profile, headed: bool) -> bool:
    """Return whether a column's name could be one of its own cells.

    headed: whether another column says that there is a header; sentences can be names then, as in a survey.
    """
    repeats = column.name in column.filled and column.different < len(column.filled)
    numeric = number(column.name) is not None and column.labels is not None and all(
        number(cell) is not None for cell in column.filled)
    return repeats or numeric or (not headed and column.is_text and count_words(column.name) >= 4)


def headerless_columns(table: Table) -> tuple[str, ...]:
    """Return names for the columns of a file without a header: text, label, id, or a number.

    `table` was read as if its first row were a header. Two columns of sentences are a pair. Raises
    `DataError` if there are no sentences, or no labels.
    """
    every = []
    for place, name in enumerate(table.columns):
        cells = [cell.strip() for cell in table.column_at(place).texts()]
        every.append(Profile(f"{_PLACE}{place + 1}", [name, *cells]))
    texts = [column.name for column in every if column.is_text]
    if not texts:
        raise DataError(f"{table.file}: has no header, and no column holds sentences")
    text = tuple(texts) if len(texts) == 2 else (texts[0],)
    guessed = _guessed(every, text, table.file, header=False)
    called = dict(zip(text, ["text"] if len(text) == 1 else ["text1", "text2"], strict=True))
    called[guessed.label.name] = "label"
    ids = [column.name for column in every if column.name not in called and consecutive(column.cells)]
    return tuple(called.get(column.name, "id" if [column.name] == ids[:1] else column.name)
                 for column in every)
