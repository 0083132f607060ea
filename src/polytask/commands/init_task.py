"""The lines of one task in a scaffolded config: its files, columns and labels, with reasons."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polytask.core.counting import agreeing
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import listed
from polytask.data.column_profile import Profile
from polytask.data.data_notes import refusals
from polytask.data.dataset import DEFAULT_DEV
from polytask.data.file_format import UTF8, FileFormat
from polytask.data.label_forms import canonical, is_on
from polytask.data.label_inference import Inferred, infer
from polytask.data.label_kind import MAX_CLASSES, Wanted
from polytask.data.labels import Kind, Labels
from polytask.data.schema_guess import Guess
from polytask.data.splits import SPLIT_WORDS
from polytask.data.tables import Table
from polytask.metrics import DEFAULT_METRICS, METRICS

# Encoders that were trained to put similar sentences close to one another.
_SENTENCE_ENCODER = re.compile(
    r"minilm|sentence-transformers|sbert|simcse|mpnet|\be5\b|e5-|bge-|gte-|labse", re.IGNORECASE)
# Values of a column that its line counts.
_SHOWN_CLASSES = 6
# A range is widened to whole numbers if it grows by no more than this factor.
_WIDER = 1.25
NOTE = "# note: "
_MEANT_ALIKE = re.compile(r"simil|score|related|sts|paraphras|gold|label", re.IGNORECASE)
# Names of tasks and labels of two classes that say whether texts mean the same, and classes that deny it.
_MEANT_THE_SAME = re.compile(r"paraphras|duplicate|mrpc|msr.?para|qqp|quora|paws|same", re.IGNORECASE)
_DENIAL = re.compile(r"(not|non|no|un|diff)", re.IGNORECASE)


@dataclass
class Group:
    """The files of one task by their split."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)


def format_lines(form: FileFormat) -> list[str]:
    """Return the keys of files that are not UTF-8, or have no header."""
    lines = [] if form.encoding == UTF8 else [f"encoding = {quoted(form.encoding)}"]
    if form.columns is None:
        return lines
    return [*lines, "header = false".ljust(39) + "# the first line looks like data, not column names",
            f"columns = [{', '.join(map(quoted, form.columns))}]"]


def task_lines(group: Group, guessed: Guess, tables: Mapping[Path, Table], root: Path,
               checkpoint: str, form: FileFormat) -> list[str]:
    """Return the table of a task, with alternatives as comments."""
    lines = [f"[tasks.{group.name}]"]
    # A column gives the splits of a single file; it adds nothing where each split has a file.
    column = guessed.split if group.files.keys() == {"train"} else None
    named = {SPLIT_WORDS[cell.casefold()] for cell in column.filled} if column else set()
    if "train" not in named:
        column, named = None, set()
    for split in ("train", "dev", "test"):
        if split in group.files:
            lines.append(f"{split} = {quoted(os.path.relpath(group.files[split], root))}")
        elif split == "dev" and "dev" not in named:
            lines.append(f"dev = {DEFAULT_DEV}".ljust(39) + "# carved from train")
    if column is not None:
        lines.append(f"split = {quoted(column.name)} ".ljust(39) + f"# {_counted(column)}")
        if blank := len(column.cells) - len(column.filled):
            lines.append(f'where = {{ {quoted(column.name)} = {{ not = [""] }} }} '.ljust(39)
                         + f"# leaves out {blank:,} rows without a split")
    lines += format_lines(form)
    text = [quoted(name) for name in guessed.text]
    lines.append(with_comment("text = " + (text[0] if len(text) == 1 else f"[{', '.join(text)}]"),
                              guessed.why_text))
    lines += [f"{NOTE}column {quoted(name)} holds sentences as well"
              + f"; both as a pair: text = [{text[0]}, {quoted(name)}]" * (len(text) == 1)
              for name in guessed.more_texts]
    if not form.header and len(text) == 2:
        lines.append('# both columns hold sentences, so they are taken for a pair; or text = "text1"')
    lines += [_odd_split(column) for column in guessed.odd_splits]
    inferred = _inferred(group, guessed, tables)
    lines += _label(guessed, inferred)
    if guessed.id is not None:
        lines.append(f"id = {quoted(guessed.id)}")
    if len(text) == 2:
        lines += _pairing(group.name, guessed.label.name, inferred, checkpoint)
    return lines + [f"{NOTE}{printable(note)}" for path in group.files.values()
                    for note in reading_notes(tables[path], path.name)]


def _odd_split(column: Profile) -> str:
    """Return what is said of a column that names splits, some of them in words of its own."""
    words = sorted({cell for cell in column.filled if cell.casefold() not in SPLIT_WORDS})
    return (f"{NOTE}column {quoted(column.name)} seems to name splits, but {printable(listed(words[:3]))} "
            f"{agreeing(len(words), 'is', 'are')} none of {', '.join(SPLIT_WORDS)}, so all rows are "
            f"used; to use "
            f"it, rename these and set split = {quoted(column.name)}, or leave rows out with where")


def reading_notes(table: Table, file: str) -> list[str]:
    """Return what is odd about how a file is written, and which of its records are refused."""
    return [f"{file}: {note}" for note in [*table.notes, *refusals(file, table.refused, table.found)]]


def training_rows(group: Group, guessed: Guess, train: Table) -> int:
    """Return how many rows a task trains on: those of its file that are not dev or test rows."""
    if group.files.keys() == {"train"} and guessed.split is not None:
        return max(1, sum(SPLIT_WORDS[cell.casefold()] == "train" for cell in guessed.split.filled))
    return max(1, round(len(train) * (1 if "dev" in group.files else 1 - DEFAULT_DEV)))


def _inferred(group: Group, guessed: Guess, tables: Mapping[Path, Table]) -> Inferred:
    """Return the labels of train and dev together."""
    if guessed.flags or guessed.label.inferred is None:
        return Inferred(guessed.label.labels) if guessed.label.labels else infer(guessed.label.filled)
    texts = [cell.strip() for split in ("train", "dev") if split in group.files
             for cell in tables[group.files[split]].column(guessed.label.name).texts()]
    kind: Kind | None = "classes" if _needs_kind(guessed.label.inferred) else None
    wanted = Wanted(kind=kind, column=guessed.label.name)
    return infer([text for text in texts if text], wanted, str(group.files["train"]))


def _needs_kind(inferred: Inferred) -> bool:
    """Return whether there are so many classes that the config should state the kind."""
    return inferred.labels.kind == "classes" and inferred.labels.num_classes > MAX_CLASSES


def _label(guessed: Guess, inferred: Inferred) -> list[str]:
    """Return the label's lines: the guess, and the alternatives."""
    if guessed.flags:
        names = ", ".join(quoted(column.name) for column in guessed.flags)
        lines = [f"label = [{names}]",
                 "# all are 0/1 columns, so they form one multi-label task; or use one of them:"]
        lines += [f"# label = {quoted(column.name)}: {_about(column)}"
                  for column in guessed.flags if column.is_flag][:3]
        lines += [f"# or label = {quoted(other.name)}: {_about(other)}" for other in guessed.others]
        if all(sum(on) == 1 for on in zip(*(map(is_on, column.cells) for column in guessed.flags),
                                          strict=True) if None not in on):
            lines.append(f"{NOTE}each row has exactly one of {names}; if they are the classes of one "
                         "label, write them as one column of names")
        return lines
    label = guessed.label
    labels, notes = inferred.labels, inferred.notes
    lines = [with_comment(f"label = {quoted(label.name)}", f"{_about(label, labels)}; {guessed.why_label}")]
    if guessed.never:
        flags = [label.name, *(column.name for column in guessed.others if column.is_flag), *guessed.never]
        lines.append(f"{NOTE}{', '.join(map(quoted, guessed.never))} "
                     f"{agreeing(len(guessed.never), 'is', 'are')} "
                     f"0 in every row; if a row may have several labels: label = "
                     f"[{', '.join(map(quoted, flags))}]")
    if _needs_kind(inferred):
        lines.append('kind = "classes"')
        notes = label.inferred.notes if label.inferred else notes
    if labels.is_regression:
        lines.append(_range(labels.low, labels.high))
    elif labels.kind == "classes" and all(name.lstrip("-").isdigit() for name in labels.classes):
        lines.append('# kind = "ordinal"'.ljust(39) + "# if the classes are grades")
    confirmed = "to confirm it" if _needs_kind(inferred) else "\0"  # the kind is written already
    lines += [f"{NOTE}{printable(note)}" for note in notes if not note.endswith(confirmed)]
    metrics = [name for name in DEFAULT_METRICS[labels.kind] if METRICS[name].scalar][:3]
    lines.append(with_comment(f"# metrics = [{', '.join(map(quoted, metrics))}]",
                              "the first chooses the model (polytask list metrics)"))
    if labels.kind in ("binary", "multi-label"):
        lines.append('# threshold = "tuned"'.ljust(39)
                     + "# the best F1 on dev, for rare classes; default: 0.5")
    return lines + [f"# or label = {quoted(column.name)}: {_about(column)}" for column in guessed.others]


def _range(low: float, high: float) -> str:
    """Return the line of the range; few rows of a scale that ends at 5 may end at 4.5."""
    whole = math.floor(low), math.ceil(high)
    first, last = whole if whole[1] - whole[0] <= _WIDER * (high - low) else (low, high)
    return with_comment(f"range = [{first:g}, {last:g}]",
                        "of the labels, rounded outward; predictions are cut to it")


def _pairing(task: str, label: str, inferred: Inferred, checkpoint: str) -> list[str]:
    """Return the pairing: similarity is the cosine of two vectors of a sentence encoder.

    The names of the task and its label tell similarity from other relations of two texts.
    """
    labels, folder = inferred.labels, Path(checkpoint).expanduser()
    graded = labels.is_regression and _MEANT_ALIKE.search(label) is not None
    alike = graded or (labels.kind == "binary" and not _DENIAL.match(labels.positive or "")
                       and _MEANT_THE_SAME.search(f"{task} {label}") is not None)
    if not alike or not (_SENTENCE_ENCODER.search(checkpoint) or EncoderPaths(folder).modules.is_file()):
        return ['pairing = "cross_encoder"'.ljust(39) + '# or "bi_encoder"']
    left_out = "the head" if graded else "head and loss"
    return ['pairing = "bi_encoder"'.ljust(39) + "# a sentence encoder already measures similarity; or "
            f'"cross_encoder" without {left_out}', 'head = "cosine"',
            *([] if graded else ['loss = "mean_squared_error"'])]


def _about(label: Profile, labels: Labels | None = None) -> str:
    """Return what a column would be as labels; `labels`: of its dev rows too, where these are known."""
    labels = labels or label.labels
    assert labels is not None
    missing = sum(labels.is_missing(cell) for cell in label.cells)
    empty = f"; {missing:,} rows without" if missing else ""
    if labels.is_regression:
        return f"regression, {labels.low:g} to {labels.high:g}{empty}"
    if labels.kind == "multi-label":
        return f"multi-label, {labels.num_classes} classes{empty}"
    positive = "" if labels.positive is None else f"; positive: {printable(labels.positive)}"
    unseen = [name for name in labels.classes if label.labels and name not in label.labels.classes]
    dev = f"; only in dev: {printable(', '.join(unseen[:_SHOWN_CLASSES]))[:60]}" if unseen else ""
    return f"{labels.kind}: {_counted(label)}{dev}{positive}{empty}"


def _counted(column: Profile) -> str:
    classes = set(column.labels.classes) if column.labels else set()
    counts = Counter(cell if cell in classes else canonical(cell) for cell in column.filled
                     if not (column.labels and column.labels.is_missing(cell))).most_common()
    shown = ", ".join(f"{printable(name)[:30]} ({count:,})" for name, count in counts[:_SHOWN_CLASSES])
    return shown + (", …" if len(counts) > _SHOWN_CLASSES else "")


def with_comment(setting: str, comment: str) -> str:
    """Return a setting with a comment in the column where all have theirs, if there is room."""
    return f"{setting} ".ljust(39) + f"# {comment}"


def printable(text: str) -> str:
    """Return a text as one line of a comment, without the control characters TOML forbids."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def quoted(text: str) -> str:
    """Return a text as a TOML string."""
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1]
                   for character in json.dumps(text, ensure_ascii=False)).replace("\x7f", "\\u007f")
