"""Exported graphs run where neither torch nor anything else of a training is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from exported_models import TEXTS, Exported

from polytask.commands.predict import predict_file

ROOT = Path(__file__).parents[2]
# What `pip install onnxruntime tokenizers numpy` is for; the command line adds typer and what it brings.
ALLOWED = {"polytask", "numpy", "onnxruntime", "tokenizers"}
COMMAND_LINE = {"typer", "click", "rich", "shellingham", "pygments", "markdown_it", "mdurl",
                "annotated_doc", "annotated_types", "typing_extensions", "typing_inspection", "pydantic",
                "pydantic_core", "pydantic_settings", "dotenv"}
BLOCKER = """
import sys

class Absent:
    allowed = {allowed!r}

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in self.allowed and top not in sys.stdlib_module_names and top[0] != "_":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
LOADED = """
import polytask as pk

for engine in ("onnx", "int8"):
    model = pk.load(sys.argv[1], engine=engine)
    assert len(model.predict_all(["linear", "mean"], ["A gem."])["mean"]) == 1
    assert model.embed(["A gem."]).shape == (1, 64)
    assert model.estimator("linear").predict_proba(["A gem.", "x"]).shape == (2, 3)
try:
    pk.load(sys.argv[1])
except pk.PolytaskError as error:
    print(error)
"""
COMMAND = "from polytask.cli import main; sys.argv[0] = 'polytask'; main()\n"


def python(program: str, allowed: set[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program where only these packages can be imported."""
    return subprocess.run([sys.executable, "-c", BLOCKER.format(allowed=allowed) + program, *words],
                          capture_output=True, text=True, check=False)


def test_a_graph_is_loaded_with_onnx_runtime_tokenizers_and_numpy_alone(every: Exported) -> None:
    done = python(LOADED, ALLOWED, str(every.folder))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(re.escape(str(every.folder)) + r": engine torch needs \w+, which is not installed; "
                        r'run pip install polytask, or choose .*"onnx" or "int8"', done.stdout.strip())


def test_predict_gives_the_same_lines_without_torch(every: Exported, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a\n" + "".join(f'"{text}"\n' for text in TEXTS if text), encoding="utf-8")
    words = ["predict", str(every.folder), "--task", "linear,first", str(rows), "--engine", "onnx"]
    lines = [*words, "--format", "jsonl", "--out", str(tmp_path / "out.jsonl")]
    done = python(COMMAND, ALLOWED | COMMAND_LINE, *lines)
    assert done.returncode == 0, done.stderr
    predict_file(every.folder, ["linear", "first"], rows, tmp_path / "again.jsonl", "jsonl", quiet=True,
                 engine="onnx")
    assert (tmp_path / "out.jsonl").read_text() == (tmp_path / "again.jsonl").read_text() != ""


@pytest.mark.parametrize(("words", "said"), [
    (["predict", "MODEL", "--task", "linear"], r"engine torch needs \w+, which is not installed"),
    (["train", "config.toml", "--out", "run"], r"polytask: polytask train needs \w+, which is not inst"),
    (["--help"], "Usage"), (["predict", "--help"], "--engine")])
def test_the_command_line_says_what_it_cannot_do_without_torch(
    every: Exported, tmp_path: Path, words: list[str], said: str
) -> None:
    done = python(COMMAND, ALLOWED | COMMAND_LINE, *(str(every.folder) if word == "MODEL" else word
                                                     for word in words))
    assert done.returncode == (0 if "--help" in words else 2), done.stderr
    assert re.search(said, done.stdout + done.stderr) and "Traceback" not in done.stderr


@pytest.mark.fresh
@pytest.mark.timeout(1200)
def test_a_fresh_environment_without_torch_predicts(every: Exported, tmp_path: Path) -> None:
    if not os.environ.get("POLYTASK_FRESH"):
        pytest.skip("POLYTASK_FRESH is not set: the test downloads packages")
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    install = [str(binaries / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, *constraints, "onnxruntime", "tokenizers", "numpy", "typer"], check=True)
    subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(binaries / words[0]), *words[1:]], capture_output=True, text=True,
                              check=False, env=clean, cwd=tmp_path)

    assert run("python", "-c", "import torch").returncode == 1
    done = run("python", "-c", f"import sys\n{LOADED}", str(every.folder))
    assert done.returncode == 0, done.stderr
    (tmp_path / "rows.csv").write_text("a\nA gem.\n")
    done = run("polytask", "predict", str(every.folder), "--task", "linear", "rows.csv", "--engine", "int8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("2,A gem.,")
