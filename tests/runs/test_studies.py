"""A study: every row and seed once, whatever is killed; what is wrong is said before anything runs."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from polytask.commands.compare import compare
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, RunError
from polytask.core.run_folder import claim_folder
from polytask.studies.single_task import single_rows
from polytask.studies.study import StudyRow

pytestmark = pytest.mark.usefixtures("forked_commands")


@pytest.fixture
def study(small_table: dict[str, Any], tmp_path: Path) -> Path:
    small_table["train"]["epochs"] = 1
    small_table["data"]["baselines"] = False
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_table))
    path = tmp_path / "study.toml"
    path.write_text('''
title = "Two ways"
base = "base.toml"
seeds = 2
against = "sum"
notes = ["a note"]
[pilot]
"train.max_steps" = 2
[[rows]]
name = "sum"
claimed = { "dev.sst.accuracy" = 0.5, "test.sst.accuracy" = 0.5 }
[[rows]]
name = "surgery or not"
[rows.set]
"train.surgery" = "pcgrad"
''')
    return path


def test_a_study_runs_every_row_once_and_compares(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compared = compare(study, out, workers=2, scale="pilot", quiet=True)
    assert "<td>surgery or not</td>" in compared._repr_html_()
    assert set(compared.to_pandas()["row"]) == {"sum", "surgery or not"}
    text = str(compared)
    assert "Two ways (pilot scale)" in text
    assert "| surgery or not | 2 |" in text
    assert "| sum | test.sst.accuracy | 0.5 | not measured |" in text
    assert f"- command: `polytask compare {study} --scale pilot --out {out}`\n" in text
    assert "the single-task" not in text
    told = json.loads((out / "results.json").read_text())
    by_name = {row["name"]: row for row in told["rows"]}
    runs = sorted((out / "runs").glob("*/*/results.json"))
    assert len(runs) == 4
    assert not list(out.glob("runs/*/*/checkpoints")), "a study would fill the disk with them"
    with pytest.raises(RunError, match="the run is finished and its checkpoint was removed"):
        train(Run.from_toml(runs[0].parent / "config.toml"), runs[0].parent, resume=True, quiet=True)
    own = [json.loads(run.read_text())["dev"]["scores"]["sst"]["accuracy"]
           for run in runs if "sum" in run.parts[-3]]
    assert by_name["sum"]["scores"]["sst.accuracy"]["mean"] == pytest.approx(np.mean(own))
    assert by_name["sum"]["claims"]["dev.sst.accuracy"]["measured"] == pytest.approx(np.mean(own))
    theirs = [json.loads(run.read_text())["dev"]["scores"]["sst"]["accuracy"]
              for run in runs if "sum" not in run.parts[-3]]
    differences = by_name["surgery or not"]["differences"]
    assert differences["sst.accuracy"]["mean"] == pytest.approx(np.mean(theirs) - np.mean(own), abs=1e-9)
    difference = differences[told["primary"]]
    assert difference["verdict"] in ("tie", "better", "worse")

    for run, seconds, machine in zip(runs, (147.0, 1357.0, 60.0, 60.0), ("a", "b", "a", "a"), strict=True):
        run.write_text(json.dumps(json.loads(run.read_text()) | {"seconds": seconds, "machine": machine}))
    before = {run: run.stat().st_mtime_ns for run in runs}
    again = compare(study, out, workers=2, scale="pilot", quiet=True)
    assert {run: run.stat().st_mtime_ns for run in runs} == before
    assert "| 147 to 1,357 |" in str(again), "a mean over two machines is no machine's"
    assert "| 60 |" in str(again)
    assert again.comparison.lines[0].seconds_by_machine == {"a": 147.0, "b": 1357.0}
    with pytest.raises(RunError, match='was started with another config of "sum"'):
        compare(study, out, scale="full", quiet=True)
    study.write_text(study.read_text() + '[[rows]]\nname = "one more"\n')
    more = compare(study, out, seeds=1, scale="pilot", quiet=True).comparison
    assert [line.row.name for line in more.lines] == ["sum", "surgery or not", "one more"]
    assert {run: run.stat().st_mtime_ns for run in runs} == before
    (out / "study.json").write_text(json.dumps({"parts": {"sum": digests_of(out)["sum"]}}))
    alone = compare(study, out, seeds=1, scale="pilot", rows=["one more"], quiet=True).comparison
    assert [line.row.name for line in alone.lines] == ["one more"]  # beside rows that it does not ask for
    assert set(digests_of(out)) == {"sum", "one more"}
    with pytest.raises(RunError, match="belongs to another study"):
        claim_folder(out, "study", "Another", {"other": "1"})


def digests_of(out: Path) -> dict[str, str]:
    parts: dict[str, str] = json.loads((out / "study.json").read_text())["parts"]
    return parts


def test_a_row_that_fails_does_not_stop_the_others(study: Path, tmp_path: Path) -> None:
    study.write_text(study.read_text() + '[[rows]]\nname = "broken"\n[rows.set]\n'
                     '"train.optimizer" = { type = "sgd", lr = 1e30, warmup = 0.0 }\n')
    out = tmp_path / "out"
    command = [sys.executable, "-m", "polytask", "compare", str(study), "--out", str(out), "-q",
               "--seeds", "1", "--workers", "2", "--scale", "pilot"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "| broken | failed |" in ended.stdout
    assert "so training stopped; a lower" in ended.stdout
    assert "| sum | 1 |" in ended.stdout
    assert f"--scale pilot --seeds 1 --out {out}`" in (out / "results.md").read_text()


def test_a_killed_study_continues(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "polytask", "compare", str(study), "--out", str(out), "-q",
               "--seeds", "1"]
    parent = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 200
    while not list(out.glob("runs/*/*/events.jsonl")):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    # The worker of the killed parent is a process group of its own: it still trains in its folder, and
    # is waited for.
    (first,) = out.glob("runs/*/*/events.jsonl")
    text = str(compare(study, out, seeds=1, quiet=True))
    assert "failed" not in text
    assert "start" in first.read_text().splitlines()[0]
    assert sum('"event": "start"' in line or '"event":"start"' in line
               for line in first.read_text().splitlines()) == 1
    assert "| surgery or not | 1 |" in text


MISTAKES = {
    "unknown key": ('[[rows]]\nname = "x"\n[rows.set]\n"train.shedule" = "sum"\n', "train.shedule"),
    "two of one name": ('[[rows]]\nname = "sum"\n', 'two rows are called "sum"'),
    "key of a row": ('[[rows]]\nname = "y"\nsett = {}\n', 'did you mean "set"'),
    "claimed metric of no task": ('[[rows]]\nname = "z"\nclaimed = { "dev.stz.pearson" = 0.5 }\n',
                                  'row "z": claimed.dev.stz.pearson: "stz" is not a task; did you mean'),
    "task of no base": ('[[rows]]\nname = "z"\nset = { "tasks.stz.limit" = 3 }\n',
                        'row "z": "stz" is not a task of base.toml; did you mean "sts"?'),
    "metric of another kind": ('[[rows]]\nname = "z"\nset = { "train.score" = "sst.pearson" }\n',
                               'row "z": train.score: "sst.pearson": task "sst" has no metric "pearson"'),
    "a column that is not there": ('[[rows]]\nname = "z"\nset = { "tasks.sst.label" = "sentimant" }\n',
                                   'did you mean "sentiment"'),
    "a file that is not there": ('[set]\n"tasks.sst.train" = "sst-trein.csv"\n',
                                 r'rows "sum", "surgery or not": .*there is no such file'),
    "metric of no task": ('[[rows]]\nname = "z"\nset = { "train.score" = "stz.pearson" }\n', "stz"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_are_reported_before_anything_runs(mistake: str, study: Path, tmp_path: Path) -> None:
    more, said = MISTAKES[mistake]
    study.write_text(study.read_text() + more)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        compare(study, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is a file, expected a folder"):
        compare(study, study, scale="pilot", quiet=True)


def test_a_row_that_there_is_not(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'"sim" is not a row of .* did you mean "sum"'):
        compare(study, tmp_path / "out", rows=["sim"], quiet=True)


def test_what_cannot_be_compared_is_not(study: Path, tmp_path: Path) -> None:
    study.write_text(study.read_text() + '[[rows]]\nname = "numbers"\n[rows.set]\n'
                     '"tasks.sst.kind" = "regression"\n[[rows]]\nname = "other rows"\n[rows.set]\n'
                     '"tasks.sst.dev_limit" = 12\n')
    found = compare(study, tmp_path / "out", seeds=1, workers=2, scale="pilot", quiet=True)
    lines = {line.row.name: line for line in found.comparison.lines}
    assert "overall.cs224n" in lines["other rows"].cells
    assert not any(key.startswith("overall") for key in lines["numbers"].cells)
    assert "sst.accuracy" not in lines["numbers"].differences
    assert not lines["other rows"].differences["sst.accuracy"].same_rows
    assert lines["other rows"].differences["quora.accuracy"].same_rows
    assert "*: scored on different dev rows from the row it is compared with." in str(found)


def test_the_same_study_twice_at_once_in_one_folder(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polytask", "compare", str(study), "-q", "--seeds", "1",
               "--scale", "pilot", "--out", str(tmp_path / "out")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=280)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], said


def drawn_in(run: Path) -> list[dict[str, int]]:
    """The rows of each task in each update of a run."""
    events = map(json.loads, (run / "events.jsonl").read_text().splitlines())
    return [event["rows"] for event in events if event["event"] == "step"]


def test_single_task_runs_are_a_row_and_a_gain(study: Path, tmp_path: Path) -> None:
    found = compare(study, tmp_path / "out", seeds=1, workers=2, scale="pilot", baselines=True,
                          rows=["sum"], quiet=True)
    single = found.comparison.single
    assert single is not None and not found.comparison.failed
    assert {"sst.accuracy", "quora.accuracy", "sts.pearson", "overall.cs224n"} <= set(single.cells)
    (line,) = found.comparison.lines
    for key, gain in line.gains.items():
        assert gain.mean == pytest.approx(line.cells[key].mean - single.cells[key].mean)
    alone = sorted((tmp_path / "out" / "runs").glob("*-alone-*/*/results.json"))
    assert len(alone) == 3
    (joint,) = (tmp_path / "out" / "runs").glob("sum-*/*/results.json")
    drawn = [task for rows in drawn_in(joint.parent) for task in rows]
    for each in alone:  # max_steps ends the base row's training: each has its task's updates there
        steps = drawn_in(each.parent)
        (task,) = steps[0]
        assert len(steps) == drawn.count(task)
    assert single.cost["tokens"] == sum(json.loads(each.read_text())["tokens"] for each in alone)
    assert "## Gain over single-task runs" in str(found)


def test_a_single_task_run_leaves_out_what_concerns_several() -> None:
    config = {"tasks": {"sst": {"a": 1}, "sts": {"b": 2}}, "train": {
        "epochs": 3, "surgery": "pcgrad", "weighting": {"type": "fixed"}, "schedule": "annealed",
        "score": "sts.pearson", "batch_size": {"sst": 8, "sts": 4},
        "regularizers": ["smart", {"type": "norm", "tasks": ["sts"]},
                         {"type": "smart", "tasks": ["sst", "sts"]}],
        "optimizer": {"lr": 1e-4, "layer_rates": {"1": 0.5, "sts": {"1": 2.0}}}}}
    sst, sts = single_rows(StudyRow("base", config))
    assert (sst.name, sst.single, list(sst.config["tasks"])) == ("sst alone", "sst", ["sst"])
    assert sst.config["train"] == {
        "epochs": 3, "batch_size": {"sst": 8},
        "regularizers": ["smart", {"type": "smart", "tasks": ["sst"]}],
        "optimizer": {"lr": 1e-4, "layer_rates": {"1": 0.5}}}
    assert sts.config["train"]["optimizer"]["layer_rates"] == {"1": 0.5, "sts": {"1": 2.0}}
    assert {"type": "norm", "tasks": ["sts"]} in sts.config["train"]["regularizers"]
    assert config["train"]["surgery"] == "pcgrad"  # the base row is as it was


def test_a_disk_that_fills_loses_nothing_that_is_finished(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = compare(study, out, seeds=1, scale="pilot", rows=["sum"], quiet=True)
    finished = {run: run.read_bytes() for run in (out / "runs").glob("*/*/results.json")}

    start = subprocess.Popen

    def limited(*given: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*given, **options)
        # No file of the run may grow beyond 64 KiB; it has written none so early.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        return process

    with monkeypatch.context() as patched:
        patched.setattr("polytask.engines.local.subprocess.Popen", limited)
        failed = compare(study, out, seeds=1, scale="pilot", quiet=True)
    (line,) = failed.comparison.failed
    assert line.row.name == "surgery or not"
    assert "could not be written" in line.failed
    again = compare(study, out, seeds=1, scale="pilot", quiet=True)
    assert not again.comparison.failed
    assert again.comparison.lines[0].cells == first.comparison.lines[0].cells
    assert all(run.read_bytes() == held for run, held in finished.items())


def test_two_studies_at_once_in_two_folders(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "polytask", "compare", str(study), "-q", "--seeds", "1",
               "--scale", "pilot"]
    both = [subprocess.Popen([*command, "--out", str(tmp_path / name)], stdout=subprocess.DEVNULL)
            for name in ("a", "b")]
    assert [each.wait(timeout=250) for each in both] == [0, 0]
    a, b = (json.loads((tmp_path / name / "results.json").read_text())["rows"] for name in ("a", "b"))
    assert [row["scores"] for row in a] == [row["scores"] for row in b]


def test_a_killed_worker_is_a_failed_row_that_the_next_call_finishes(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def kill() -> None:
        deadline = time.monotonic() + 200
        while not list(out.glob("runs/*/*/events.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        subprocess.run(["pkill", "-9", "-f", f"polytask train {out}"], check=False)

    killer = threading.Thread(target=kill)
    killer.start()
    found = compare(study, out, seeds=1, rows=["sum"], quiet=True)
    killer.join()
    (line,) = found.comparison.failed
    assert line.failed == "was killed by signal 9"
    assert not compare(study, out, seeds=1, rows=["sum"], quiet=True).comparison.failed
