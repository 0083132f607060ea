"""`polytask predict`: a file of any length in constant memory, or lines from standard input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from polytask.core.disk import storing
from polytask.core.errors import DataError, nearest
from polytask.core.progress import progress
from polytask.ship.predict import load
from polytask.tasks.answers import answers
from polytask.tasks.predictions import RecordWriter, check_format, records
from polytask.tasks.streams import stream
from polytask.tasks.task import ResolvedTask

# Rows in memory at a time: enough to sort by length with little waste.
CHUNK = 4096

Row = tuple[str, tuple[str, ...]]


def predict_file(run: Path, task: str, file: Path | None, out: Path | None, format: str,
                 quiet: bool) -> None:
    """Answer a task for every row of `file` and write the predictions as they come."""
    check_format(format)
    model = load(run)
    spec = model.task(task)
    rows = _typed_rows(spec) if file is None else _file_rows(file, spec)
    began, count = time.perf_counter(), 0
    with _opened(out) as to, progress(f"predicting {task}", quiet=quiet) as bar:
        writer = RecordWriter(format, spec)
        for chunk in _chunks(rows):
            split = model.split(spec, [texts for _, texts in chunk])
            decision = answers(model.network, spec, split).decide(
                spec, model.thresholds.get(task))
            found = records(spec, decision, [texts for _, texts in chunk], [id for id, _ in chunk])
            to.write(writer.text(found))
            count += len(chunk)
            bar.advance(len(chunk), f"{count / (time.perf_counter() - began):,.0f} rows/s")
    if not quiet and out is not None:
        spent = time.perf_counter() - began
        sys.stderr.write(f"{count:,} rows in {spent:.1f} s ({count / spent:,.0f} rows/s): {out}\n")


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
        yield str(number - 1), texts


def _file_rows(file: Path, task: ResolvedTask) -> Iterator[Row]:
    """Yield id and texts of every row of a file, in its order."""
    columns, rows = stream(file)
    for name in task.text:
        if name not in columns:
            raise DataError(f'{file}: has no column "{name}"{nearest(name, columns)} '
                            f"(it has {', '.join(columns)})")
    places = [columns.index(name) for name in task.text]
    identity = columns.index("id") if "id" in columns else None
    for number, cells in enumerate(rows):
        yield (str(number) if identity is None else cells[identity],
               tuple(cells[place] for place in places))


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    aside = out.with_name(f".{out.name}.part")
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8", newline="") as file:
            yield file
        aside.replace(out)
