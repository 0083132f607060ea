"""A config from the files' own columns: what was guessed stands in its comments."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polytask.core.errors import DataError
from polytask.data.cache import Cache
from polytask.data.dataset import DEFAULT_DEV
from polytask.data.label_forms import canonical
from polytask.data.label_inference import infer_labels
from polytask.data.labels import Labels
from polytask.data.reading import read_file
from polytask.data.schema_guess import Guess, Profile, guess
from polytask.data.splits import SPLIT_WORDS
from polytask.data.tables import Table

_ENDINGS = {".gz", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet"}
# Tokens for one word of English, and the lengths offered.
_TOKENS_A_WORD, _MAX_LENGTHS = 1.35, (128, 256, 512)


@dataclass
class Group:
    """The files of one task by their split."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)


def scaffold(paths: Sequence[str | Path], checkpoint: str = "minilm",
             cache: Cache | None = None) -> str:
    """Return a config (TOML) that trains a task on each set of files.

    Files whose names differ by train, dev, val or test alone are one set.
    """
    if not paths:
        raise DataError("no data files given, expected at least one")
    cache = cache or Cache()
    given = [Path(path).expanduser() for path in paths]
    if any(path.is_absolute() for path in given):
        given = [path.absolute() for path in given]
    groups = group_files(given)
    files = [path for each in groups for path in each.files.values()]
    root = Path(os.path.commonpath([path.parent for path in files]))
    tables = {path: read_file(path, cache) for path in files}
    parts, longest = [], 0
    for each in groups:
        guessed = guess(tables[each.files["train"]])
        _check_columns(guessed, each, tables)
        longest = max(longest, _tokens(tables[each.files["train"]], guessed))
        labels = _labels(each, guessed, tables)
        parts.append(_task(each, guessed, labels, root))
    head = [f"# Made by `polytask init` from {len(tables)} file{'s' if len(tables) > 1 else ''};"
            " look over what was guessed.", "seed = 11711", "",
            "[data]", f"root = {_quoted(str(root))}", *_max_length(longest), "",
            "[encoder]", f"checkpoint = {_quoted(checkpoint)}", ""]
    rates = "lr = 1e-4, head_lr = 1e-3" if checkpoint == "minilm" else "lr = 2e-5"
    tail = ["[train]", "epochs = 3", "batch_size = 16",
            f"optimizer = {{ {rates}, weight_decay = 0.01, warmup = 0.1 }}"]
    return "\n".join([*head, *(line for part in parts for line in [*part, ""]), *tail]) + "\n"


def group_files(paths: Sequence[Path]) -> list[Group]:
    """Gather the files of each task: x-train.csv, x-val.csv and x-test-student.csv are one."""
    found: dict[str, Group] = {}
    for path in dict.fromkeys(paths):
        name, split = _name_and_split(path)
        group = found.setdefault(name, Group(name))
        if split in group.files:
            raise DataError(f"{path}: is a second {split} file of task {name}, beside"
                            f" {group.files[split]}")
        group.files[split] = path
    for group in found.values():
        if "train" not in group.files:
            path = next(iter(group.files.values()))
            raise DataError(f"{path}: there is no training file with it, expected one named"
                            f' {path.name} with "train" instead')
    return list(found.values())


def _name_and_split(path: Path) -> tuple[str, str]:
    stem = path.name
    while (ending := Path(stem).suffix).lower() in _ENDINGS:
        stem = stem.removesuffix(ending)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word]
    at = next((k for k, word in enumerate(words) if word.lower() in SPLIT_WORDS), None)
    split = "train" if at is None else SPLIT_WORDS[words[at].lower()]
    # What follows the split says which test it is; what stands before it names the task.
    kept = words if at is None else words[:at] or words[at + 1:] or [path.resolve().parent.name]
    name = "_".join(re.sub(r"\W", "_", word) for word in kept)
    return name if name.isidentifier() else f"task_{name}", split


def _check_columns(guessed: Guess, group: Group, tables: dict[Path, Table]) -> None:
    for split, path in group.files.items():
        for name in (*guessed.text, *([guessed.label.name] if split == "dev" else [])):
            tables[path].column(name)


def _labels(group: Group, guessed: Guess, tables: dict[Path, Table]) -> Labels:
    """Return the labels of train and dev together."""
    texts = [cell.strip() for split in ("train", "dev") if split in group.files
             for cell in tables[group.files[split]].column(guessed.label.name).texts()]
    return infer_labels([text for text in texts if text], file=str(group.files["train"]))


def _tokens(table: Table, guessed: Guess) -> int:
    """Return about how many tokens nineteen of twenty rows have at most."""
    words = [[len(text.split()) for text in table.column(name).texts()] for name in guessed.text]
    return int(np.percentile(np.sum(words, axis=0), 95) * _TOKENS_A_WORD) + 3


def _max_length(longest: int) -> list[str]:
    chosen = next((each for each in _MAX_LENGTHS if each >= longest), _MAX_LENGTHS[-1])
    why = "" if chosen == _MAX_LENGTHS[0] else (
        f"  # 95 % of the rows have about {longest} tokens or fewer; 128 trains faster")
    return [f"max_length = {chosen}{why}"]


def _task(group: Group, guessed: Guess, labels: Labels, root: Path) -> list[str]:
    lines = [f"[tasks.{group.name}]"]
    # A column says the splits of one file; beside files of their own it says nothing new.
    column = guessed.split if group.files.keys() == {"train"} else None
    named = {SPLIT_WORDS[cell.casefold()] for cell in column.filled} if column else set()
    for split in ("train", "dev", "test"):
        if split in group.files:
            lines.append(f"{split} = {_quoted(os.path.relpath(group.files[split], root))}")
        elif split == "dev" and "dev" not in named:
            lines.append(f"dev = {DEFAULT_DEV}".ljust(39) + "# carved from train")
    if column is not None and "train" in named and len(column.filled) == len(column.cells):
        lines.append(f"split = {_quoted(column.name)}".ljust(39) + f"# {_counted(column)}")
    text = [_quoted(name) for name in guessed.text]
    lines.append("text = " + (text[0] if len(text) == 1 else f"[{', '.join(text)}]"))
    lines.append(f"label = {_quoted(guessed.label.name)}".ljust(39) + f"# {_about(guessed.label)}")
    lines += _kind(labels)
    lines += [f"# or label = {_quoted(each.name)}: {_about(each)}" for each in guessed.others]
    if guessed.id is not None:
        lines.append(f"id = {_quoted(guessed.id)}")
    if len(text) == 2:
        lines.append('pairing = "cross_encoder"'.ljust(39) + '# or "bi_encoder"')
    return lines


def _kind(labels: Labels) -> list[str]:
    if labels.is_regression:
        return [f"range = [{labels.low:g}, {labels.high:g}]"]
    numeric = all(name.lstrip("-").isdigit() for name in labels.classes)
    if labels.kind == "classes" and numeric:
        return ['# kind = "ordinal"'.ljust(39) + "# if the classes are grades"]
    return []


def _about(label: Profile) -> str:
    labels = label.labels
    assert labels is not None
    missing = len(label.cells) - len(label.filled)
    empty = f"; {missing:,} rows without" if missing else ""
    if labels.is_regression:
        return f"regression, {labels.low:g} to {labels.high:g}{empty}"
    if labels.kind == "multi-label":
        return f"multi-label, {labels.num_classes} classes{empty}"
    return f"{labels.kind}: {_counted(label)}{empty}"


def _counted(column: Profile, most: int = 6) -> str:
    counts = Counter(canonical(cell) for cell in column.filled).most_common()
    said = ", ".join(f"{' '.join(name.split())[:30]} ({count:,})" for name, count in counts[:most])
    return said + (", …" if len(counts) > most else "")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
