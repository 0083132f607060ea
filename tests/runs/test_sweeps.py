"""A sweep: trials are runs, none is repeated, what is wrong is said before anything runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from polytask.commands.sweep import TrialQueue, sweep
from polytask.core.errors import ConfigError, RunError
from polytask.core.toml import read_toml
from polytask.studies.search import FinishedTrial, Search, front
from polytask.studies.sweep import grid, read_sweep
from polytask.studies.sweep_tables import as_csv, rows

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("forked_commands")

TIED = '''
title = "Two rates"
base = "base.toml"
sampler = "grid"
metrics = ["overall"]
[parameters]
"train.optimizer.lr" = [1e-5, 1e-2]
[parameters.dropout]
keys = ["tasks.sst.head.dropout", "tasks.quora.head.dropout"]
values = [0.0, 0.4]
'''


@pytest.fixture
def base(small_table: dict[str, Any], tmp_path: Path) -> Path:
    small_table["train"] = {"max_steps": 2, "batch_size": 8}
    small_table["data"]["baselines"] = False
    for task in ("sst", "quora"):
        small_table["tasks"][task]["head"] = {"type": "linear", "dropout": 0.1}
    (tmp_path / "base.toml").write_text(tomli_w.dumps(small_table))
    return tmp_path


def test_a_grid_of_tied_keys_runs_once_and_continues(base: Path) -> None:
    path, out = base / "sweep.toml", base / "out"
    path.write_text(TIED)
    first = sweep(path, out, trials=2, quiet=True)
    assert len(first.trials) == 2
    whole = sweep(path, out, workers=2, quiet=True)
    drawn = [each.drawn for each in whole.trials]
    assert sorted(map(str, drawn)) == sorted(map(str, grid(whole.sweep)))  # every combination once
    for each in whole.trials:
        config = read_toml(out / "trials" / f"{each.number:04d}" / "config.toml")
        told = whole.sweep.values(each.drawn)
        assert config["train"]["optimizer"]["lr"] == told["train.optimizer.lr"]
        assert {config["tasks"][task]["head"]["dropout"] for task in ("sst", "quora")} == {told["dropout"]}
        results = json.loads((out / "trials" / f"{each.number:04d}" / "results.json").read_text())
        assert each.values == (results["dev"]["score"],)
    (best,) = whole.best
    assert best.values == max(each.values for each in whole.trials if each.values)
    assert read_toml(out / "best.toml")["train"]["optimizer"]["lr"] == whole.sweep.values(best.drawn)[
        "train.optimizer.lr"]
    before = {run: run.stat().st_mtime_ns for run in out.glob("trials/*/results.json")}
    again = sweep(path, out, quiet=True)
    assert {run: run.stat().st_mtime_ns for run in out.glob("trials/*/results.json")} == before
    assert again.trials == whole.trials
    for name in ("results.md", "results.csv", "results.json"):
        assert (out / name).read_text().count("1e-05")
    assert f"- command: `polytask sweep {path} --scale full --seed 0 --out {out}`\n" in str(again)
    assert "- seeds: 3 of the trainings, 0 of the search\n" in str(again)
    assert f"- machine: {results['machine']}\n- date: {results['finished'][:10]}\n" in str(again)
    assert f"<td>{best.number} (best)</td>" in again._repr_html_()
    assert "<th>train.optimizer.lr</th>" in again._repr_html_()
    frame = again.to_pandas()
    assert list(frame["train.optimizer.lr"]) == [again.sweep.values(each.drawn)["train.optimizer.lr"]
                                                 for each in again.trials]


def test_two_metrics_have_a_front_and_importances(base: Path) -> None:
    path = base / "sweep.toml"
    path.write_text('base = "base.toml"\ntrials = 5\nmetrics = ["sst.accuracy", "sts.pearson"]\n'
                    '[parameters]\n"train.optimizer.lr" = { low = 1e-5, high = 1e-2, log = true }\n'
                    '"train.batch_size" = { low = 4, high = 16 }\n')
    found = sweep(path, base / "out", workers=2, quiet=True)
    assert len(found.trials) == 5
    for each in found.trials:
        assert 1e-5 <= each.drawn["train.optimizer.lr"] <= 1e-2
        assert isinstance(each.drawn["train.batch_size"], int)
    assert "sts.pearson" in found.importances
    for metric, shares in found.importances.items():
        assert metric in ("sst.accuracy", "sts.pearson")
        assert sum(shares.values()) == pytest.approx(1)
    assert found.best == front(found.trials, found.sweep.metrics) != []
    assert (base / "out" / f"best-{found.best[0].number:04d}.toml").is_file()


BOTH = ("sst.accuracy", "sts.pearson")


def test_the_front_holds_what_no_other_beats() -> None:
    points = [(1.0, 0.0), (0.5, 0.5), (0.4, 0.4), (0.0, 1.0), (0.0, 0.9)]
    trials = [FinishedTrial(n, {}, values, 0.0) for n, values in enumerate(points)]
    assert [each.number for each in front([*trials, FinishedTrial(9, {}, None, 0.0)], BOTH)] == [0, 1, 3]
    single = [FinishedTrial(n, {}, (value,), 0.0) for n, value in enumerate([0.1, 0.7, 0.7])]
    assert [each.number for each in front(single, ["overall"])] == [1]
    assert [each.number for each in front(single, ["sts.mae"])] == [0]


def test_a_killed_sweep_continues_with_its_open_trial(base: Path) -> None:
    path, out = base / "sweep.toml", base / "out"
    path.write_text(TIED.replace('"train.optimizer.lr"', '"train.max_steps" = [400]\n"train.optimizer.lr"'))
    command = [sys.executable, "-m", "polytask", "sweep", str(path), "--out", str(out), "-q",
               "--trials", "1"]
    parent = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(out.glob("trials/*/events.jsonl")):
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    subprocess.run(["pkill", "-9", "-f", f"polytask train {out}"], check=False)
    found = sweep(path, out, trials=1, quiet=True)
    assert [each.number for each in found.trials] == [0]
    events = (out / "trials" / "0000" / "events.jsonl").read_text().splitlines()
    assert sum("start" in json.loads(line)["event"] for line in events) == 1


def test_a_hopeless_trial_is_pruned(base: Path) -> None:
    path = base / "sweep.toml"
    path.write_text(TIED.replace('sampler = "grid"', 'sampler = "tpe"'))
    search = Search.open(read_sweep(path), base / "journal.log", seed=0)
    for score in (0.5, 0.6, 0.7, 0.8):
        number = search.ask()
        assert number is not None
        search.report(number, 10, score)
        assert not search.prunes(number)
        search.tell(number, [score], 1.0)
    bad, good = search.ask(), search.ask()
    assert bad is not None and good is not None
    search.report(bad, 10, 0.1)
    search.report(good, 10, 0.9)
    assert search.prunes(bad) and not search.prunes(good)
    assert search.left_open() == [bad, good]
    search.end_pruned(bad)
    assert search.left_open() == [good]
    assert search.finished()[-1] == FinishedTrial(bad, search.drawn(bad), None, None)
    lines = [line.split(",") for line in as_csv(search.sweep, search.finished()).splitlines()[1:]]
    assert [(line[1], line[-1]) for line in lines] == [("finished", "1.00")] * 4 + [("pruned", "")]
    assert [cells[-1] for cells in rows(search.sweep, search.finished())] == ["1"] * 4 + [""]


def test_a_trial_that_has_made_its_last_update_is_not_pruned(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = base / "sweep.toml"
    path.write_text(TIED)
    read = read_sweep(path)
    going = TrialQueue(read, base / "out", Search.open(read, base / "journal.log", seed=0))
    number = going.search.ask()
    assert number == 0
    job = going._job(number)
    job.folder.mkdir(parents=True)
    monkeypatch.setattr(going.search, "prunes", lambda number: True)
    monkeypatch.setattr(going.search, "report", lambda *given: None)

    def log(updates: int) -> None:
        events = [{"event": "start", "steps": 4},
                  *({"event": "step", "step": n + 1} for n in range(updates)),
                  {"event": "evaluation", "step": updates, "dev": {"sst": {"accuracy": 0.1}}}]
        (job.folder / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))

    log(2)
    assert going.abandons(job)
    log(4)
    assert not going.abandons(job)


def test_a_failed_trial_says_why_and_stays_open(base: Path) -> None:
    path = base / "sweep.toml"
    path.write_text('base = "base.toml"\nsampler = "grid"\n'
                    '[set]\n"train.optimizer.type" = "sgd"\n"train.optimizer.warmup" = 0.0\n'
                    '[parameters]\n"train.optimizer.lr" = [1e30, 1e-4]\n')
    found = sweep(path, base / "out", quiet=True)
    assert len(found.trials) == 1
    (said,) = found.failures.values()
    assert "so training stopped; a lower" in said
    assert "## Failed" in str(found)
    assert Search.open(found.sweep, base / "out" / "journal.log", 0).left_open() == [*found.failures]


MISTAKES = {
    "unknown key": ('[parameters]\n"train.shedule" = ["sum"]\n', "train.shedule"),
    "bad value": ('[parameters]\n"train.epochs" = [1, -2]\n', "epochs"),
    "no list": ('[parameters]\n"train.epochs" = 3\n', "expected a list of values"),
    "grid of a range": ('sampler = "grid"\n[parameters]\n'
                        '"train.optimizer.lr" = { low = 1e-5, high = 1e-3 }\n', "a grid needs a list"),
    "no task": ('metrics = ["stz.pearson"]\n[parameters]\n"train.epochs" = [1]\n', 'did you mean "sts"'),
    "metric of another kind": ('metrics = ["sst.pearson"]\n[parameters]\n"train.epochs" = [1]\n',
                               r'metrics: "sst\.pearson": task "sst" has no metric "pearson"'),
    "a column that is not there": ('[parameters]\n"tasks.sst.label" = ["sentimant", "sentiment"]\n',
                                   'did you mean "sentiment"'),
    "sampler": ('sampler = "gird"\n[parameters]\n"train.epochs" = [1]\n', 'did you mean "grid"'),
    "pilot": ('[parameters]\n"train.epochs" = [1]\n[pilot_parameters]\n"train.epoch" = [1]\n',
              'did you mean "train.epochs"'),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_are_reported_before_anything_runs(mistake: str, base: Path) -> None:
    text, said = MISTAKES[mistake]
    (base / "sweep.toml").write_text(f'base = "base.toml"\n{text}')
    with pytest.raises(ConfigError, match=said):
        sweep(base / "sweep.toml", base / "out", quiet=True)
    assert not (base / "out").exists()


def test_a_folder_of_another_sweep_is_refused(base: Path) -> None:
    path = base / "sweep.toml"
    path.write_text(TIED)
    sweep(path, base / "out", trials=1, quiet=True)
    path.write_text(TIED.replace("1e-5", "1e-4"))
    with pytest.raises(RunError, match="another config of"):
        sweep(path, base / "out", quiet=True)


RECIPES = sorted((ROOT / "recipes").glob("*/sweep-*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parts[-2]}-{path.stem}")
@pytest.mark.parametrize("scale", ["pilot", "full"])
def test_the_recipes_can_be_read(path: Path, scale: Any) -> None:
    read = read_sweep(path, scale)
    assert read.parameters and read.trials == read_toml(path)["trials"]
    assert len(list(read.probes())) >= len(read.parameters)
