"""`polytask predict FILES… --out DIR`: large files in shards, by several workers, resumed after a kill."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from polytask.commands.predict import ALL, answering, named_tasks, note_cut
from polytask.core.atomic_files import storing, write_file
from polytask.core.errors import ConfigError, DataError, Interrupted, PolytaskError, RunError
from polytask.core.json_files import as_written, read_json
from polytask.core.leftovers import leftovers, tidy
from polytask.core.output_files import refuse_as_output
from polytask.core.paths import ModelPaths, PredictionPaths
from polytask.core.progress import progress
from polytask.core.run_folder import first_difference
from polytask.core.safe_paths import refuse_link
from polytask.core.terminal import tell
from polytask.core.user_modules import trusting
from polytask.data.cache import Cache
from polytask.data.formats import record_source
from polytask.data.prediction_columns import PredictionColumns
from polytask.data.reading import content_key
from polytask.data.row_ids import absent_note
from polytask.data.shards import CutFile, cut_file, named_files
from polytask.engines.choice import shard_engine_for
from polytask.engines.place import read_place
from polytask.engines.shards import ShardEngine
from polytask.inference.contract import CHUNK, AnswerableTask
from polytask.inference.engine import load
from polytask.inference.parts import check_part_format
from polytask.inference.records import csv_line
from polytask.inference.shard_plan import PredictionOrder, ShardPlan, shared_filter
from polytask.model.hub import is_address
from polytask.training.session import stop_signals

# Rows of a shard: a multiple of the rows that are answered at a time, so that these are the same with
# shards as without, and their answers equal bit for bit.
SHARD_ROWS = 8 * CHUNK
# A shard whose workers died this often is not tried again.
_MOST_LOSSES = 3
_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class PredictedShards:
    """The result of a prediction in shards: its folder, the answered rows, the refused records."""

    folder: Path
    rows: int
    refused: int


def predict_shards(run: str | Path, tasks: Sequence[str], files: Sequence[str | Path], out: str | Path,
                   format: str = "csv", workers: int | None = None, quiet: bool = False,
                   text: Sequence[str] | None = None, safe_csv: bool = False, engine: str = "torch",
                   trust: bool = False, strict: bool = False, rows: int = SHARD_ROWS,
                   shard_engine: Callable[[Path], ShardEngine] | None = None, on: str | None = None,
                   resources: str | None = None) -> PredictedShards:
    """Answer tasks for every row of files of any size; write parts in the order of the input.

    tasks, text, safe_csv, engine: as of `predict_file`. files: paths, patterns, folders. out: a folder;
    it gets `<task>/part-00000.csv` and on, `refused.csv`, and `plan.json`, by which the same call after a
    kill computes what is missing. format: csv, jsonl or parquet. workers: processes, each with the model.
    strict: stop at the first record that is refused, instead of listing it. rows: of a shard.
    shard_engine: makes what computes the shards of a folder; absent, processes of this machine, or actors
    `on` a cluster, as of `compare`; model, data and `out` are then on storage that all its nodes see.
    Raises `DataError` for a file that is not a table or lacks the columns, before anything is computed,
    `RunError` for a folder of other predictions, and `Interrupted` with finished shards kept.
    """
    check_part_format(format)
    read_place(on, resources)
    if rows < 1:
        raise ConfigError(f"--shard-rows: found {rows}, expected 1 or more")
    inputs, paths = named_files(files), PredictionPaths(out)
    with _held(paths), stop_signals() as stopped:
        model = load(run, engine, trust)
        plan, specs = _plan(model, run, tasks, inputs, text, format, safe_csv, engine, strict, rows, paths)
        model_names = [spec.name for spec in specs]
        del model  # the workers have their own
        for name in model_names:
            refuse_link(paths.task(name))
        make = shard_engine or (lambda folder: shard_engine_for(folder, workers, trust, on, resources))
        with storing(paths.path):
            paths.shards.mkdir(exist_ok=True)
        _tidy(paths, model_names)
        left = [number for number in range(len(plan.shards)) if not paths.finished(number).is_file()]
        began = time.perf_counter()
        with trusting(trust), progress(f"predicting {', '.join(model_names)}", plan.rows, quiet) as bar:
            bar.skip(plan.rows - sum(plan.shards[number][1].rows for number in left))
            if left:
                _compute(plan, left, make(paths.path), bar.advance, stopped.is_set)
        _tidy(paths, model_names)
        rows_done, refused, cut, passed_over = _finish(plan, paths)
        if stopped.is_set() and any(not paths.finished(number).is_file() for number in left):
            raise Interrupted(f"stopped; {rows_done:,} of {plan.rows:,} rows are predicted; the same "
                              "command predicts the rest")
    note_cut(specs, cut, rows_done)
    if passed_over:
        tell(f"note: {passed_over:,} rows are skipped by where")
    if refused:
        tell(f"note: {refused:,} records have no prediction; {paths.refused} says why")
    if not quiet:
        tell(f"{rows_done:,} rows in {time.perf_counter() - began:.1f} s: {paths.path}")
    return PredictedShards(paths.path, rows_done, refused)


@contextmanager
def _held(paths: PredictionPaths) -> Iterator[None]:
    """Hold the folder of predictions; raise `RunError` if it is none or another process writes it."""
    refuse_as_output(paths.path)
    if paths.path.is_file():
        raise RunError(f"{paths.path}: is a file; predictions of several files, or by several workers, go "
                       "into a folder")
    own = {paths.lock, *leftovers(paths.path)}
    if paths.path.is_dir() and not paths.plan.is_file() and any(
            path not in own for path in paths.path.iterdir()):
        raise RunError(f"{paths.path}: is neither empty nor a folder of predictions; give another --out")
    for part in (paths.lock, paths.shards):
        refuse_link(part)
    with storing(paths.path):
        paths.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(paths.lock)
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            raise RunError(f"{paths.path}: another process is predicting into this folder") from None
    try:
        yield
    finally:
        lock.release()


def _plan(model: Any, run: str | Path, tasks: Sequence[str], inputs: Sequence[Path],
          text: Sequence[str] | None, format: str, safe_csv: bool, engine: str, strict: bool, rows: int,
          paths: PredictionPaths) -> tuple[ShardPlan, list[AnswerableTask]]:
    """Return the plan that the folder has, if it is of the same order, or a new one."""
    cache = Cache()
    named = named_tasks(model, tasks)
    specs = answering(record_source(inputs[0], named[0].file_format), named, ALL in tasks, text)
    address = str(run) if is_address(run) else str(Path(run).expanduser().absolute())
    order = PredictionOrder(address, _model_digest(Path(model.folder), cache), engine,
                  tuple(spec.name for spec in specs), None if text is None else tuple(text), format,
                  safe_csv, strict, rows,
                  {str(path.absolute()): content_key(path, cache) for path in inputs})
    if paths.plan.is_file():
        kept = ShardPlan.read(paths)
        if difference := first_difference(vars(kept.order), vars(order)):
            key, was, now = difference
            raise RunError(f"{paths.path}: holds the predictions of another call: {key} was {was!r} and "
                           f"is now {now!r}; give another --out")
        return kept, specs
    plan = ShardPlan(order, tuple(_cut(inputs, specs, text, rows)))
    if not plan.rows:
        others = f" and {len(inputs) - 1} more" if len(inputs) > 1 else ""
        raise DataError(f"{inputs[0]}{others}: no record is left to predict")
    for note in PredictionColumns.beside(specs[0].text).notes():
        tell(f"note: {note}")
    plan.write(paths)
    return plan, specs


def _cut(files: Iterable[Path], specs: Sequence[AnswerableTask], text: Sequence[str] | None, rows: int
         ) -> Iterator[CutFile]:
    """Cut all files; what is wrong with any of them is reported at once."""
    problems: list[str] = []
    for path in files:
        try:
            cut = cut_file(path.absolute(), specs[0].file_format, text or specs[0].text,
                           shared_filter(specs), rows, specs[0].id)
        except DataError as error:
            problems.append(str(error))
            continue
        for note in [*cut.notes, *absent_note(cut.columns, specs[0].id, text or specs[0].text)]:
            tell(f"note: {path}: {note}")
        yield cut
    if problems:
        raise DataError("\n".join(problems))


def _model_digest(folder: Path, cache: Cache) -> str:
    """Return what tells a model from another one: the digests of its files."""
    root = folder if folder.is_dir() else folder.parent
    return " ".join(f"{path.relative_to(root)}={content_key(path, cache)[:12]}"
                    for path in sorted(root.rglob("*")) if path.is_file() and path != ModelPaths(root).card)


def _tidy(paths: PredictionPaths, tasks: Sequence[str]) -> None:
    """Remove the temporary files of killed workers; none may be at work."""
    for folder in (paths.path, paths.shards, *map(paths.task, tasks)):
        tidy(folder)


def _compute(plan: ShardPlan, left: Sequence[int], engine: ShardEngine,
             advance: Callable[[float, str], None], stopped: Callable[[], bool]) -> None:
    """Compute shards until none is left or the user stops; each once, whichever workers die."""
    waiting, running, losses = deque(left), Counter[int](), Counter[int]()
    began, count = time.monotonic(), 0
    try:
        while (waiting or running) and not stopped():
            while waiting and engine.free:
                number = waiting.popleft()
                running[number] = 0
                engine.start(number)
            for report in engine.reports(_WAIT_SECONDS):
                number = report.number
                # Rows of a shard that is computed again count once.
                rows = plan.shards[number][1].rows - running[number] if report.done else report.rows
                running[number] += rows
                count += rows
                if report.lost:
                    losses[number] += 1
                    count -= running[number]
                    advance(-running[number], f"a worker {report.lost}")
                    if losses[number] == _MOST_LOSSES:
                        raise PolytaskError(
                            f"{plan.where(number)}: {_MOST_LOSSES} workers died on this shard, the last "
                            f"one {report.lost}; if memory ran out, use fewer --workers or --shard-rows")
                    waiting.appendleft(number)
                else:
                    advance(rows, f"{count / (time.monotonic() - began):,.0f} rows/s")
                if report.done or report.lost:
                    del running[number]
    finally:
        engine.stop()


def _finish(plan: ShardPlan, paths: PredictionPaths) -> tuple[int, int, int, int]:
    """List the refused records of all finished shards; return rows, refused, cut and left-out ones."""
    rows = refused = cut = passed_over = 0

    def write(aside: Path) -> None:
        nonlocal rows, refused, cut, passed_over
        with aside.open("w", encoding="utf-8", newline="") as listing:
            listing.write(csv_line(["file", "line", "reason"]))
            for number, (file, _) in enumerate(plan.shards):
                if not paths.finished(number).is_file():
                    continue
                mark = read_json(paths.finished(number))
                with as_written(paths.finished(number)):
                    rows, cut, passed_over = (rows + int(mark["rows"]), cut + int(mark["cut"]),
                                              passed_over + int(mark["passed_over"]))
                    refused += len(mark["refused"])
                    for line, reason in mark["refused"]:
                        listing.write(csv_line([file.path, int(line), str(reason)]))

    write_file(paths.refused, write)
    if not refused:
        paths.refused.unlink()
    return rows, refused, cut, passed_over
