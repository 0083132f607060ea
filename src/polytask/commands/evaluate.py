"""`polytask evaluate`: a run's model on its own data or on another file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polytask.config import Run
from polytask.core.counting import agreeing
from polytask.core.errors import ConfigError, DataError, RunError, listed, nearest
from polytask.core.progress import progress
from polytask.core.run_folder import RunFolder
from polytask.core.toml import assigned, key_parts, override, read_toml
from polytask.core.user_modules import trusted, trusting, untrusted
from polytask.data.cache import Cache
from polytask.data.data_notes import refusals, shared_notes
from polytask.data.dataset import DatasetStore, TaskData
from polytask.data.decisions import Threshold
from polytask.data.label_cells import has_labels, label_columns
from polytask.data.label_kind import Wanted
from polytask.data.label_targets import is_secret, only_unknown
from polytask.data.python_records import file_or_rows
from polytask.data.reading import Columns, select
from polytask.data.row_filter import RowFilter
from polytask.data.task_labels import read_labels
from polytask.data.task_rows import reading_notes
from polytask.data.tokenization import Tokenizer
from polytask.evaluation.evaluate import Evaluation, evaluate
from polytask.tasks.model_folder import load_model
from polytask.tasks.resolved_task import ResolvedTask
from polytask.tasks.task import Task
from polytask.training.build import device, read_data
from polytask.training.data_summary import changed_notes

SPLITS = ("train", "dev", "test")
# What an evaluation reads of a task's settings; all else is the trained model's own.
_OF_A_TASK = ("train", "dev", "test", "split", "text", "label", "header", "columns", "delimiter", "quoting",
              "encoding", "where", "id", "limit", "dev_limit", "threshold", "metrics")
# Those of them that choose the run's own files and rows, and say nothing of another file.
_OF_ITS_FILES = ("train", "dev", "test", "split", "limit", "dev_limit")
# Settings of the data that a trained model fixes, or that say what a training compares itself with.
_FIXED_DATA = ("data.max_length", "data.baselines")


def evaluate_run(path: Path, split: str = "dev", data: Any = None, task: str | None = None,
                 assignments: Iterable[str] = (), trust: bool = False, quiet: bool = False) -> Evaluation:
    """Score a run's best model on a split of its data, or on the rows of another labelled file.

    data: a file, or rows from Python as `pk.Task(train=…)` takes them. trust: import the modules that the
    run names for custom components. quiet: show no progress.
    """
    with trusting(trust):
        return _evaluated(path, split, data, task, assignments, quiet)


def _evaluated(path: Path, split: str, data: Any, task: str | None,
               assignments: Iterable[str], quiet: bool) -> Evaluation:
    assignments = tuple(assignments)
    run = run_settings(RunFolder.open(path).config, assignments)
    _refuse_what_is_fixed(assignments)
    if split not in SPLITS:
        raise ConfigError(f'--split: found "{split}", expected train, dev or test')
    if task is not None and task not in run.tasks:
        raise ConfigError(f'--task: "{task}" is not a task of {path}{nearest(task, run.tasks)}')
    if data is not None:
        _refuse_beside_data(run, split, task, assignments)
    loaded = load_model(path)
    model = loaded.model.to(device())
    tasks = {name: _with_settings(resolved, run.tasks[name])
             for name, resolved in loaded.tasks.items() if task in (None, name)}
    thresholds = {**loaded.thresholds, **_thresholds(run, tasks)}
    if data is not None and task is not None:
        data_by_task, seen = {task: _other(data, tasks[task], loaded.tokenizer)}, list[str]()
    else:
        data_by_task = read_data(run, loaded.tokenizer, only=tasks,
                          known={name: each.labels for name, each in tasks.items()})
        seen = [*_seen_in_training(path, run, data_by_task, split),
                *changed_notes(path, data_by_task, split)]
    labelled = [part.splits[split] for part in data_by_task.values()
                if split in part.splits and part.splits[split].targets is not None]
    if not labelled:
        files = [part.splits[split].file for part in data_by_task.values() if split in part.splits]
        which = f" ({', '.join(files)} {agreeing(len(files), 'has', 'have')} none)" if files else ""
        raise RunError(f"{path}: no task has labelled {split} rows{which}; name a labelled file with "
                       f"--data, or with --set tasks.{next(iter(tasks))}.{split}=FILE")
    formula = run.train.score if len(tasks) == len(run.tasks) else "default"
    with progress(f"scoring {split}" if data is None else "scoring", sum(map(len, labelled)), quiet) as bar:
        # Rows of another file are no split of the run's, least of all those that tuned its thresholds.
        result = evaluate(model, tasks, data_by_task, "test" if data is not None else split, formula,
                          thresholds=thresholds, progress=bar)
    if data is not None:
        result = replace(result, split=data.name if isinstance(data, Path) else "rows")
    how_read = dict.fromkeys(_how_read(data_by_task, split))
    return replace(result, notes=(*how_read, *_left_out(data_by_task, split), *seen, *result.notes))


def _seen_in_training(path: Path, run: Run, data: Mapping[str, TaskData], split: str) -> Iterator[str]:
    """Yield a sentence about the rows of the split that the model may have been trained on."""
    if split == "train":
        return
    yield from shared_notes(data, [split])
    before = run_settings(RunFolder.open(path).config, ()).tasks
    for name in data:
        share = getattr(run.tasks[name], split)
        if isinstance(share, float) and share != getattr(before[name], split):
            yield (f"{name} {split}: its rows are carved from training rows now, which the model has been "
                   "trained on, so scores on them flatter it")


def _refuse_what_is_fixed(assignments: Iterable[str]) -> None:
    """Raise `ConfigError` for a setting that changes nothing once a model is trained."""
    for each in assignments:
        key, _ = assigned(each)
        first, *rest = key_parts(key)
        if (first in ("data", "seed") and key not in _FIXED_DATA) or key == "train.score" or (
                first == "tasks" and (len(rest) < 2 or rest[1] in _OF_A_TASK)):
            continue
        known = ([f"tasks.{rest[0]}.{name}" for name in _OF_A_TASK] if first == "tasks" else
                 ["data.root", "data.dev_seed", "data.cache"] if first == "data" else
                 ["data", "seed", "tasks", "train.score"])
        hint = "" if key in _FIXED_DATA else nearest(key, known)
        raise ConfigError(f"--set {key}: is the trained model's own, which an evaluation does not change; "
                          f"expected one of {', '.join(known)}{hint}")


def _refuse_beside_data(run: Run, split: str, task: str | None, assignments: Iterable[str]) -> None:
    """Raise `ConfigError` for what another file leaves without effect."""
    if task is None:
        raise ConfigError(f"--data: needs --task, one of {', '.join(run.tasks)}")
    if split != "dev":
        raise ConfigError(f'--split: found "{split}" beside --data, whose rows are all scored; leave out '
                          "one of the two")
    for each in assignments:
        key, _ = assigned(each)
        first, *rest = key_parts(key)
        if first == "tasks" and len(rest) > 1 and (rest[0] != task or rest[1] in _OF_ITS_FILES):
            raise ConfigError(f"--set {key}: changes nothing of --data for {task}; leave out one of them")


def _with_settings(task: ResolvedTask, settings: Task) -> ResolvedTask:
    """Return a task that scores what the settings say, and the rows and columns that they say."""
    task = replace(task, text=settings.text, label=settings.label, id=settings.id, where=settings.where,
                   file_format=settings.file_format)
    if not settings.metrics:
        return task
    if problems := list(settings.problems(task.labels)):
        raise ConfigError(f"tasks.{task.name}.{problem}" for problem in problems)
    return replace(task, metrics=settings.metrics)


def _thresholds(run: Run, tasks: Mapping[str, ResolvedTask]) -> dict[str, Threshold]:
    """Return the thresholds that are other than those the model was trained with."""
    chosen: dict[str, Threshold] = {}
    for name, task in tasks.items():
        threshold = run.tasks[name].threshold
        if threshold is None or threshold == task.threshold:
            continue
        if isinstance(threshold, str):
            raise ConfigError(f'tasks.{name}.threshold: found "{threshold}", expected a number; thresholds '
                              "are tuned when a model is trained")
        chosen[name] = threshold
    return chosen


def _how_read(data_by_task: Mapping[str, TaskData], split: str) -> Iterator[str]:
    """Yield what was guessed of the rows that are scored; other files were the training's."""
    for data in data_by_task.values():
        scored = data.splits[split].file if split in data.splits else None
        others = reading_notes([rows for rows in data.found.values() if rows.table.file != scored])
        yield from (note for note in data.notes if note not in others)


def _left_out(data_by_task: Mapping[str, TaskData], split: str) -> Iterator[str]:
    """Yield a sentence about the rows of the split that are not scored."""
    for name, data in data_by_task.items():
        if rows := data.found.get(split):
            for note in refusals(Path(rows.table.file).name, rows.refused, rows.found):
                yield f"{name} {split}: {note}"


def run_settings(config: Path, assignments: Iterable[str]) -> Run:
    """Return the settings of a run from its folder; without trust, no module that they name is imported."""
    table = read_toml(config)
    if not trusted() and isinstance(table.get("data"), dict):
        table["data"].pop("cache", None)  # a folder that is read does not say where is written
    with untrusted(config.parent, {config.name: table}):
        return Run.from_table(override(table, assignments), str(config))


def _other(data: Any, task: Any, tokenizer: Path) -> TaskData:
    """Return a file's rows as the splits of a task whose labels are known already."""
    store = DatasetStore(Tokenizer(tokenizer), Path(), Cache())
    place = str(data.absolute()) if isinstance(data, Path) else str(file_or_rows(data))
    table = store.table(place, "--data", task.file_format)
    where = RowFilter.of(task.where).on(table.columns)
    if {*task.text} <= {*table.columns} and not has_labels(table, task.label):
        raise DataError(f"{place}: has no label in column {listed(label_columns(task.label))}, so its rows "
                        "are unlabelled and there is nothing to score; polytask predict answers them")
    rows = select(table, Columns(task.text, task.label, where=where))
    value = only_unknown(rows.labels, task.labels)
    if value is not None and (is_secret(value) or task.labels.is_missing(value)):
        raise DataError(f'{place}: every row has the label "{value}", so its rows are unlabelled and '
                        "there is nothing to score; polytask predict answers them")
    labelled = read_labels({"dev": rows}, Wanted(), task.labels)
    rows = labelled.rows["dev"]
    part = store.split(Path(place).name, rows, task.labels)
    notes = (*store.cache.notes, *reading_notes([rows]),
             *(f"{task.name}: {note}" for note in labelled.notes))
    return TaskData(task.name, task.labels, dict.fromkeys(SPLITS, part), dict.fromkeys(SPLITS, rows), notes)
