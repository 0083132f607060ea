"""Every row of the reference's table of settings is compared with a recipe or with the data.

The reference lies beside the folder that POLYTASK_DATA names. A row that nothing here can be compared
with stands in `NOT_COMPARED` with its reason.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import recipe_settings  # noqa: E402

FILES = {"sst": "ids-sst", "cfimdb": "ids-cfimdb", "quora": "quora", "sts": "sts"}
LABELS = {"sst": "sentiment", "quora": "is_duplicate", "sts": "similarity"}
# Reports that count the header line as a row (MX-2, GX-10); of SST they do not.
HEADER = {("mfrr", "sts"), ("mfrr", "quora"), ("surgery", "sts"), ("surgery", "quora")}
LATER = "of the release of 2024, which is not here (PX-13)"
NOT_COMPARED = {
    ("mfrr", "Table 1", "quora", "test"): "our test file is a part of it",
    ("mfrr", "Table 1", "quora", "total"): "our training and test files are parts of it",
    ("surgery", "Text 5.1", "quora", "total"): "our training and test files are parts of it",
    ("surgery", "Text 5.1", "cfimdb", "total"): "of the 1,701 training rows (GX-10)",
    ("surgery", "Text 5.1", "cfimdb", "train"): "the file has 1,707 rows (GX-10)",
    ("practices", "Table 1", "quora", "train"): LATER,
    ("practices", "Table 1", "quora", "dev"): LATER,
    ("practices", "Table 1", "quora", "test"): LATER,
}
SETTINGS = {"hp_batch_size": "train.batch_size", "hp_learning_rate": "train.optimizer.lr",
            "hp_weight_decay": "train.optimizer.weight_decay", "hp_epochs": "train.epochs",
            "hp_optimizer": "train.optimizer.type", "hp_lambda": "train.regularizers.0.weight"}
# Of mfrr's Table 3, which orders them as the rows E1 to E8 of Table 2.
MFRR_ROWS = [
    *(f"MFRR w/ Data Balancing{rest}" for rest in (
        " and Naive loss", " and weighted loss", " and gradient surgery",
        ", L1 Regularisation, weighted loss", ", L2 Regularisation, weighted loss",
        ", CosineEmbeddingLoss, weighted loss")),
    "MFRR w/ full data and weighted loss", "MFRR w/ full data, weighted loss, shared layer"]
Row = dict[str, str]


def reference(data: Path) -> list[Row]:
    path = data.parent / "reference" / "settings.tsv"
    if not path.is_file():
        pytest.skip("needs the reports' settings beside the folder that POLYTASK_DATA names")
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def recipe(name: str) -> dict[str, dict[str, Any]]:
    """Return row → settings of a recipe."""
    path = ROOT / "recipes" / f"{name}.toml"
    return {row.removeprefix(f"{path.stem}/"): found for row, found in recipe_settings.compared(path)}


@cache
def rows_of(data: Path, task: str, split: str) -> list[Row]:
    name = f"{FILES[task]}-{split}{'-student' if split == 'test' else ''}.csv"
    with (data / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def shares(data: Path, task: str) -> dict[str, float]:
    """Return label → per cent of the labelled rows of train and dev; numbers are rounded half to even."""
    cells = [row[LABELS[task]] for split in ("train", "dev") for row in rows_of(data, task, split)]
    counts = Counter(np.round([float(cell) for cell in cells if cell]).astype(int).tolist())
    return {str(label): 100 * count / counts.total() for label, count in counts.items()}


def differences(row: Row, data: Path) -> Iterator[str] | None:
    """Yield what differs from a row of the reference; None where nothing can be compared with it."""
    paper, label, split, metric, value = (row[key] for key in (
        "paper", "row_label", "split", "metric", "value"))
    if (paper, row["table"], label, split) in NOT_COMPARED:
        return None
    if metric == "examples":
        return sizes(paper, label, split, int(value), data)
    if metric == "percent_of_values":
        task, _, name = label.replace(" (rounded)", "").partition(" label ")
        found = shares(data, task)[name]
        return iter([f"{found:.2f} %"] if abs(found - float(value)) > 0.5 else [])
    if metric.startswith("hp_"):
        return hyperparameter(paper, label, metric, value)
    if (paper, row["table"], metric) == ("triple-threat", "Table 16", "details"):
        return details(label, value)
    raise AssertionError(f"nothing compares {row}")


def sizes(paper: str, task: str, split: str, printed: int, data: Path) -> Iterator[str]:
    if (task, split) == ("quora", "train"):  # our file is smaller: the recipes limit a larger one
        for path in recipe_settings.files(ROOT / "recipes"):
            if path.parent.name == paper:
                yield from (f"{path.stem}/{name}: limit {found['tasks.quora.limit']}"
                            for name, found in recipe(f"{paper}/{path.stem}").items()
                            if found["tasks.quora.limit"] != printed)
        return
    parts = ("train", "dev", "test") if split == "total" else (split,)
    found = sum(len(rows_of(data, task, part)) for part in parts)
    if found + ((paper, task) in HEADER and split != "total") != printed:
        yield f"{found} rows"


def hyperparameter(paper: str, label: str, metric: str, value: str) -> Iterator[str]:
    where = {"mfrr": "mfrr/table-2", "surgery": "surgery/figure-3"}[paper]
    name = f"E{MFRR_ROWS.index(label) + 1}" if paper == "mfrr" else "baseline"
    found = recipe(where)[name]
    keys = [key for key in found if key.endswith(".head.dropout")] if metric == "hp_dropout" else [
        SETTINGS[metric]]
    wanted = value.lower() if metric == "hp_optimizer" else float(value)
    assert keys
    yield from (f"{name}: {key} = {found.get(key)}" for key in keys if found.get(key) != wanted)


def details(label: str, value: str) -> Iterator[str]:
    """Compare a configuration of Table 16; its STS weights lack the decimal point (TX-2)."""
    units = re.search(r"Extra Linear Layer with (\d+) Hidden Units", value)
    scaling = re.search(r"\(([\d.]+),([\d.]+),([\d.]+)\) Loss Scaling", value)
    assert scaling is not None and (units is None) == ("No Extra Linear Layer" in value)
    sst, quora, sts = map(float, scaling.groups())
    rates = re.search(r"\\alpha = (\d+), \\beta = (\d+)", value)
    wanted: dict[str, Any] = {f"train.weighting.weights.{task}": weight for task, weight in
                              (("sst", sst), ("quora", quora), ("sts", sts / 10))}
    for task in ("sst", "quora", "sts"):
        wanted |= {f"tasks.{task}.head.type": "mlp" if units else "linear"}
        wanted |= {f"tasks.{task}.head.hidden": int(units[1])} if units else {}
    for stem in ("table-15", "table-16"):
        found = recipe(f"triple-threat/{stem}")[label.replace("Config", "config")]
        yield from (f"{stem}: {key} = {found.get(key)}" for key, setting in wanted.items()
                    if found.get(key) != setting)
        layers = {key: rate for key, rate in found.items()
                  if re.fullmatch(r"train\.optimizer\.layer_rates\.\w+\.(other|\d+)", key)}
        alpha_beta = [(rate == float(rates[1 if key.endswith("other") else 2])) if rates else False
                      for key, rate in layers.items()]
        if len(layers) != (15 if rates else 0) or not all(alpha_beta):
            yield f"{stem}: {layers}"


@pytest.mark.technique("M-30", "M-34", "G-16", "G-25", "G-27", "G-28", "P-19", "T-31")
@pytest.mark.data
def test_every_row_of_the_reference_is_met_or_named(real_data: Path) -> None:
    rows = reference(real_data)
    wrong, left = [], []
    for row in rows:
        found = differences(row, real_data)
        if found is None:
            left.append((row["paper"], row["table"], row["row_label"], row["split"]))
        else:
            wrong += [f"{row}: found {each}" for each in found]
    assert wrong == []
    assert sorted(left) == sorted(NOT_COMPARED)
    assert len(rows) == 91


@pytest.mark.data
@pytest.mark.parametrize(("place", "cell", "other"), [
    (("mfrr", "sst", "train", "examples"), "8544", "8545"),
    (("mfrr", "quora", "train", "examples"), "141506", "141507"),
    (("surgery", "sts", "dev", "examples"), "864", "863"),
    (("surgery", "sts (rounded) label 1", "train+dev", "percent_of_values"), "14.5", "15.5"),
    (("surgery", "default parameters", "-", "hp_dropout"), "0.3", "0.1"),
    (("mfrr", MFRR_ROWS[3], "-", "hp_lambda"), "0.0001", "0.001"),
    (("triple-threat", "Config C", "-", "details"), "with 80", "with 120"),
    (("triple-threat", "Config B", "-", "details"), "(0.1,2,4)", "(0.1,1,2)"),
    (("triple-threat", "Config E", "-", "details"), r"\beta = 2", r"\beta = 3"),
])
def test_another_value_would_be_noticed(
    real_data: Path, place: tuple[str, ...], cell: str, other: str,
) -> None:
    (row,) = (row for row in reference(real_data)
              if tuple(row[key] for key in ("paper", "row_label", "split", "metric")) == place)
    assert cell in row["value"]
    assert list(differences(row | {"value": row["value"].replace(cell, other)}, real_data) or ())
