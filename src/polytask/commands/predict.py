"""`polytask predict`: a file of any length in constant memory, or standard input."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from polytask.core.atomic_files import write_streams
from polytask.core.counting import agreeing
from polytask.core.errors import ConfigError, DataError, listed
from polytask.core.output_files import refuse_as_output
from polytask.core.prefetch import prefetch
from polytask.core.progress import progress
from polytask.core.safe_paths import expanded, refuse_special
from polytask.core.terminal import TerminalOutput, tell
from polytask.data.dataset import Split
from polytask.data.decisions import Decision
from polytask.data.formats import RecordSource, record_source
from polytask.data.prediction_columns import PredictionColumns
from polytask.data.reading import check_file
from polytask.data.row_filter import RowFilter
from polytask.data.row_ids import absent_note
from polytask.data.row_stream import RowStream, StreamedRow, blank_note, lacks_text
from polytask.inference.contract import CHUNK, AnswerableTask, Predictor
from polytask.inference.engine import load
from polytask.inference.records import RecordWriter, check_format, json_line, records, records_of_tasks
from polytask.inference.shard_plan import shared_filter
from polytask.inference.shard_worker import cut_rows
from polytask.inference.standard_input import NAME, check_kind, piped_source, typed_rows

ALL = "all"


@dataclass(frozen=True)
class PredictionInput:
    """What is answered: the tasks, the columns of their texts, and the rows."""

    specs: list[AnswerableTask]
    text: tuple[str, ...]
    rows: Iterator[StreamedRow]
    stream: RowStream | None = None


def predict_file(run: str | Path, tasks: Sequence[str], file: Path | None, out: Path | None, format: str,
                 quiet: bool, text: Sequence[str] | None = None, input_format: str | None = None,
                 safe_csv: bool = False, engine: str = "torch", trust: bool = False) -> None:
    """Answer tasks for every row of `file`, or of standard input, and write the predictions as they come.

    tasks: names, or "all": every task whose texts the file has. text: the columns that are read;
    absent, those that the tasks were trained on. The file is read once for all tasks, which share a pass
    of the encoder where they read alike; for several tasks `out` is a folder with one file per task, or,
    with JSON lines, a file with one line per row.

    input_format: of standard input, "text", "csv" or "jsonl". safe_csv: see `RecordWriter`.
    """
    check_format(format)
    check_kind(input_format)
    if out is not None:
        refuse_as_output(out)
    if file is not None and input_format is not None:
        raise ConfigError("--input-format: applies to standard input; the format of a file is recognized")
    model = load(run, engine, trust)
    with _input(model, tasks, file, text, input_format) as reading:
        specs = reading.specs
        joined = len(specs) > 1 and format == "jsonl" and (out is None or bool(out.suffix))
        paths = _paths(specs, out, format, joined)
        _refuse_overwriting(file, paths.values())
        named = [PredictionColumns.beside(spec.text) for spec in specs]
        for note in dict.fromkeys(note for own in named for note in own.notes()):
            tell(f"note: {note}")
        began, count, cut, blank = time.perf_counter(), 0, 0, list[int]()
        with _opened(paths) as to, progress(f"predicting {', '.join(tasks)}", quiet=quiet) as bar:
            writers = {spec.name: RecordWriter(format, spec, safe=safe_csv) for spec in specs}
            chunks = _splits(model, reading)
            # Not for a person or a pipe: a prefetching thread that waits for input would outlive Ctrl-C.
            for rows, split in chunks if file is None else prefetch(chunks):
                decisions = model.decide(specs, split)
                if joined:
                    to[specs[0].name].write(_joined(reading, decisions, rows))
                else:
                    _write_each(reading, decisions, rows, writers, to)
                if reading.stream is None:  # lines that were typed
                    blank += [int(line) for line, texts in rows if lacks_text(texts)]
                count, cut = count + len(rows), cut + cut_rows(specs, split)
                bar.advance(len(rows), f"{count / (time.perf_counter() - began):,.0f} rows/s")
            for name, writer in writers.items() if not joined else ():
                to[name].write(writer.text([]))  # the header, where no row came
        if reading.stream is not None:
            reading.stream.tell()
        elif blank:
            tell(f"{NAME}: {blank_note(blank)}")
    note_cut(specs, cut, count)
    if not quiet and out is not None:
        spent = time.perf_counter() - began
        tell(f"{count:,} rows in {spent:.1f} s ({count / spent:,.0f} rows/s): {out}")


def in_shards(files: Sequence[str], out: Path | None, input_format: str | None, asked: bool) -> bool:
    """Return whether files are predicted in shards; raise `ConfigError` where they are and cannot be.

    asked: whether an option says so; several files, a pattern and a folder do, too.
    """
    places = [expanded(file, "FILE") for file in files]
    for place in places:
        if not glob.has_magic(str(place)):
            refuse_special(place, DataError)
    one = len(files) == 1 and (Path(files[0]).is_file() or not (
        places[0].is_dir() or glob.has_magic(files[0])))
    if (not files and not asked) or (one and not asked):
        return False
    if not files or input_format is not None:
        raise ConfigError("--workers, --shard-rows and --strict: apply to files, and none is given; "
                          "standard input is predicted in one go")
    if out is None:
        raise ConfigError("--out: is missing; expected a folder for predictions in parts")
    return True


def note_cut(specs: Sequence[AnswerableTask], cut: int, count: int) -> None:
    """Note how many rows were cut."""
    if cut:
        longest = max(spec.max_length for spec in specs)
        tell(f"note: {cut:,} of {count:,} rows {agreeing(cut, 'is', 'are')} longer than {longest} tokens "
             f"and {agreeing(cut, 'was', 'were')} cut")


def named_tasks(model: Predictor[Any], tasks: Sequence[str]) -> list[AnswerableTask]:
    """Return the tasks that are asked for; raise `ConfigError` for a name twice, or beside "all"."""
    if ALL in tasks and len(tasks) > 1:
        raise ConfigError(f"--task: found {','.join(tasks)}, expected {ALL} alone, or names without it")
    if twice := next((name for number, name in enumerate(tasks) if name in tasks[:number]), None):
        raise ConfigError(f'--task: found "{twice}" twice, expected each task once')
    return [model.task(name) for name in tasks if name != ALL] or list(model.tasks.values())


@contextmanager
def _input(model: Predictor[Any], tasks: Sequence[str], file: Path | None, text: Sequence[str] | None,
           input_format: str | None) -> Iterator[PredictionInput]:
    """Give the rows of a file or of standard input, and the tasks that answer them."""
    named = named_tasks(model, tasks)
    settings = named[0].file_format
    if file is not None:
        file = file.expanduser()
        check_file(file)
        yield _of_source(record_source(file, settings), named, ALL in tasks, text)
    elif input_format in ("csv", "jsonl"):
        with piped_source(input_format, settings) as source:
            yield _of_source(source, named, ALL in tasks, text)
    else:
        if text is not None:
            raise ConfigError("--text: names columns, and standard input is plain text; give "
                              "--input-format csv or jsonl, or a file")
        specs = _alike(named, ALL in tasks, named_texts=False)
        rows = typed_rows(specs[0].text, labelled=input_format is not None)
        yield PredictionInput(specs, specs[0].text, rows)


def _of_source(source: RecordSource, tasks: list[AnswerableTask], every: bool, text: Sequence[str] | None
               ) -> PredictionInput:
    for note in source.notes:
        tell(f"note: {source.file}: {note}")
    specs = answering(source, tasks, every, text)
    stream = RowStream(source, text or specs[0].text, specs[0].id, shared_filter(specs))
    for note in absent_note(source.columns, stream.id, stream.text):
        tell(f"note: {source.file}: {note}")
    return PredictionInput(specs, specs[0].text, stream.rows(), stream)


def answering(source: RecordSource, tasks: list[AnswerableTask], every: bool,
              text: Sequence[str] | None) -> list[AnswerableTask]:
    """Return the tasks that can answer a file's rows in one reading; see `predict_file` for `text`."""
    if every and text is None:
        there = [task for task in tasks if set(task.text) <= set(source.columns)]
        for task in tasks if there else ():
            if lacking := [name for name in task.text if name not in source.columns]:
                tell(f"note: {task.name} is left out: {source.file} has no column {listed(lacking)}")
        tasks = there or tasks
    specs = _alike(tasks, every, named_texts=text is None)
    if text is not None and len(text) != len(specs[0].text):
        raise ConfigError(f"--text: found {','.join(text)}, expected {len(specs[0].text)} "
                          f"column{'s' * (len(specs[0].text) > 1)} in place of {','.join(specs[0].text)}")
    if len({RowFilter.of(spec.where) for spec in specs}) > 1:
        tell("note: the tasks select different rows (where), so every row is predicted")
    return specs


def _alike(tasks: list[AnswerableTask], every: bool, named_texts: bool) -> list[AnswerableTask]:
    """Return the tasks that can be answered in one reading; raise `ConfigError` for those that cannot.

    every: whether all tasks are asked for; those that do not read the same texts as the first are then
    left out with a note. named_texts: whether the texts are found by the tasks' own names for them.
    """
    first = tasks[0]
    alike = [task for task in tasks
             if (task.text == first.text if named_texts else len(task.text) == len(first.text))]
    others = [task for task in tasks if task not in alike]
    if others and every:
        tell(f"note: {', '.join(task.name for task in others)} read other texts than "
             f"{', '.join(task.name for task in alike)} and are left out")
    elif others:
        other = others[0]
        remedy = ("name the file's columns with --text" if len(other.text) == len(first.text)
                  else "predict them one after the other")
        raise ConfigError(f'--task: "{other.name}" reads {", ".join(other.text)} and "{first.name}" '
                          f"{', '.join(first.text)}; {remedy}")
    return alike


def _splits(model: Predictor[Any], reading: PredictionInput) -> Iterator[tuple[list[StreamedRow], Split]]:
    while chunk := list(islice(reading.rows, CHUNK)):
        yield chunk, model.split(reading.specs[0], [texts for _, texts in chunk])


def _write_each(reading: PredictionInput, decisions: dict[str, Decision], rows: list[StreamedRow],
                writers: dict[str, RecordWriter], to: dict[str, IO[str]]) -> None:
    """Write the answers of each task where they go."""
    ids, texts = [id for id, _ in rows], [texts for _, texts in rows]
    for spec in reading.specs:
        lines = records(spec, decisions[spec.name], texts, ids)
        to[spec.name].write(writers[spec.name].text(lines))


def _joined(reading: PredictionInput, decisions: dict[str, Decision], rows: list[StreamedRow]) -> str:
    """Return one line per row with the answers of all tasks."""
    lines = records_of_tasks(reading.specs, decisions, reading.text, [texts for _, texts in rows],
                             [id for id, _ in rows])
    return "".join(map(json_line, lines))


def _paths(specs: list[AnswerableTask], out: Path | None, format: str, joined: bool
           ) -> dict[str, Path | None]:
    """Return where each task's predictions go; None is standard output."""
    if len(specs) == 1 or joined:
        return {specs[0].name: out}
    if out is None:
        raise ConfigError("--out: is missing; expected a folder, which gets a file per task (or --format "
                          "jsonl, for one line a row with the answers of all)")
    ending = "jsonl" if format == "jsonl" else "csv"
    return {spec.name: out / f"{spec.name}.{ending}" for spec in specs}


def _refuse_overwriting(file: Path | None, paths: Iterable[Path | None]) -> None:
    """Refuse predictions that would take the place of a folder, a part of a run, or their own input."""
    for path in paths:
        if path is not None:
            refuse_as_output(path)
        if path is not None and path.is_dir():
            raise ConfigError(f"--out: {path} is a folder, expected a file")
        if file is not None and path is not None and path.exists() and path.samefile(file.expanduser()):
            raise ConfigError(f"--out: {path} is the input file; choose another name")


@contextmanager
def _opened(paths: dict[str, Path | None]) -> Iterator[dict[str, IO[str]]]:
    """Open what each task's predictions go to; files are written aside and renamed at the end."""
    written = {name: path for name, path in paths.items() if path is not None}
    if not written:
        shown = cast(IO[str], TerminalOutput(sys.stdout)) if sys.stdout.isatty() else sys.stdout
        yield dict.fromkeys(paths, shown)
        return
    with write_streams(written) as streams:
        yield streams
