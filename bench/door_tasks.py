"""The run of bench/doors.py: seven tasks of different pairing, pooling, head and labels; their files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SICK = ("relatedness", "entailment", "direction")


def table_of(root: Path, checkpoint: str, max_length: int, steps: int, rows: int) -> dict[str, Any]:
    """Return the config of a run with a task of every kind; its files are those of `real_files`."""
    pair, lean = {"text": ["a", "b"]}, {"head": "linear", "pooling": "cls"}
    tasks: dict[str, dict[str, Any]] = {
        "sentiment": {"file": "reviews", "text": "text", "kind": "ordinal"},
        "film": {"file": "films", "text": "text", "kind": "binary", **lean},
        "question": {"file": "questions", **pair, "kind": "binary", "head": {"type": "mlp", "hidden": 64}},
        "similarity": {"file": "similar", **pair, "range": [0, 5], "pairing": "bi_encoder",
                       "head": "cosine"},
        "relatedness": {"file": "sick", **pair, "range": [1, 5], **lean},
        "entailment": {"file": "sick", **pair, "kind": "classes", "pairing": "bi_encoder"},
        "direction": {"file": "sick", **pair, "kind": "multi-label", **lean},
    }
    for name, task in tasks.items():
        file = task.pop("file")
        task |= {"train": f"{file}-train.csv", "dev": f"{file}-dev.csv", "label": name, "limit": 10 * rows,
                 "dev_limit": rows}
    return {"data": {"root": str(root), "max_length": max_length},
            "encoder": {"checkpoint": checkpoint, "pooling": "mean"}, "tasks": tasks,
            "train": {"max_steps": steps, "batch_size": 8,
                      "optimizer": {"lr": 1e-4, "head_lr": 1e-3}}}


def real_files(data: Path, folder: Path) -> None:
    """Write the files of `table_of` from the real data sets."""
    for split in ("train", "dev"):
        for name, source, columns, named in (
                ("reviews", f"ids-sst-{split}", ("sentence", "sentiment"), ("text", "sentiment")),
                ("films", f"ids-cfimdb-{split}", ("sentence", "sentiment"), ("text", "film")),
                ("questions", f"quora-{split}", ("sentence1", "sentence2", "is_duplicate"),
                 ("a", "b", "question")),
                ("similar", f"sts-{split}", ("sentence1", "sentence2", "similarity"),
                 ("a", "b", "similarity"))):
            rows = _read(data / f"{source}.csv")
            write_rows(folder / f"{name}-{split}.csv", named,
                       ([row[column] for column in columns] for row in rows if row[columns[-1]]))
    for split, part in (("train", "TRAIN"), ("dev", "TRIAL")):
        rows = [row for row in _read(data / "extra" / "sick2014.csv") if row["SemEval_set"] == part]
        write_rows(folder / f"sick-{split}.csv", ("a", "b", *SICK), (
            [row["sentence_A"], row["sentence_B"], row["relatedness_score"], row["entailment_label"],
             f"{row['entailment_AB']}|{row['entailment_BA']}"] for row in rows))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
