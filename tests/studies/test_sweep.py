"""A sweep file: every value that it tells of is trained with, and what is wrong in it is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from polytask.core.errors import ConfigError
from polytask.studies.sweep import Sweep, read_sweep

BASE = """[tasks.sst]
train = "sst-train.csv"
[train]
batch_size = 8
optimizer = { lr = 1e-3 }
"""


def _read(tmp_path: Path, parameters: str, assignments: Sequence[str] = ()) -> Sweep:
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    path = tmp_path / "sweep.toml"
    path.write_text(f'base = "base.toml"\n[parameters]\n{parameters}\n', encoding="utf-8")
    return read_sweep(path, assignments=assignments)


LOST = {
    "a searched key under --set": ('"train.batch_size" = [8, 16]', ["train.batch_size=4"]),
    "a key below a searched one under --set": ('"train.optimizer" = ["sgd"]', ["train.optimizer.lr=1"]),
    "a table under --set that has a searched key": (
        '"train.optimizer.lr" = [1, 2]', ["train.optimizer={lr = 3}"]),
    "one key of two parameters": (
        'a = { keys = ["seed"], values = [1, 2] }\nb = { keys = ["seed"], values = [3, 4] }', []),
    "one key twice in a parameter": ('a = { keys = ["seed", "seed"], values = [1, 2] }', []),
    "a table after one of its keys": (
        '"train.optimizer.lr" = [1, 2]\n"train.optimizer" = ["sgd", "adamw"]', []),
    "a key after a table that has it": (
        '"train.optimizer" = [{ type = "sgd" }, { lr = 3 }]\n"train.optimizer.lr" = [1, 2]', []),
}


@pytest.mark.parametrize("case", LOST)
def test_a_value_that_no_trial_would_be_trained_with_is_refused(case: str, tmp_path: Path) -> None:
    parameters, assignments = LOST[case]
    with pytest.raises(ConfigError, match=r"takes the place of what (--set|parameters\.).*expected one"):
        _read(tmp_path, parameters, assignments)


def test_a_key_may_be_searched_within_a_table_that_is_set_first(tmp_path: Path) -> None:
    inner = '"train.optimizer.lr" = [1, 2]'
    within = _read(tmp_path, f'"train.optimizer" = [{{ type = "sgd" }}, "adamw"]\n{inner}')
    assert within.config({"train.optimizer": 1, "train.optimizer.lr": 0})["train"]["optimizer"] == {
        "type": "adamw", "lr": 1}
    set_first = _read(tmp_path, inner, ["train.optimizer={type = 'sgd'}", "train.batch=3"])
    assert set_first.config({"train.optimizer.lr": 1})["train"]["optimizer"] == {"type": "sgd", "lr": 2}


@pytest.mark.parametrize(("parameters", "problem"), [
    ('"train.lr" = { low = 1, high = 2, log = "false" }', r"lr\.log: found 'false', expected true"),
    ('"train.lr" = { low = 1, high = 2, log = [0] }', r"lr\.log: found \[0\], expected true or false"),
    ('"train.lr" = { low = false, high = true }', "found low false and high true, expected two numbers"),
    ('"train.lr" = { low = 1, high = inf }', "found low 1 and high inf, expected two numbers"),
    ('"train.lr" = { low = 2, high = 1 }', "found low 2 and high 1, expected two numbers, the lower first"),
    ('"train.lr" = { low = 0, high = 1, log = true }', r"lr\.low: found 0, expected more than 0"),
    ('a = { keys = ["seed"], values = [1, 2], lo = 5 }', r"parameters\.a: found .*'lo': 5.*a list"),
    ('"" = [1, 2]', "parameters.: : has an empty part, expected names joined by dots"),
    ('a = { keys = ["train..lr"], values = [1, 2] }', r"parameters\.a: train\.\.lr: has an empty part"),
])
def test_what_is_no_parameter_is_said(parameters: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        _read(tmp_path, parameters)
