"""What `polytask init` writes, against TF-IDF with a linear model and plain transformers.

    python bench/defaults.py --data DATA [--rows 600] [--only sst mrpc] [--set train.epochs=3] [--no-peer]

Of each task, `--rows` training rows and `--dev-rows` dev rows are written as CSV files, `polytask init`
reads them, and its config is trained as it stands. The peer is `transformers.Trainer` on
`AutoModelForSequenceClassification`: the same encoder, rows, batch size, epochs and longest input, the
Trainer's own learning rate (5e-5, falling on a line) and the best epoch on dev, which `init`'s config keeps
as well. ± is the standard error of the difference, from resampled dev rows.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import heading, table
from numpy.typing import NDArray

import polytask as pk
from polytask.commands.init import scaffold
from polytask.core.paths import RunPaths
from polytask.core.toml import override
from polytask.data.cache import Cache
from polytask.data.label_forms import canonical
from polytask.data.reading import read_file
from polytask.data.splits import draw
from polytask.evaluation.linear_baseline import linear_baseline
from polytask.evaluation.predictions import read_predictions

RESAMPLES = 500
TAGS = {"0": "negative|strong", "1": "negative", "2": "[]", "3": "positive", "4": "positive|strong"}
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """Where the rows of a task are: files, columns (the label last), and how much of `--rows` is used."""

    train: str
    dev: str
    columns: tuple[str, ...]
    share: float = 1.0
    splits: tuple[str, str] | None = None  # of one file: the values of SEMEVAL that are train and dev
    tags: bool = False


SST = ("ids-sst-train.csv", "ids-sst-dev.csv", ("sentence", "sentiment"))
SICK, SEMEVAL = "extra/sick2014.csv", "SemEval_set"
SICK_PAIR = ("sentence_A", "sentence_B")
SOURCES = {
    "sst": Source(*SST),
    "tags": Source(*SST, tags=True),
    "mrpc": Source("extra/msr-para-train.tsv", "extra/msr-para-val.tsv",
                   ("#1 String", "#2 String", "Quality")),
    "entailment": Source(SICK, SICK, (*SICK_PAIR, "entailment_label"), splits=("TRAIN", "TEST")),
    "relatedness": Source(SICK, SICK, (*SICK_PAIR, "relatedness_score"), splits=("TRAIN", "TEST")),
    "sts": Source("sts-train.csv", "sts-dev.csv", ("sentence1", "sentence2", "similarity")),
    "cfimdb": Source("ids-cfimdb-train.csv", "ids-cfimdb-dev.csv", ("sentence", "sentiment"), share=0.5),
}


def rows_of(source: Source, data: Path, split: int, most: int) -> Rows:
    """Return rows of a split, texts and label, drawn with one seed."""
    read = read_file(data / (source.dev if split else source.train), Cache())
    columns = [read.column(name).texts() for name in source.columns]
    rows = list(zip(*columns, strict=True))
    if source.splits is not None:
        rows = [row for row, part in zip(rows, read.column(SEMEVAL).texts(), strict=True)
                if part == source.splits[split]]
    rows = [(*texts, canonical(label)) for *texts, label in rows]
    if source.tags:
        rows = [(*texts, TAGS[label]) for *texts, label in rows]
    return [rows[at] for at in draw(len(rows), most, 1)]


def written(name: str, source: Source, given: argparse.Namespace, folder: Path) -> dict[str, Rows]:
    """Write the files of a task; return their rows."""
    parts = {"train": rows_of(source, given.data, 0, int(given.rows * source.share)),
             "dev": rows_of(source, given.data, 1, given.dev_rows)}
    for split, lines in parts.items():
        with (folder / f"{name}-{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([source.columns, *lines])
    return parts


def score(kind: str, true: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the metric that chooses `init`'s model: accuracy, Pearson, or the mean F1 of the tags."""
    if kind == "regression":
        return float(np.corrcoef(np.array(true, float), np.array(predicted, float))[0, 1])
    if kind != "multi-label":
        return float(np.mean(np.array(true) == np.array(predicted)))
    scores = []
    for tag in ("negative", "positive", "strong"):
        is_true = np.array([tag in cell for cell in true])
        is_predicted = np.array([tag in cell for cell in predicted])
        scores.append(2 * (is_true & is_predicted).sum() / max(1, is_true.sum() + is_predicted.sum()))
    return float(np.mean(scores))


def error_of_difference(kind: str, true: list[str], ours: list[str], theirs: list[str]) -> float:
    """Return the standard deviation of the difference of two scores over resampled dev rows."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(true), len(true))
        some = [true[row] for row in rows]
        differences.append(score(kind, some, [ours[row] for row in rows])
                           - score(kind, some, [theirs[row] for row in rows]))
    return float(np.std(differences))


def plain(run: pk.Run, kind: str, parts: dict[str, Rows], seed: int) -> list[str]:
    """Return what `transformers.Trainer` predicts for the dev rows at its best epoch."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        TrainingArguments,
    )
    from transformers import Trainer as Peer

    from polytask.model.pretrained import checkpoint_folder

    folder = checkpoint_folder(run.encoder.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tags = sorted({tag for row in parts["train"] for tag in row[-1].split("|")} - {"[]"})
    names = tags if kind == "multi-label" else sorted({row[-1] for row in parts["train"]})
    true = [row[-1] for row in parts["dev"]]

    def target(label: str) -> Any:
        if kind == "regression":
            return float(label)
        return [float(tag in label) for tag in tags] if kind == "multi-label" else names.index(label)

    def items(rows: Rows) -> list[dict[str, Any]]:
        texts = [list(column) for column in zip(*[row[:-1] for row in rows], strict=True)]
        encoded = tokenizer(*texts, truncation=True, max_length=run.data.max_length)
        return [{key: encoded[key][at] for key in encoded} | {"labels": target(row[-1])}
                for at, row in enumerate(rows)]

    best: tuple[float, list[str]] = (-2.0, [])

    def measured(outputs: Any) -> dict[str, float]:
        nonlocal best
        predicted = _labels(kind, outputs.predictions, names)
        if (value := score(kind, true, predicted)) > best[0]:
            best = value, predicted
        return {"score": value}

    types = {"regression": "regression", "multi-label": "multi_label_classification"}
    torch_seeded(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1 if kind == "regression" else len(names),
        problem_type=types.get(kind, "single_label_classification"))
    with tempfile.TemporaryDirectory() as out, redirect_stdout(sys.stderr):
        settings = TrainingArguments(
            out, per_device_train_batch_size=16, per_device_eval_batch_size=32, eval_strategy="epoch",
            num_train_epochs=run.train.epochs, report_to=[], save_strategy="no", logging_strategy="no",
            seed=seed, disable_tqdm=True, use_cpu=True)
        Peer(model, settings, data_collator=DataCollatorWithPadding(tokenizer),
             train_dataset=items(parts["train"]), eval_dataset=items(parts["dev"]),
             compute_metrics=measured).train()
    return best[1]


def torch_seeded(seed: int) -> None:
    """Seed the head that `from_pretrained` draws."""
    import torch

    torch.manual_seed(seed)


def _labels(kind: str, outputs: NDArray[Any], names: list[str]) -> list[str]:
    if kind == "regression":
        return [str(value) for value in outputs.reshape(-1)]
    if kind == "multi-label":
        return ["|".join(name for name, logit in zip(names, row, strict=True) if logit > 0)
                for row in outputs]
    return [names[at] for at in outputs.argmax(axis=1)]


def line(name: str, given: argparse.Namespace, folder: Path) -> list[str]:
    """Return a task's line of the table."""
    parts = written(name, SOURCES[name], given, folder)
    text = scaffold([folder / f"{name}-{split}.csv" for split in parts])
    run = pk.Run.from_table(override(tomllib.loads(text), [
        f"seed={given.seed}", "data.baselines=false", *given.set]))
    began = time.process_time()
    result = pk.train(run, folder / name, quiet=True)
    seconds = time.process_time() - began
    labels = pk.load(folder / name).tasks[name].labels
    metric = next(iter(result.evaluation.scores[name]))
    ours = result.evaluation.scores[name][metric]
    predictions = read_predictions(RunPaths(folder / name).answers(name, "dev"),
                                   multi_label=labels.kind == "multi-label")
    cells = [name, labels.kind, f"{len(parts['train'])} / {len(parts['dev'])}", metric,
             f"{run.train.epochs}", f"{words_score(run, name, folder):.3f}", f"{ours:.3f}"]
    if given.peer:
        theirs = plain(run, labels.kind, parts, given.seed)
        error = error_of_difference(labels.kind, predictions.true, predictions.predicted, theirs)
        peer = score(labels.kind, predictions.true, theirs)
        cells += [f"{peer:.3f}", f"{ours - peer:+.3f} ± {error:.3f}"]
    return [*cells, f"{seconds:.0f}"]


def words_score(run: pk.Run, name: str, folder: Path) -> float:
    """Return what TF-IDF with a linear model reaches in the task's first metric."""
    from polytask.training.build import build

    built = build(run, True)
    words = linear_baseline(built.tasks[name], built.data[name], Cache(folder / "cache"))
    assert words is not None
    return words.scores[built.tasks[name].metrics[0]]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--rows", type=int, default=600)
    words.add_argument("--dev-rows", type=int, default=500)
    words.add_argument("--seed", type=int, default=11711)
    words.add_argument("--only", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    words.add_argument("--set", action="append", default=[])
    words.add_argument("--no-peer", dest="peer", action="store_false")
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(heading("transformers"), "\n", flush=True)
    head = ["task", "kind", "rows", "metric", "epochs", "TF-IDF", "init"]
    head += ["transformers", "difference"] if given.peer else []
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            lines.append(line(name, given, Path(folder)))
            print(*lines[-1], sep="  ", file=sys.stderr, flush=True)
    print(table([*head, "CPU seconds of init's training"], lines))


if __name__ == "__main__":
    main()
