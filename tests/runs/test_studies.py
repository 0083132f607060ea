"""A study: every row and seed once, whatever is killed; what is wrong is said before anything runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from polytask.comparing import compare_study
from polytask.core.errors import ConfigError, RunError
from polytask.measure.comparison import RESAMPLES, _scores


@pytest.fixture
def study(small_table: dict[str, Any], tmp_path: Path) -> Path:
    small_table["train"]["epochs"] = 1
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
    text = compare_study(study, out, workers=2, scale="pilot", quiet=True)
    assert "Two ways (pilot scale)" in text
    assert "| surgery or not | 2 |" in text
    assert "| sum | test.sst.accuracy | 0.5 | not measured |" in text
    told = json.loads((out / "results.json").read_text())
    by_name = {row["name"]: row for row in told["rows"]}
    runs = sorted((out / "runs").glob("*/*/results.json"))
    assert len(runs) == 4
    own = [json.loads(run.read_text())["dev"]["scores"]["sst"]["accuracy"]
           for run in runs if "sum" in run.parts[-3]]
    assert by_name["sum"]["scores"]["sst"]["mean"] == pytest.approx(np.mean(own))
    assert by_name["sum"]["claims"]["dev.sst.accuracy"]["measured"] == pytest.approx(np.mean(own))
    assert by_name["surgery or not"]["verdict"] in ("tie", "better", "worse")

    before = {run: run.stat().st_mtime_ns for run in runs}
    compare_study(study, out, workers=2, scale="pilot", quiet=True)
    assert {run: run.stat().st_mtime_ns for run in runs} == before
    with pytest.raises(RunError, match="another study"):
        compare_study(study, out, scale="full", quiet=True)


def test_a_row_that_fails_does_not_stop_the_others(study: Path, tmp_path: Path) -> None:
    broken = study.read_text() + '[[rows]]\nname = "broken"\n[rows.set]\n"tasks.sst.label" = "sentimant"\n'
    study.write_text(broken)
    text = compare_study(study, tmp_path / "out", seeds=1, workers=2, scale="pilot", quiet=True)
    assert "| broken | failed |" in text
    assert 'did you mean "sentiment"' in text
    assert "| sum | 1 |" in text


def test_a_killed_study_goes_on(study: Path, tmp_path: Path) -> None:
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
    # The worker of the killed parent is a process group of its own and may still hold its folder.
    subprocess.run(["pkill", "-9", "-f", str(out)], check=False)
    text = compare_study(study, out, seeds=1, quiet=True)
    assert "failed" not in text
    assert "| surgery or not | 1 |" in text


MISTAKES = {
    "unknown key": ('[[rows]]\nname = "x"\n[rows.set]\n"train.shedule" = "sum"\n', "train.shedule"),
    "two of one name": ('[[rows]]\nname = "sum"\n', 'a second row is called "sum"'),
    "key of a row": ('[[rows]]\nname = "y"\nsett = {}\n', 'did you mean "set"'),
    "metric of no task": ('[[rows]]\nname = "z"\nset = { "train.score" = "stz.pearson" }\n', "stz"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_mistakes_are_told_before_anything_runs(mistake: str, study: Path, tmp_path: Path) -> None:
    more, said = MISTAKES[mistake]
    study.write_text(study.read_text() + more)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        compare_study(study, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_row_that_there_is_not(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'"sim" is no row of .* did you mean "sum"'):
        compare_study(study, tmp_path / "out", rows=["sim"], quiet=True)


def test_resampled_scores_agree_with_numpy() -> None:
    chance = np.random.default_rng(1)
    true, predicted = chance.normal(size=80), chance.normal(size=80)
    picks = chance.integers(0, 80, (RESAMPLES, 80))
    ours = _scores("pearson", true, predicted, picks)
    theirs = [np.corrcoef(true[pick], predicted[pick])[0, 1] for pick in picks]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    labels = chance.integers(0, 3, 80).astype(float)
    right = _scores("accuracy", labels, np.zeros(80), picks)
    np.testing.assert_allclose(right, [(labels[pick] == 0).mean() for pick in picks])
