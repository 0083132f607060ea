"""The commands of the how-to pages work as typed, or `NOT_RUN` says why they are not typed here."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from markdown_blocks import Block, blocks, typed
from polytask import sample
from polytask.model.bert import Bert, BertConfig
from polytask.model.pretrained import checkpoint_folder, save_encoder

ROOT = Path(__file__).parents[1]
# README and Get started have tests of their own.
PAGES = sorted(path for path in (*(ROOT / "docs").glob("*.md"), ROOT / "recipes" / "README.md",
                                 ROOT / "CONTRIBUTING.md") if path.name != "start.md")
# The commands that are typed, page by page, in one folder, where each page finds what earlier ones left.
TYPED = ("howto.md", "data.md", "report.md", "serving.md", "scale.md", "coming_from.md")
# Typed if POLYTASK_PAGES=1, for graphs take long to write; tests/commands/test_export.py writes some.
TYPED_IF_ASKED = ("export.md",)
# What pages take for granted: a run of the demo, and two runs to compare. No page says how they came about.
BEFORE = """
polytask demo --quiet --set encoder.checkpoint=TINY --set train.max_steps=2 --set data.max_length=24
"""
BETWEEN = {"report.md": "cp -r runs/first runs/a && cp -r runs/first runs/b"}
_INSTALLS = "changes the environment; tests/test_start_page.py checks that the extras exist"
_CLUSTER = "needs a cluster; tests/engines/test_ray.py starts one under POLYTASK_RAY=1"
_TORCHRUN = "starts processes of torch; tests/training/test_torchrun.py does, under POLYTASK_PROCESSES=1"
_MEASURES = "measures for minutes to hours, on data that do not come with the repository"
_MAKE = "make installs and tests everything; tests/test_pages.py looks the target up"
# page → how a command or Python block begins → why it is not typed. tests/test_pages.py checks its options.
NOT_RUN: dict[str, dict[str, str]] = {
    "CONTRIBUTING.md": {"make ": _MAKE, "POLYTASK_DATA=folder make": _MAKE},
    "export.md": {"pip install": _INSTALLS},
    "howto.md": {"torchrun": _TORCHRUN, "polytask serve": "never ends; the page on serving asks a server",
                 "polytask export": "the page on exports types these", "polytask push": "and this one",
                 "polytask --install-completion": "writes to the shell's own files; "
                                                  "tests/commands/test_first_hour.py asks for its script"},
    "index.md": {"polytask ": "the commands of Get started, which run there"},
    "own_parts.md": {"# my_parts.py": "a part of a class; tests/runs/test_own_parts.py has whole ones"},
    "processes.md": {"torchrun": _TORCHRUN, "#!/bin/bash": "needs SLURM"},
    "results.md": {"polytask train": _MEASURES, "polytask compare": _MEASURES, "python ": _MEASURES,
                   "polytask predict": "the model takes an hour and a half to train"},
    "scale.md": {
        "pip install": _INSTALLS, "ray start": _CLUSTER, "polytask compare": _CLUSTER,
        "#!/bin/bash": "needs SLURM",
        "polytask sweep": "needs a database; tests/runs/test_shared_sweep.py has SQLite and PostgreSQL",
        "polytask log runs/a --to mlflow": "tests/runs/test_trackers.py, under POLYTASK_TRACKERS=1",
        "polytask log runs/a --to wandb": "tests/runs/test_trackers.py, under POLYTASK_TRACKERS=1",
        "polytask log runs/a --to trackio": "is no part of the extra `dev`",
    },
    "serving.md": {"pip install": _INSTALLS},
    "settings.md": {"import polytask": "tests/test_docs.py runs it"},
}


def commands(block: Block) -> list[str]:
    """Return the commands of a block, those that go over several lines whole; a script is one command."""
    if block.language == "python" or block.code.startswith("#!"):
        return [block.code]
    lines = block.code.replace("\\\n", "\\\0").splitlines()
    return [line.replace("\\\0", "\\\n") for line in lines
            if line.strip() and not line.lstrip().startswith("#")]


def to_type(page: Path, changed: bool = True) -> list[Block]:
    """Return what of a page is typed; fail for an entry of `NOT_RUN` that fits no command."""
    reasons = NOT_RUN.get(page.name if page.parent != ROOT / "recipes" else "recipes", {})
    unused, left = set(reasons), []
    for block in blocks(page, changed):
        if block.language in ("sh", "python"):
            kept = []
            for command in commands(block):
                starts = {start for start in reasons if command.startswith(start)}
                unused -= starts
                kept += [] if starts else [command]
            block.code = "".join(f"{command}\n" for command in kept)
        left += [block] if block.code else []
    assert not unused, f"{page.name}: no command starts with {sorted(unused)}"
    return left


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_typed_or_says_why_not(page: Path) -> None:
    left = [block for block in to_type(page, changed=False) if block.language in ("sh", "python")]
    assert page.name in (*TYPED, *TYPED_IF_ASKED) or left == [], (
        f"{page.name}:{left[0].line}: neither typed nor in NOT_RUN")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder, narrow but with room for as many tokens as the pages ask for."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("narrow")
    sizes = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=64, max_position_embeddings=512)
    save_encoder(Bert(sizes), checkpoint_folder("minilm") / "tokenizer.json", folder)
    return folder


def reviews(path: Path, count: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["sentence", "stars"])
        words = ["dull", "fine", "a gem"]
        rows.writerows([f"The {n}th film is {words[n % 3]}.", n % 3] for n in range(count))


def files(folder: Path) -> None:
    """Write the reader's files: reviews to train on and to predict, and the three sets of the course."""
    reviews(folder / "data" / "reviews-train.csv", 48)
    reviews(folder / "data" / "reviews-dev.csv", 18)
    reviews(folder / "more.csv", 5)
    (folder / "new").mkdir()
    new = pyarrow.table({"sentence": ["A gem.", "Dull."]})
    pyarrow.parquet.write_table(new, folder / "new" / "a.parquet")
    for task, prefix in (("sst", "ids-"), ("quora", ""), ("sts", "")):
        for split in ("train", "dev"):
            name = f"{task}-{split}.csv"
            shutil.copy(sample.root() / name, folder / "data" / f"{prefix}{name}")
    (folder / "examples").symlink_to(ROOT / "examples")


def type_pages(names: Sequence[str], folder: Path, encoder: Path) -> None:
    """Type the commands of pages, one after the other in one folder."""
    files(folder)
    page_blocks = [Block("sh", BEFORE, 0)]
    for name in names:
        page_blocks.append(Block("sh", f"echo '== {name}'\n{BETWEEN.get(name, '')}", 0))
        page_blocks += to_type(ROOT / "docs" / name)
    typed(page_blocks, folder, encoder)


@pytest.mark.skipif(os.environ.get("POLYTASK_PAGES") != "1", reason="takes minutes: POLYTASK_PAGES=1")
@pytest.mark.usefixtures("forked_commands")
@pytest.mark.timeout(900)
def test_the_commands_of_longer_pages_work_as_typed(encoder: Path, tmp_path: Path) -> None:
    type_pages(TYPED_IF_ASKED, tmp_path, encoder)
    assert list((tmp_path / "shipped").rglob("model_qint8.onnx"))
    assert (tmp_path / "quora" / "config.json").is_file() and (tmp_path / "vectors").is_dir()


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.timeout(600)
def test_the_commands_work_as_typed(encoder: Path, tmp_path: Path) -> None:
    type_pages(TYPED, tmp_path, encoder)
    runs = tmp_path / "runs"
    assert {path.name for path in runs.iterdir()} >= {"first", "a", "b", "demo", "cs224n"}
    assert (tmp_path / "both.html").is_file() and (tmp_path / "sweeps" / "first" / "results.md").is_file()
    study = json.loads((tmp_path / "studies" / "first" / "results.json").read_text(encoding="utf-8"))
    assert "sum" in json.dumps(study) and "uncertainty + pcgrad" in json.dumps(study)
    parts = sorted((tmp_path / "answers" / "reviews").glob("part-*.csv"))
    with parts[0].open(encoding="utf-8") as file:
        assert [row["sentence"] for row in csv.DictReader(file)][:2] == ["A gem.", "Dull."]
