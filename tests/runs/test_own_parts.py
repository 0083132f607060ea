"""Components of the user's own: one file beside the config, found again by every later process."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polytask.commands.list import families

EXAMPLES = Path(__file__).parents[2] / "examples"


def polytask(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "polytask", *words], cwd=folder, text=True,
                          capture_output=True, input="A gem\n", check=False, timeout=250)


@pytest.fixture
def small(tiny_checkpoint: Path) -> list[str]:
    limits = [f"tasks.{task}.{key}=24" for task in ("sst", "quora") for key in ("limit", "dev_limit")]
    given = [f"encoder.checkpoint={tiny_checkpoint}", "train.batch_size=8", *limits]
    return [word for each in given for word in ("--set", each)]


@pytest.mark.usefixtures("forked_commands")
def test_a_run_with_own_parts_is_used_by_later_processes(small: list[str], tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    # Beside the config, wherever one is.
    trained = polytask(tmp_path, "train", str(EXAMPLES / "own_parts.toml"), "--out", run, "-q", *small)
    assert trained.returncode == 0, trained.stderr
    assert 'type = "own_parts:Focal"' in (tmp_path / "run" / "config.toml").read_text()
    for words in (["predict", run, "--task", "sst", "--trust"], ["evaluate", run, "--trust"], ["show", run],
                  ["report", run, "--no-plots"],
                  ["train", str(EXAMPLES / "own_parts.toml"), "--out", run, "--resume", "-q", *small]):
        found = polytask(EXAMPLES, *words)
        assert found.returncode == 0, found.stderr
    refused = polytask(EXAMPLES, "predict", run, "--task", "sst")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "names code that you did not name: own_parts:" in refused.stderr
    lost = polytask(tmp_path, "predict", run, "--task", "sst", "--trust")
    assert lost.returncode == 2 and lost.stderr.count("\n") == 1
    assert "no module 'own_parts' in the folder you are in, beside the config, or installed" in lost.stderr


@pytest.mark.usefixtures("forked_commands")
def test_the_workers_of_a_study_find_own_parts(small: list[str], tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        f'base = "{os.path.relpath(EXAMPLES / "own_parts.toml", tmp_path)}"\nseeds = 1\n'
        '[set]\n"train.max_steps" = 1\n[[rows]]\nname = "own"\n')
    found = polytask(tmp_path, "compare", "study.toml", "--out", "out", "-q", *small)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "| own | 1 |" in found.stdout


def test_files_with_the_names_of_real_modules_beside_a_config_break_nothing(
    small: list[str], tmp_path: Path
) -> None:
    """Neither the command nor a study's workers import a random.py or tokenizers.py that lies about."""
    for name in ("random", "tokenizers", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the folder was imported')")
    (tmp_path / "close_by.py").write_text("SHARPNESS = 2.0\n")
    (tmp_path / "my_own_parts.py").write_text((EXAMPLES / "own_parts.py").read_text().replace(
        "import polytask as pk\n", "import polytask as pk\nfrom close_by import SHARPNESS\n"))
    config = (EXAMPLES / "own_parts.toml").read_text().replace("own_parts:", "my_own_parts:")
    (tmp_path / "base.toml").write_text(config)
    (tmp_path / "study.toml").write_text(
        'base = "base.toml"\nseeds = 1\n[set]\n"train.max_steps" = 1\n[[rows]]\nname = "own"\n')
    found = polytask(tmp_path, "compare", "study.toml", "--out", "out", "-q", *small)
    assert found.returncode == 0, found.stdout + found.stderr
    (tmp_path / "base.toml").write_text(config.replace("my_own_parts:Focal", "random:Focal"))
    refused = polytask(tmp_path, "train", "base.toml", "--out", "run", "-q", *small)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert "random.py has the name of" in refused.stderr


def test_there_is_an_example_for_every_family_but_adapters() -> None:
    tree = ast.parse((EXAMPLES / "own_parts.py").read_text(encoding="utf-8"))
    shown = {ast.unparse(each).partition("(")[0] for node in tree.body
             if isinstance(node, ast.ClassDef | ast.FunctionDef) for each in node.decorator_list}
    assert shown == {f"pk.{family.name}" for family in families().values()} - {"pk.adapter"}
