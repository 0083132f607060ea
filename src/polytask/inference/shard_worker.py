"""Predicts shards: `python -m polytask.inference.shard_worker FOLDER`, or an actor of Ray.

A worker process reads numbers of shards from standard input, a line each, and answers each on standard
output with lines of JSON: `{"rows": n}` as rows are answered, then `{"done": {…}}` or `{"error": …}`.
The model is read once. A shard's parts are renamed into place first, and what marks it as finished last.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polytask.core.atomic_files import write_json
from polytask.core.errors import DataError, PolytaskError, RunError
from polytask.core.paths import PredictionPaths
from polytask.core.prefetch import prefetch
from polytask.data.dataset import Split
from polytask.data.row_stream import RowStream, StreamedRow
from polytask.data.shards import shard_source
from polytask.inference.contract import CHUNK, AnswerableTask
from polytask.inference.engine import load
from polytask.inference.parts import write_parts
from polytask.inference.records import records
from polytask.inference.shard_plan import ShardPlan, shared_filter


class ShardWorker:
    """Keeps a model and computes shards with it. `index` tells it from its fellows: which GPU it has."""

    def __init__(self, folder: str | Path, index: int = 0, trust: bool = False) -> None:
        self.paths = PredictionPaths(folder)
        if not self.paths.plan.is_file():
            raise RunError(f"{self.paths.plan}: is missing; a worker on another machine needs --out, the "
                           "model and the data on shared storage, at the same paths")
        self.plan = ShardPlan.read(self.paths)
        order = self.plan.order
        if order.engine == "torch":
            _take_gpu(index)
        self.model = load(order.run, order.engine, trust)
        self.tasks = [self.model.task(name) for name in order.tasks]

    def compute(self, number: int, answered: Callable[[int], None] = lambda rows: None) -> dict[str, Any]:
        """Write a shard's parts, and return what its mark says: rows, refused records, seconds.

        answered: is told how many rows were answered, as they are. Raises `DataError` for a file that
        has changed, and for a refused record where the order is strict.
        """
        order, paths, began = self.plan.order, self.paths, time.perf_counter()
        file, shard = self.plan.shards[number]
        stream = RowStream(shard_source(file, shard), order.text or self.tasks[0].text, self.tasks[0].id,
                           shared_filter(self.tasks), part=True)
        count = cut = 0
        parts = {task.name: paths.part(task.name, number, order.format) for task in self.tasks}
        with write_parts(self.tasks, parts, order.format, order.safe_csv) as to:
            for rows, split in prefetch(self._chunks(stream)):
                if order.strict:
                    _refuse(stream)
                decisions = self.model.decide(self.tasks, split)
                ids, texts = [id for id, _ in rows], [texts for _, texts in rows]
                for task in self.tasks:
                    to[task.name].write(records(task, decisions[task.name], texts, ids))
                count, cut = count + len(rows), cut + cut_rows(self.tasks, split)
                answered(len(rows))
            if order.strict:
                _refuse(stream)
            if count != shard.rows:
                raise DataError(f"{file.path}: changed while it was read; give another --out")
        refused = sorted((line, reason) for reason, lines in stream.refused.items() for line in lines)
        mark = {"rows": count, "cut": cut, "passed_over": stream.passed_over, "refused": refused,
                "seconds": round(time.perf_counter() - began, 3)}
        write_json(paths.finished(number), mark)
        return {key: len(value) if isinstance(value, list) else value for key, value in mark.items()}

    def _chunks(self, stream: RowStream) -> Iterator[tuple[list[StreamedRow], Split]]:
        rows = stream.rows()
        while chunk := list(islice(rows, CHUNK)):
            yield chunk, self.model.split(self.tasks[0], [texts for _, texts in chunk])


def cut_rows(tasks: list[AnswerableTask], split: Split) -> int:
    """Return how many rows some task reads without their ends."""
    layouts = {task.layout for task in tasks}
    every = [split.lengths(layout).truncated for layout in layouts]
    return int(np.logical_or.reduce(every).sum()) if len(split) else 0


def _refuse(stream: RowStream) -> None:
    """Raise `DataError` for the first record that was refused, if there is one."""
    refused = [(min(lines), reason) for reason, lines in stream.refused.items()]
    if refused:
        line, reason = min(refused)
        raise DataError(f"{stream.source.file}:{line}: {reason}; without --strict such rows are left out "
                        "and listed in refused.csv")


def _take_gpu(index: int) -> None:
    """Spread workers over the GPUs that there are."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(index % torch.cuda.device_count())


def main() -> None:
    """Compute the shards whose numbers come on standard input, until it ends or the parent does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--trust", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops us
    parent = os.getppid()

    def answered(rows: int) -> None:
        if os.getppid() != parent:
            raise SystemExit("the process that started this worker is gone")
        _say(rows=rows)

    try:
        worker = ShardWorker(options.folder, options.index, options.trust)
        _say(ready=True)
        for line in sys.stdin:
            _say(done=worker.compute(int(line), answered))
    except PolytaskError as error:
        _say(error=str(error), kind=type(error).__name__)


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
