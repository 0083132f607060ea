"""Writes a config from the files' columns; its comments explain the guesses."""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from polytask.commands.init_task import NOTE, Group, quoted, reading_notes, task_lines, training_rows
from polytask.commands.schema import schema_text
from polytask.core.atomic_files import write_file
from polytask.core.errors import ConfigError, DataError, PolytaskError
from polytask.core.paths import SCHEMA
from polytask.core.safe_paths import expanded, refuse_special
from polytask.core.terminal import tell
from polytask.data.cache import Cache
from polytask.data.column_profile import count_words
from polytask.data.file_format import UTF8, FileFormat
from polytask.data.reading import check_file, read_file
from polytask.data.schema_guess import Guess, guess, headerless_columns, lacks_header
from polytask.data.splits import SPLIT_WORDS
from polytask.data.tables import Table
from polytask.data.text_lines import head_of
from polytask.model.packaged import DEFAULT_RATES, PACKAGED

_ENDINGS = {".gz", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet"}
# Files whose rows name their own columns.
_NAMED_COLUMNS = {".json", ".jsonl", ".ndjson", ".parquet"}
# Byte order marks of encodings that a config has to name.
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))
# Tokens for one word of English, and the lengths offered.
_TOKENS_A_WORD, _MAX_LENGTHS = 1.35, (128, 256, 512)
# Rows of an update; the updates that a fresh head needs (measured: docs/guide.md, where to start); and the
# fewest and most epochs, so that large sets are seen more than once and tiny ones end.
_BATCH_SIZE, _UPDATES, _EPOCHS = 16, 300, (3, 20)


@dataclass
class Scaffold:
    """The files read so far, on the way to a config."""

    groups: list[Group]
    root: Path
    tables: dict[Path, Table] = field(default_factory=dict)


def scaffold(paths: Sequence[str | Path], checkpoint: str = "minilm",
             cache: Cache | None = None, quiet: bool = True) -> str:
    """Return a config (TOML) that trains a task on each set of files.

    Files whose names differ by train, dev, val or test alone are one set. The config is validated with
    its data before it is returned. Raises `DataError` for files that no config fits.
    """
    if not paths:
        raise DataError("no data files given; expected at least one")
    cache = cache or Cache()
    files_named = [expanded(path, "FILE") for path in paths]
    for path in files_named:
        refuse_special(path, DataError)
        if path.suffix.lower() == ".toml":
            raise DataError(f"{path}: is called a config, expected data (CSV, TSV, JSON lines, Parquet); "
                            f"to see what a config does: polytask check {path}")
        if path.is_dir():
            raise DataError(f"{path}: is a folder, expected data files; name the files of each task in it")
    if any(path.is_absolute() for path in files_named):
        files_named = [path.absolute() for path in files_named]
    groups = group_files(files_named)
    files = [path for group in groups for path in group.files.values()]
    scaffold = Scaffold(groups, Path(os.path.commonpath([path.parent for path in files])))
    parts, longest, most_rows = [], 0, 0
    for group in groups:
        _step(f"reading {', '.join(map(str, group.files.values()))}", quiet)
        form = _read(scaffold, group, cache)
        train = scaffold.tables[group.files["train"]]
        with _saying_how_it_was_read(train):
            guessed = guess(train)
        _check_columns(guessed, group, scaffold.tables)
        longest = max(longest, _tokens(train, guessed))
        most_rows = max(most_rows, training_rows(group, guessed, train))
        parts.append(task_lines(group, guessed, scaffold.tables, scaffold.root, checkpoint, form))
    fresh = any('head = "cosine"' not in part for part in parts)
    text = _config(scaffold, parts, longest, _epochs(most_rows, fresh), checkpoint)
    _step("checking the config with its data", quiet)
    with _saying_how_it_was_read(*scaffold.tables.values()):
        _validate(text, [group.name for group in groups])
    return text


def _step(line: str, quiet: bool) -> None:
    """Announce what is being done, which can take a while."""
    if not quiet:
        tell(line)


def _config(scaffold: Scaffold, parts: Sequence[Sequence[str]], longest: int, epochs: Sequence[str],
            checkpoint: str) -> str:
    count = len(scaffold.tables)
    head = [f"#:schema ./{SCHEMA}",
            f"# Written by `polytask init` from {count} file{'s' if count > 1 else ''};"
            " review the guesses below.", "seed = 11711", "",
            "[data]", f"root = {quoted(str(scaffold.root))}", *_max_length(longest), "",
            "[encoder]",
            f"checkpoint = {quoted(checkpoint)}".ljust(39)
            + "# or a hub name: bert-base-uncased, xlm-roberta-base (many languages)", ""]
    rates = PACKAGED[checkpoint].rates if checkpoint in PACKAGED else DEFAULT_RATES
    tail = ["[train]",
            *epochs, f"batch_size = {_BATCH_SIZE}",
            f"optimizer = {{ {rates}, weight_decay = 0.01, warmup = 0.1 }}"]
    if len(parts) > 1:
        tail += ['# schedule = "proportional"'.ljust(39) + "# one task an update: more updates for "
                 "the same rows (polytask list schedules)",
                 '# weighting = "uncertainty"'.ljust(39) + "# learned weights of the tasks' losses "
                 "(polytask list weightings)"]
    return "\n".join([*head, *(line for part in parts for line in [*part, ""]), *tail]) + "\n"


def write_config(out: Path, text: str) -> Iterator[str]:
    """Write a config, and the schema beside it; yield what was guessed and what to do next.

    Raises `PolytaskError` for a file that already exists.
    """
    if out.exists():
        raise PolytaskError(f"{out}: exists already; give another --out")
    # The config last: where it is, all is.
    schema_file = out.parent / SCHEMA
    if schema_missing := not schema_file.exists():
        write_file(schema_file, schema_text())
    write_file(out, text)
    yield from guesses(text)
    yield from (line.removeprefix("# ") for line in text.splitlines() if line.startswith(NOTE))
    if schema_missing:
        yield f"{schema_file} written; with it, editors complete and check the config"
    yield f"{out} written; review it, then run: polytask check {out}"


def guesses(text: str) -> list[str]:
    """Return a line per task of a config that `scaffold` wrote: texts, label, what for, and why."""
    return [f"{name}: {_shown(task['text'])} -> {_shown(task['label'])} "
            f"({label or 'columns of 0 and 1'}); text: {why}"
            for (name, task), why, label in zip(tomllib.loads(text)["tasks"].items(),
                                                _comments(text, "text"), _comments(text, "label"),
                                                strict=True)]


def _comments(text: str, key: str) -> list[str]:
    """Return the comment behind each task's value of a key, whatever signs the value has."""
    comments = []
    for line in text.splitlines():
        if line.startswith(f"{key} = "):
            rest = line.removeprefix(f"{key} = ")
            _, end = json.JSONDecoder().raw_decode(rest)
            comments.append(rest[end:].strip().removeprefix("# "))
    return comments


def _shown(columns: str | list[str]) -> str:
    return columns if isinstance(columns, str) else ", ".join(columns)


def _read(scaffold: Scaffold, group: Group, cache: Cache) -> FileFormat:
    """Read the files of a task; return how they are written."""
    train = group.files["train"]
    check_file(train)
    head = head_of(train)
    form = FileFormat(encoding=next((name for mark, name in _MARKS if head.startswith(mark)), UTF8))
    table = read_file(train, cache, "", form)
    if not _NAMED_COLUMNS & {ending.lower() for ending in train.suffixes} and lacks_header(table):
        with _saying_how_it_was_read(table):
            form = replace(form, header=False, columns=headerless_columns(table))
    scaffold.tables |= {path: read_file(path, cache, "", form) for path in group.files.values()}
    return form


@contextmanager
def _saying_how_it_was_read(*tables: Table) -> Iterator[None]:
    """Add to a `DataError` what is odd about the files: an open quote can hide rows and columns."""
    try:
        yield
    except DataError as error:
        odd = [note for table in tables for note in reading_notes(table, Path(table.file).name)]
        raise DataError("; ".join([str(error), *odd])) from None


def _validate(text: str, names: Sequence[str]) -> None:
    """Raise `DataError` if `polytask check` would refuse a config or its data."""
    from tokenizers import Tokenizer as Words
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    from polytask.config import Run
    from polytask.data.dataset import DatasetStore, load_task_data
    from polytask.data.tokenization import Tokenizer
    from polytask.tasks.resolved_task import resolve

    # Any tokenizer will do: the encoder's own decides about lengths, not about what fits.
    special = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}
    words = Words(WordLevel(special, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    try:
        run = Run.from_table(tomllib.loads(text))
        with tempfile.TemporaryDirectory() as folder:
            store = DatasetStore(Tokenizer(words), Path(run.data.root), Cache(folder))
            for name, task in run.tasks.items():
                data = load_task_data(name, task, store, run.seed, run.data.dev_seed)
                resolve(name, task, data.labels, data.counts, run.data.max_length)
    except (PolytaskError, tomllib.TOMLDecodeError) as error:
        problems = error.problems if isinstance(error, ConfigError) else str(error).splitlines()
        raise DataError(f"no config fits these files ({', '.join(names)}): {'; '.join(problems)}") from None


def group_files(paths: Sequence[Path]) -> list[Group]:
    """Gather the files of each task: x-train.csv, x-val.csv and x-test-student.csv are one."""
    groups: dict[str, Group] = {}
    for path in dict.fromkeys(paths):
        name, split = _name_and_split(path)
        group = groups.setdefault(name, Group(name))
        if split in group.files:
            raise DataError(f"{path}: is a second {split} file for task {name}, after "
                            f"{group.files[split]}")
        group.files[split] = path
    for group in groups.values():
        if "train" not in group.files:
            path = next(iter(group.files.values()))
            raise DataError(f"{path}: has no training file beside it; expected one of the same name "
                            'with "train" in place of the split')
    return list(groups.values())


def _name_and_split(path: Path) -> tuple[str, str]:
    stem = path.name
    while (ending := Path(stem).suffix).lower() in _ENDINGS:
        stem = stem.removesuffix(ending)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word]
    at = next((k for k, word in enumerate(words) if word.lower() in SPLIT_WORDS), None)
    split = "train" if at is None else SPLIT_WORDS[words[at].lower()]
    # The part after the split says which test it is; the part before it names the task.
    kept = words if at is None else words[:at] or words[at + 1:] or [path.resolve().parent.name]
    name = "_".join(re.sub(r"\W", "_", word) for word in kept)
    return name if name.isidentifier() and not _refused(name) else f"task_{name}", split


def _refused(name: str) -> bool:
    """Return whether no task can have a name."""
    from polytask.model.names import task_name_problem

    return task_name_problem(name) is not None


def _check_columns(guessed: Guess, group: Group, tables: Mapping[Path, Table]) -> None:
    for split, path in group.files.items():
        for name in (*guessed.text, *(guessed.label_names if split == "dev" else [])):
            tables[path].column(name)


def _tokens(table: Table, guessed: Guess) -> int:
    """Return about how many tokens 95 % of the rows stay within."""
    words = [[count_words(text) for text in table.column(name).texts()] for name in guessed.text]
    return int(np.percentile(np.sum(words, axis=0), 95) * _TOKENS_A_WORD) + 3


def _epochs(rows: int, fresh: bool) -> list[str]:
    """Return the epochs of the largest task; where a head is fresh, few rows are seen more often."""
    an_epoch = math.ceil(rows / _BATCH_SIZE)
    epochs = min(max(math.ceil(_UPDATES * fresh / an_epoch), _EPOCHS[0]), _EPOCHS[1])
    return [f"epochs = {epochs}".ljust(39)
            + f"# {epochs * an_epoch:,} updates; the epoch with the best score on dev is kept",
            "# early_stopping = 3".ljust(39) + "# end after three epochs without a better score"]


def _max_length(longest: int) -> list[str]:
    chosen = next((length for length in _MAX_LENGTHS if length >= longest), _MAX_LENGTHS[-1])
    why = "" if chosen == _MAX_LENGTHS[0] else (
        f"  # 95 % of the rows have about {longest} tokens or fewer; 128 trains faster")
    return [f"max_length = {chosen}{why}"]
