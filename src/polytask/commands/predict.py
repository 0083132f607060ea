"""`polytask predict`: a file of any length in constant memory, or lines from standard input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from polytask.core.atomic_files import write_streams
from polytask.core.errors import ConfigError, DataError, nearest
from polytask.core.prefetch import prefetch
from polytask.core.progress import progress
from polytask.data.dataset import Split
from polytask.data.streaming import stream
from polytask.inference.predictor import CHUNK, Model, load
from polytask.inference.records import RecordWriter, check_format, records
from polytask.tasks.task import ResolvedTask

Row = tuple[str, tuple[str, ...]]


def predict_file(run: Path, tasks: Sequence[str], file: Path | None, out: Path | None, format: str,
                 quiet: bool, text: Sequence[str] | None = None) -> None:
    """Answer tasks for every row of `file` and write the predictions as they come.

    text: the columns of the file that are read; absent, those that the tasks were trained on.
    Several tasks have one reading of the file, and one encoder pass where they read alike; `out` is a
    folder then, with a file a task. Reading and tokenizing go on while the encoder works.
    """
    check_format(format)
    model = load(run)
    specs = [model.task(name) for name in tasks]
    _together(specs, out, named=file is not None and text is None)
    if text is not None and len(text) != len(specs[0].text):
        raise ConfigError(f"--text: found {','.join(text)}, expected {len(specs[0].text)} "
                          f"column{'s' * (len(specs[0].text) > 1)} in place of {','.join(specs[0].text)}")
    rows = _typed_rows(specs[0]) if file is None else _file_rows(file, text or specs[0].text, specs[0].id)
    began, count = time.perf_counter(), 0
    title = f"predicting {', '.join(tasks)}"
    with _opened(specs, out, format) as to, progress(title, quiet=quiet) as bar:
        writers = {spec.name: RecordWriter(format, spec) for spec in specs}
        chunks = _splits(model, specs[0], rows)
        # Not ahead of a person or a pipe: a thread that waits for input would outlive Ctrl-C.
        for chunk, split in chunks if file is None else prefetch(chunks):
            ids, texts = [id for id, _ in chunk], [texts for _, texts in chunk]
            for name, decision in model.decide(specs, split).items():
                to[name].write(writers[name].text(records(model.tasks[name], decision, texts, ids)))
            count += len(chunk)
            bar.advance(len(chunk), f"{count / (time.perf_counter() - began):,.0f} rows/s")
        for name, writer in writers.items():
            to[name].write(writer.text([]))  # the header, where no row came
    if not quiet and out is not None:
        spent = time.perf_counter() - began
        sys.stderr.write(f"{count:,} rows in {spent:.1f} s ({count / spent:,.0f} rows/s): {out}\n")


def _together(specs: list[ResolvedTask], out: Path | None, named: bool) -> None:
    """Raise `ConfigError` for tasks that cannot be answered in one reading.

    named: whether the texts are found by the tasks' own names for them.
    """
    if len(specs) > 1 and out is None:
        raise ConfigError("--out: is missing; expected a folder, for a file a task")
    first = specs[0]
    for spec in specs[1:]:
        if (spec.text != first.text) if named else (len(spec.text) != len(first.text)):
            remedy = ("name the file's columns with --text" if len(spec.text) == len(first.text)
                      else "predict them one after the other")
            raise ConfigError(f'--task: "{spec.name}" reads {", ".join(spec.text)} and "{first.name}" '
                              f"{', '.join(first.text)}; {remedy}")


def _splits(model: Model, task: ResolvedTask, rows: Iterable[Row]) -> Iterator[tuple[list[Row], Split]]:
    for chunk in _chunks(rows):
        yield chunk, model.split(task, [texts for _, texts in chunk])


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _typed_rows(task: ResolvedTask) -> Iterator[Row]:
    """Yield the lines of standard input; the texts of a pair are separated by a tab."""
    for number, line in enumerate(sys.stdin, 1):
        texts = tuple(line.rstrip("\r\n").split("\t"))
        if len(texts) != len(task.text):
            raise DataError(f"standard input:{number}: found {len(texts)} fields, expected "
                            f"{len(task.text)} separated by tabs ({', '.join(task.text)})")
        yield str(number), texts


def _file_rows(file: Path, text: Sequence[str], id: str | None) -> Iterator[Row]:
    """Yield id and texts of every row of a file, in its order."""
    columns, rows = stream(file)
    for name in text:
        if name not in columns:
            raise DataError(f'{file}: has no column "{name}"{nearest(name, columns)} '
                            f"(it has {', '.join(columns)}; --text names the columns to read)")
    places = [columns.index(name) for name in text]
    identity = next((columns.index(name) for name in (id, "id") if name in columns), None)
    for line, cells in rows:
        yield (str(line) if identity is None else cells[identity],
               tuple(cells[place] for place in places))


@contextmanager
def _opened(tasks: Sequence[ResolvedTask], out: Path | None, format: str) -> Iterator[dict[str, IO[str]]]:
    """Open what each task's predictions go to; files are written aside and renamed at the end."""
    if out is None:
        yield {tasks[0].name: sys.stdout}
        return
    ending = "jsonl" if format == "jsonl" else "csv"
    paths = {task.name: out / f"{task.name}.{ending}" if len(tasks) > 1 else out for task in tasks}
    with write_streams(paths) as streams:
        yield streams
