"""A new method is a new file: in a copy of the package, one file each and no other edit.

The copy finds the components in `polytask list`, trains with them, writes their pages and holds them to the
contracts of their families.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from warm_processes import Zygote, warm

ROOT = Path(__file__).parents[2]

FILES = {
    "losses/spread.py": '''
"""A loss of the test."""

from polytask.losses.contract import Loss, loss


@loss
class Spread(Loss):
    """Cross-entropy with a price on confidence.

    Formula: −log p_y + c Σ p²

    Inputs: logits (rows, classes).

    Source: nobody.
    """

    input_field = "logits"
    price: float = 0.1
    """What certainty costs."""

    def outputs(self, labels):
        return labels.num_classes

    def problem(self, context):
        return None if context.labels.kind in ("classes", "ordinal", "binary") else "needs one class a row"

    def __call__(self, output, target):
        logits = output.logits.float()
        log_p = logits.log_softmax(-1)
        wrong = -log_p.gather(1, target[:, None]).squeeze(1)
        return (wrong + self.price * log_p.exp().square().sum(1)).mean()
''',
    "learn/weightings/dice.py": '''
"""A weighting of the test."""

import torch

from polytask.learn.weightings.contract import Weighting, WeightingModule, weighting


class Thrown(WeightingModule):
    affine = False

    def forward(self, losses):
        shares = torch.rand(len(losses)).softmax(0) * len(losses)
        return {task: share * loss.float() for share, (task, loss) in zip(shares, losses.items())}


@weighting
class Dice(Weighting):
    """Random loss weighting.

    Formula: Σ w_t l_t with w drawn anew in every step

    Inputs: 0-dim losses.

    Source: Lin et al. 2021.
    """

    def build(self, tasks, kinds):
        return Thrown(tasks)
''',
    "model/heads/doubled.py": '''
"""A head of the test."""

from torch import nn

from polytask.model.heads.contract import Head, head


class Twice(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, outputs)

    def forward(self, output):
        return self.second(self.first(output.vector)).squeeze(-1)


@head
class Doubled(Head):
    """Two linear layers.

    Formula: W₂ W₁ h

    Inputs: vector (rows, width).

    Source: nobody.
    """

    def build(self, width, outputs, shared):
        return Twice(width, outputs)
''',
    "learn/schedules/backwards.py": '''
"""A schedule of the test."""

from polytask.learn.schedules.contract import Schedule, one_pass, schedule


@schedule
class Backwards(Schedule):
    """One task after the other, the last one first.

    Formula: all batches of task n, then of n − 1, …

    Inputs: rows and batch sizes.

    Source: nobody.
    """

    def plan(self, rows, batch_size, epoch, epochs, rng):
        for task in reversed(list(rows)):
            for size in one_pass(rows[task], batch_size[task]):
                yield {task: [size]}
''',
    "metrics/close_calls.py": '''
"""A metric of the test."""

from polytask.metrics.registry import metric


@metric("classes", "ordinal", "binary", aliases=("nearly_right",))
def close_calls(predicted, true, scores):
    """Share of the rows whose class is among the two with the highest scores."""
    best = (-scores).argsort(axis=1, kind="stable")[:, :2]
    return float((best == true[:, None]).any(axis=1).mean())
''',
}
NAMES = {"losses": "spread", "weightings": "dice", "heads": "doubled", "schedules": "backwards",
         "metrics": "close_calls"}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with five files more, and nothing else changed."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src" / "polytask", folder / "polytask",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (folder / "polytask" / name).exists()
        (folder / "polytask" / name).write_text(text.lstrip(), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True, scope="module")
def processes_with_the_copy(copied: Path) -> Iterator[None]:
    """Let the tests' processes be forks of one that has imported the copy."""
    zygote = Zygote.begin(str(copied))
    with warm(zygote):
        yield
    zygote.end()


def with_copy(copied: Path, *words: str, cwd: Path = ROOT) -> str:
    """Run Python with the copy in the package's place; return what it printed."""
    found = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False,
                           timeout=280, env=os.environ | {"PYTHONPATH": str(copied)})
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    return found.stdout


def test_the_copy_is_what_is_imported(copied: Path, tmp_path: Path) -> None:
    said = with_copy(copied, "-c", "import polytask; print(polytask.__file__)", cwd=tmp_path)
    assert said.strip() == str(copied / "polytask" / "__init__.py")


def test_new_files_are_listed(copied: Path, tmp_path: Path) -> None:
    listed = json.loads(with_copy(copied, "-m", "polytask", "list", "--json", cwd=tmp_path))
    for family, name in NAMES.items():
        assert name in [row["name"] for row in listed[family]], family
    code = ("import polytask as pk; print(pk.losses.Spread().price, pk.heads.Doubled, "
            "pk.metrics.close_calls, pk.weightings.Dice, pk.schedules.Backwards)")
    said = with_copy(copied, "-c", code, cwd=tmp_path)
    assert said.startswith("0.1 ")


def test_new_files_train_and_resume(copied: Path, small_table: dict[str, Any], tmp_path: Path) -> None:
    small_table["tasks"] = {name: small_table["tasks"][name] for name in ("sst", "quora")}
    small_table["tasks"]["sst"] |= {"loss": {"type": "spread", "price": 0.2}, "head": "doubled",
                                    "metrics": ["close_calls", "accuracy"]}
    small_table["train"] = {"epochs": 1, "batch_size": 8, "schedule": "backwards", "weighting": "dice",
                            "score": "sst.close_calls"}
    (tmp_path / "new.toml").write_text(tomli_w.dumps(small_table))
    said = with_copy(copied, "-m", "polytask", "train", "new.toml", "--out", "run", "-q", cwd=tmp_path)
    assert "close_calls" in said
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0 < results["dev"]["scores"]["sst"]["close_calls"] <= 1
    said = with_copy(copied, "-m", "polytask", "evaluate", "run", "--json", cwd=tmp_path)
    assert json.loads(said)["scores"] == results["dev"]["scores"]


def test_new_files_are_documented(copied: Path, tmp_path: Path) -> None:
    code = ("import sys, json; sys.path.append(sys.argv[1]); import reference; "
            "print(json.dumps({path.stem: text for path, text in reference.pages().items()}))")
    pages = json.loads(with_copy(copied, "-c", code, str(ROOT / "docs"), cwd=tmp_path))
    for family, name in NAMES.items():
        assert f"`{name}`" in pages[family]
    assert "What certainty costs." in pages["losses"]
    assert "nearly_right" in pages["metrics"]


def test_new_files_are_held_to_their_contracts(copied: Path) -> None:
    said = with_copy(copied, "-m", "pytest", "-v", "-o", "addopts=", "-p", "no:cacheprovider", "-k",
                     " or ".join(NAMES.values()),
                     *(f"tests/contracts/test_{family}.py" for family in NAMES))
    passed = [line for line in said.splitlines() if " PASSED" in line]
    for family, name in NAMES.items():
        own = [line for line in passed if f"test_{family}.py" in line and name in line]
        assert len(own) >= 4, f"{family}: {own}"
