"""What `polytask init` writes, against TF-IDF with a linear model and plain transformers.

    python bench/defaults.py --data DATA [--rows 600] [--only sst mrpc] [--set train.epochs=3] [--no-peer]
    python bench/defaults.py --data DATA --only mrpc --write    # keeps the line and draws the page's table
    python bench/defaults.py --draw                             # draws it from the lines that are kept

Of each task, `--rows` training rows and `--dev-rows` dev rows are written as CSV files, `polytask init`
reads them, and its config is trained as it stands. The peer is `transformers.Trainer` on
`AutoModelForSequenceClassification`: the same encoder, rows, batch size, epochs and longest input, the
Trainer's own learning rate (5e-5, falling on a line) and the best epoch on dev, which `init`'s config keeps
as well. ± is the standard error of the difference, from resampled dev rows.

`--write` puts a line a task into docs/results/defaults.tsv, in the place of the task's last one.
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
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor, table, versions
from numpy.typing import NDArray
from page import placed

import polytask as pk
from polytask.commands.init import scaffold
from polytask.core.events import read_events
from polytask.core.paths import RunPaths
from polytask.core.toml import override
from polytask.data.cache import Cache
from polytask.data.label_forms import canonical
from polytask.data.reading import read_file
from polytask.data.splits import draw
from polytask.evaluation.linear_baseline import linear_baseline
from polytask.evaluation.predictions import read_predictions

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
LINES = PAGE.parent / "results" / "defaults.tsv"
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


@dataclass
class Line:
    """What one task measured; scores are of the metric that chooses the model."""

    task: str
    kind: str
    rows: str  # training / dev
    metric: str
    epochs: int
    tfidf: str
    init: str
    by_epoch: str  # init's scores after each epoch; empty where they were not kept
    seconds: str  # of processor time, init's training with its evaluations; or empty
    peer: str
    difference: str
    peer_seconds: str
    settings: str  # seed, and what `--set` changed
    measured: str  # processor, versions, date


def measured(name: str, given: argparse.Namespace, folder: Path) -> Line:
    """Train a task as `init` writes it, and the peer on the same rows."""
    parts = written(name, SOURCES[name], given, folder)
    text = scaffold([folder / f"{name}-{split}.csv" for split in parts])
    run = pk.Run.from_table(override(tomllib.loads(text), [
        f"seed={given.seed}", "data.baselines=false", *given.set]))
    began = time.process_time()
    result = pk.train(run, folder / name, quiet=True)
    seconds = time.process_time() - began
    kind = pk.load(folder / name).tasks[name].labels.kind
    metric = next(iter(result.evaluation.scores[name]))
    ours = result.evaluation.scores[name][metric]
    by_epoch = [event["dev"][name][metric] for event in read_events(RunPaths(folder / name).events)
                if event["event"] == "evaluation"]
    peer = difference = peer_seconds = "not run"
    if given.peer:
        predictions = read_predictions(RunPaths(folder / name).prediction_file(name, "dev"),
                                       multi_label=kind == "multi-label")
        began = time.process_time()
        theirs = plain(run, kind, parts, given.seed)
        peer_seconds = f"{time.process_time() - began:.0f}"
        error = error_of_difference(kind, predictions.true, predictions.predicted, theirs)
        value = score(kind, predictions.true, theirs)
        peer, difference = f"{value:.3f}", f"{ours - value:+.3f} ± {error:.3f}"
    return Line(name, kind, f"{len(parts['train'])} / {len(parts['dev'])}", metric, run.train.epochs,
                f"{words_score(run, name, folder):.3f}", f"{ours:.3f}",
                ", ".join(f"{value:.3f}" for value in by_epoch), f"{seconds:.0f}", peer, difference,
                peer_seconds, " ".join([f"seed {given.seed}", *given.set]),
                f"{processor()}; {versions('torch', 'transformers')}; {time.strftime('%Y-%m-%d')}")


def words_score(run: pk.Run, name: str, folder: Path) -> float:
    """Return what TF-IDF with a linear model reaches in the task's first metric."""
    from polytask.training.build import build

    built = build(run, True)
    words = linear_baseline(built.tasks[name], built.data[name], Cache(folder / "cache"))
    assert words is not None
    return words.scores[built.tasks[name].metrics[0]]


def kept() -> list[Line]:
    """Return the lines of the file, in the order of `SOURCES`."""
    with LINES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    lines = [Line(**row | {"epochs": int(row["epochs"])}) for row in rows]
    return sorted(lines, key=lambda line: list(SOURCES).index(line.task))


def keep(line: Line) -> None:
    """Put a line into the file, in the place of the task's last one."""
    others = [other for other in kept() if other.task != line.task] if LINES.is_file() else []
    with LINES.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow([field.name for field in fields(Line)])
        writer.writerows(map(astuple, [*others, line]))


def drawn(lines: Sequence[Line]) -> str:
    """Return the page's part: the machines, the table, and the scores after each epoch."""
    head = ["task", "kind", "rows, train / dev", "metric", "epochs", "TF-IDF", "`init`", "transformers",
            "`init` − transformers", "CPU seconds, `init` / transformers"]
    rows = []
    for line in lines:
        scores = [line.tfidf, line.init, line.peer]
        best = max((score for score in scores if score != "not run"), key=float)
        shown = [f"**{score}**" if score == best else score for score in scores]
        difference = "" if line.difference == "not run" else line.difference
        seconds = [part for part in (line.seconds, line.peer_seconds) if part not in ("", "not run")]
        rows.append([line.task, line.kind, line.rows, line.metric, str(line.epochs), *shown, difference,
                     " / ".join(seconds)])
    epochs = [f"- {line.task}: {line.by_epoch}" for line in lines if line.by_epoch]
    about = {f"{line.measured}; {line.settings}" for line in lines}
    return "\n\n".join(["\n".join(sorted(about)), table(head, rows),
                        "`init`'s scores after each epoch; the best is kept:", "\n".join(epochs)])


def redraw() -> None:
    """Write the kept lines into the page."""
    page = placed(PAGE.read_text(encoding="utf-8"), "defaults", drawn(kept()))
    PAGE.write_text(page, encoding="utf-8")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--rows", type=int, default=600)
    words.add_argument("--dev-rows", type=int, default=300)
    words.add_argument("--seed", type=int, default=11711)
    words.add_argument("--only", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    words.add_argument("--set", action="append", default=[])
    words.add_argument("--no-peer", dest="peer", action="store_false")
    words.add_argument("--write", action="store_true")
    words.add_argument("--draw", action="store_true")
    given = words.parse_args()
    if given.draw:
        redraw()
        return
    if given.data is None:
        words.error("--data: is missing")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            lines.append(measured(name, given, Path(folder)))
            print(*astuple(lines[-1]), sep="  ", file=sys.stderr, flush=True)
            if given.write:
                keep(lines[-1])
                redraw()
    print(drawn(lines))


if __name__ == "__main__":
    main()
