"""Prediction in shards: the answers of plain `predict`, each row once and in order, whoever dies."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polytask.commands.predict import predict_file
from polytask.commands.predict_shards import PredictedShards, predict_shards
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, DataError, PolytaskError, RunError
from polytask.core.paths import PredictionPaths
from polytask.engines.shards import LocalShards, Report, ShardEngine
from polytask.inference import shard_worker

ROWS = 6000


@pytest.fixture(scope="module")
def run(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of single texts, barely trained."""
    folder = tmp_path_factory.mktemp("shards")
    task = {"train": "sst-train.csv", "dev": "sst-dev.csv", "text": "sentence", "label": "sentiment",
            "limit": 32, "dev_limit": 16}
    table = {"data": {"root": "sample", "max_length": 12}, "encoder": {"checkpoint": str(tiny_checkpoint)},
             "tasks": {"sst": task, "stars": {**task, "kind": "regression"}},
             "train": {"max_steps": 1, "batch_size": 8}}
    os.environ["POLYTASK_CACHE"] = str(folder / "cache")
    train(Run.from_table(table), folder / "run", quiet=True)
    return folder / "run"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 6,000 rows and two that are refused; some rows have several lines."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    lines = [f'n{n},"text {n % 97}\nof {n}"\n' if n % 50 == 0 else f"n{n},text {n % 89}\n"
             for n in range(ROWS)]
    lines[4500:4500] = ["too,many,fields\n", "none\n"]
    path.write_text("id,sentence\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def plain(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    predict_file(run, ["sst", "stars"], data, out, "csv", quiet=True)
    return out


def merged(out: Path, task: str) -> str:
    """Return the parts of a task as one text, with one header."""
    parts = [part.read_text() for part in sorted((out / task).glob("part-*.csv"))]
    header = parts[0].partition("\n")[0] + "\n"
    assert all(part.startswith(header) for part in parts)
    return header + "".join(part.removeprefix(header) for part in parts)


class InProcess(ShardEngine):
    """Computes shards here, one at a time; loses the shards of `lose` once each."""

    workers = 1

    def __init__(self, folder: Path, lose: tuple[int, ...] = ()) -> None:
        self.worker = shard_worker.ShardWorker(folder)
        self.lose, self.given, self.stopped = [*lose], list[int](), False

    @property
    def free(self) -> bool:
        return len(self.given) < 1

    def start(self, number: int) -> None:
        self.given.append(number)

    def reports(self, seconds: float) -> list[Report]:
        number = self.given.pop()
        if number in self.lose:
            self.lose.remove(number)
            return [Report(number, rows=10), Report(number, lost="was killed by signal 9")]
        self.worker.compute(number)
        return [Report(number, done=True)]

    def stop(self) -> None:
        self.stopped = True


def here(run: Path, files: list[Path], out: Path, lose: tuple[int, ...] = (), **options: Any
         ) -> PredictedShards:
    return predict_shards(run, ["all"], files, out, quiet=True,
                          shard_engine=lambda folder: InProcess(folder, lose), **options)


@pytest.mark.usefixtures("forked_commands")
def test_a_killed_worker_costs_no_row(run: Path, data: Path, plain: Path, tmp_path: Path) -> None:
    out, killed = tmp_path / "out", list[int]()

    class Killing(LocalShards):
        def reports(self, seconds: float) -> list[Report]:
            found = super().reports(seconds)
            if not killed and any(report.rows for report in found):
                worker = next(iter(self._processes.values())).process
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
            return found

    made = predict_shards(run, ["sst", "stars"], [data], out, rows=4096, quiet=True, workers=2,
                          shard_engine=lambda folder: Killing(folder, 2, False,
                                                              PredictionPaths(folder).worker_log))
    assert killed and (made.rows, made.refused) == (ROWS, 2)
    for task in ("sst", "stars"):
        assert merged(out, task) == (plain / f"{task}.csv").read_bytes().decode()
    listed = list(csv.reader((out / "refused.csv").read_text().splitlines()))
    assert listed[0] == ["file", "line", "reason"]
    assert [(row[0], row[2]) for row in listed[1:]] == [(str(data), "3 fields, expected 2"),
                                                        (str(data), "1 field, expected 2")]
    assert data.read_text().splitlines()[int(listed[1][1]) - 1] == "too,many,fields"
    assert not list(out.rglob("*.aside")) and not list(out.rglob("*.log"))


@pytest.mark.usefixtures("forked_commands")
def test_a_killed_call_resumes_by_shard(run: Path, data: Path, plain: Path, tmp_path: Path) -> None:
    """The parent and its workers are killed together; the same command does what is left."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "polytask", "predict", str(run), str(data), "--task", "sst", "--out",
               str(out), "--workers", "1", "--shard-rows", "2000", "-q"]
    paths = PredictionPaths(out)
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(lambda: paths.finished(0).is_file() or parent.poll() is not None)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    before = {mark: mark.stat().st_mtime_ns for mark in out.glob(".shards/*.json")}
    assert paths.finished(0) in before
    predict_shards(run, ["sst"], [data], out, quiet=True, rows=2000, shard_engine=InProcess)
    assert all(mark.stat().st_mtime_ns == moment for mark, moment in before.items())
    assert len(list(out.glob("sst/part-*.csv"))) == 3
    rows = list(csv.DictReader(io.StringIO(merged(out, "sst"))))
    expected = list(csv.DictReader(io.StringIO((plain / "sst.csv").read_bytes().decode())))
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in expected]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_parquet_and_lines_of_several_files_have_the_same_answers(
    run: Path, data: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(data.read_text())))[:300]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[100:200])
                                    + '{"id": "x", "sentence": ["no text"]}\n')
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "sentence"])
        writer.writeheader()
        writer.writerows(rows[:100])
    made = here(run, [folder], tmp_path / "out", rows=64, format="parquet", lose=(1, 1))
    assert (made.rows, made.refused) == (200, 1)
    here(run, [folder], tmp_path / "lines", rows=64, format="jsonl")
    parts = sorted((tmp_path / "out" / "sst").glob("part-*.parquet"))
    found = [row for part in parts for row in pq.read_table(part).to_pylist()]
    lines = [json.loads(line) for part in sorted((tmp_path / "lines" / "sst").glob("part-*.jsonl"))
             for line in part.read_text().splitlines()]
    assert found == lines and len(parts) == 4
    assert [row["id"] for row in found] == [row["id"] for row in rows[:200]]
    (number,) = {type(row["prediction"]) for part in (tmp_path / "out" / "stars").iterdir()
                 for row in pq.read_table(part).to_pylist()}
    assert number is float


def test_strict_stops_at_the_first_refused_record(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.csv:\d+: 3 fields, expected 2; without --strict"):
        here(run, [data], tmp_path / "out", strict=True)
    assert not list((tmp_path / "out" / "sst").glob("*"))


def test_a_shard_that_kills_its_workers_stops_the_prediction(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(PolytaskError, match=r"rows\.csv, .* records from line 2: 3 workers died on this "
                                            r"shard, the last one was killed by signal 9"):
        here(run, [data], tmp_path / "out", rows=3000, lose=(0, 0, 0))


def test_what_cannot_work_is_reported_before_anything_is_computed(
    run: Path, data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("id,sentense\n1,a\n")
    with pytest.raises(DataError, match=r'other\.csv: there is no column "sentence"; did you mean'):
        here(run, [data, other], tmp_path / "out")
    with pytest.raises(ConfigError, match='found "cs224n", expected csv, jsonl or parquet'):
        here(run, [data], tmp_path / "out", format="cs224n")
    here(run, [data], tmp_path / "out", rows=5000)
    with pytest.raises(RunError, match="predictions of another call: rows was 5000 and is now 4000"):
        here(run, [data], tmp_path / "out", rows=4000)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(RunError, match="is neither empty nor a folder of predictions"):
        here(run, [data], tmp_path / "full")
