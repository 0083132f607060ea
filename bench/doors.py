"""One run behind every door: the largest difference from `pk.load` on real rows, task by task.

    python bench/doors.py --data DATA [--rows 200] [--steps 60] [--no-write]

Trains MiniLM briefly on seven real tasks that differ in pairing, pooling, head and labels; then asks every
door for the same rows: `polytask predict`, the exported graphs, transformers, sentence-transformers, HTTP,
asyncio and scikit-learn's names. The table goes between the lines `<!-- doors -->` of docs/serving.md.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import json
import logging
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from door_tasks import real_files, table_of, write_rows
from machine import heading, table
from numpy.typing import NDArray
from page import placed

import polytask as pk
from polytask.commands.predict import predict_file
from polytask.core.errors import ConfigError
from polytask.data.decisions import Decision
from polytask.inference.contract import AnswerableTask
from polytask.inference.predictor import Model
from polytask.model.heads.cosine import Cosine
from polytask.serve.app import create_app
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings
from polytask.serve.torch_engine import TorchEngine

PAGE = Path(__file__).parent.parent / "docs" / "serving.md"
EMBEDDING = "embedding"
_BATCH = 32

Doubles = NDArray[np.float64]
Texts = list[Any]


@dataclass(frozen=True)
class Numbers:
    """A door's answers of a task: (rows, classes) probabilities, or (rows, 1) scores; and its labels."""

    values: Doubles
    labels: list[Any] | None = None
    clipped: bool = False
    """Whether a score is cut off at the ends of its range and rounded to four digits."""


# ---- the doors: each gives a task's numbers, or a sentence why it is closed


class Doors:
    """Every door of one run."""

    def __init__(self, run: Path, folder: Path, rows: int) -> None:
        self.run, self.folder = run, folder
        self.model: Model = pk.load(run)
        root = Path(pk.Run.from_toml(run / "config.toml").data.root)
        config = pk.Run.from_toml(run / "config.toml")
        self.texts: dict[str, Texts] = {}
        self.files: dict[str, Path] = {}
        for name, task in self.model.tasks.items():
            with (root / str(config.tasks[name].dev)).open(newline="", encoding="utf-8") as file:
                found = [[row[column] for column in task.text] for row in csv.DictReader(file)][:rows]
            self.texts[name] = [row[0] if len(row) == 1 else tuple(row) for row in found]
            self.files[name] = folder / f"{name}.csv"
            write_rows(self.files[name], task.text, found)
        self.single = next(texts for name, texts in self.texts.items() if len(self.task(name).text) == 1)

    def task(self, name: str) -> AnswerableTask:
        return self.model.tasks[name]

    def all(self) -> dict[str, Callable[[str], Numbers | str]]:
        """Return the doors by name; each takes a task, or `EMBEDDING`."""
        pk.export(self.run, "onnx", int8=True, rows=32)
        graphs = {engine: pk.load(self.run, engine=engine) for engine in ("onnx", "int8")}
        served = self._client(pk.load(self.run))
        return {
            '`pk.load(run, engine="onnx")`': lambda task: self.loaded(graphs["onnx"], task),
            '`pk.load(run, engine="int8")`': lambda task: self.loaded(graphs["int8"], task),
            "`model.estimator(task)`": self.estimated,
            "`pk.AsyncModel`": self.asynchronous,
            "`polytask predict`, csv": lambda task: self.predicted(task, "csv"),
            "`polytask predict`, jsonl": lambda task: self.predicted(task, "jsonl"),
            "`--to transformers`": self.transformers,
            "`--to sentence-transformers`": self.sentence_transformers,
            "the model folder in sentence-transformers": self.model_folder,
            "HTTP `/predict`, `/embed`": lambda task: self.http(served, task),
            "HTTP `/predict`, `/embed` of text-embeddings-inference": lambda task: self.inference(
                served, task),
            "HTTP `/rerank`": lambda task: self.reranked(served, task),
            "HTTP `/v1/embeddings` (OpenAI)": lambda task: self.openai(served, task),
        }

    def reference(self, task: str) -> Numbers:
        """Return what torch answers."""
        return self.loaded(self.model, task)

    def loaded(self, model: Any, task: str) -> Numbers:
        if task == EMBEDDING:
            return Numbers(np.asarray(model.embed(self.single), np.float64))
        decision: Decision = model.decided(task, self.texts[task])
        values = decision.scores if decision.probabilities is None else decision.probabilities
        labels = [each.label for each in model.predict(task, self.texts[task])]
        return Numbers(np.asarray(values, np.float64).reshape(len(values), -1), labels)

    def estimated(self, task: str) -> Numbers | str:
        if task == EMBEDDING:
            return "a task's"
        made, texts = self.model.estimator(task), self.texts[task]
        if self.task(task).labels.is_regression:
            return Numbers(made.predict(texts)[:, None], clipped=True)
        return Numbers(made.predict_proba(texts))

    def asynchronous(self, task: str) -> Numbers | str:
        async def ask() -> Any:
            async with pk.AsyncModel(self.model) as model:
                if task == EMBEDDING:
                    return await model.embed(self.single)
                parts = [self.texts[task][k::4] for k in range(4)]
                found = await asyncio.gather(*(model.predict(task, part) for part in parts))
                return [each for row in itertools.zip_longest(*found) for each in row if each is not None]

        found = asyncio.run(ask())
        if task == EMBEDDING:
            return Numbers(np.asarray(found, np.float64))
        return Numbers(_matrix([each.probabilities or each.score for each in found]),
                       [each.label for each in found])

    def predicted(self, task: str, kind: str) -> Numbers | str:
        if task == EMBEDDING:
            return "labels and scores alone"
        out = self.folder / f"{task}-predicted.{kind}"
        predict_file(self.run, [task], self.files[task], out, kind, quiet=True)
        lines = out.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in lines.splitlines()] if kind == "jsonl" else list(
            csv.DictReader(lines.splitlines(keepends=True)))
        labels = ["" if row["prediction"] == "[]" else row["prediction"] for row in rows]
        given: list[Any] = [row.get("probabilities") or row["score"] for row in rows]
        values = _matrix([[float(each) for each in cell.split()] if isinstance(cell, str) else cell
                          for cell in given])
        if self.task(task).labels.kind == "binary":
            values = np.hstack([1 - values, values])
        return Numbers(values, labels)

    def transformers(self, task: str) -> Numbers | str:
        if task == EMBEDDING:
            return "a classifier"
        folder = self.folder / f"{task}-transformers"
        try:
            pk.export(self.run, "transformers", folder, task, rows=32)
        except ConfigError as error:
            return _reason(error)
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        parts = []
        for start in range(0, len(self.texts[task]), _BATCH):
            part = self.texts[task][start:start + _BATCH]
            columns = [part] if isinstance(part[0], str) else list(map(list, zip(*part, strict=True)))
            with torch.inference_mode():
                fed = tokenizer(*columns, padding=True, truncation=True, return_tensors="pt")
                parts.append(network(**fed).logits)
        logits, kind = torch.cat(parts), self.task(task).labels.kind
        shown = (logits if kind == "regression" else logits.sigmoid() if kind == "multi-label"
                 else logits.softmax(-1))
        return Numbers(shown.double().numpy())

    def sentence_transformers(self, task: str) -> Numbers | str:
        folder = self.folder / f"{task}-sentence-transformers"
        named = None if task == EMBEDDING else task
        try:
            pk.export(self.run, "sentence-transformers", folder, named, rows=32)
        except ConfigError as error:
            return _reason(error)
        from sentence_transformers import CrossEncoder, SentenceTransformer

        if task == EMBEDDING:
            return Numbers(_encoded(SentenceTransformer(str(folder), device="cpu"), self.single))
        labels = self.task(task).labels
        if isinstance(self.model.tasks[task].head, Cosine):
            opened = SentenceTransformer(str(folder), device="cpu")
            u, v = (_encoded(opened, [pair[k] for pair in self.texts[task]]) for k in (0, 1))
            cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
            return Numbers((labels.low + cosine * (labels.high - labels.low))[:, None])
        scores = CrossEncoder(str(folder), device="cpu").predict(self.texts[task])
        values = np.asarray(scores, np.float64).reshape(len(scores), -1)
        if labels.kind == "binary":
            return Numbers(np.hstack([1 - values, values]))
        return Numbers(values)

    def model_folder(self, task: str) -> Numbers | str:
        if task != EMBEDDING:
            return "no head of a task there"
        from sentence_transformers import SentenceTransformer

        opened = SentenceTransformer(str(self.model.folder), device="cpu")
        return Numbers(_encoded(opened, self.single))

    def _client(self, model: Model) -> Callable[[str, Mapping[str, Any]], Any]:
        from starlette.testclient import TestClient

        settings = ServeSettings(max_inputs=1000, max_queue=4000, log="none", timeout=600.0)
        client = TestClient(create_app(Service([TorchEngine(model, "run")], settings)))

        def post(route: str, body: Mapping[str, Any]) -> Any:
            answer = client.post(route, json=dict(body))
            assert answer.status_code == 200, answer.text
            return answer.json()

        return post

    def http(self, post: Callable[..., Any], task: str) -> Numbers | str:
        if task == EMBEDDING:
            return Numbers(np.array(post("/embed", {"texts": self.single})["embeddings"]))
        key = "texts" if isinstance(self.texts[task][0], str) else "pairs"
        rows = post("/predict", {key: self.texts[task], "tasks": [task]})["results"]
        found = [row[task] for row in rows]
        labels = ["|".join(each["label"]) if isinstance(each["label"], list) else each["label"]
                  for each in found]
        return Numbers(_matrix([each.get("probabilities") or each["score"] for each in found]), labels)

    def inference(self, post: Callable[..., Any], task: str) -> Numbers | str:
        if task == EMBEDDING:
            return Numbers(np.array(post("/embed", {"inputs": self.single, "normalize": False})))
        inputs = [[each] if isinstance(each, str) else each for each in self.texts[task]]
        rows = post("/predict", {"inputs": inputs, "tasks": task})
        classes = self.task(task).labels.classes
        tables = [{each["label"]: each["score"] for each in row} for row in rows]
        return Numbers(_matrix([[row[name] for name in classes] if classes else next(iter(row.values()))
                                for row in tables]))

    def reranked(self, post: Callable[..., Any], task: str) -> Numbers | str:
        if task == EMBEDDING:
            return "scores of pairs"
        kind = self.task(task).labels.kind
        if isinstance(self.texts[task][0], str) or kind not in ("binary", "regression"):
            return "needs pairs and two classes or numbers"
        scores = [post("/rerank", {"query": a, "documents": [b], "task": task})["results"][0]
                  ["relevance_score"] for a, b in self.texts[task]]
        values = np.array(scores)[:, None]
        return Numbers(np.hstack([1 - values, values]) if kind == "binary" else values)

    def openai(self, post: Callable[..., Any], task: str) -> Numbers | str:
        if task != EMBEDDING:
            return "embeddings alone"
        found = post("/v1/embeddings", {"model": "run", "input": self.single})["data"]
        length = np.linalg.norm(self.reference(EMBEDDING).values, axis=1, keepdims=True)
        return Numbers(np.array([each["embedding"] for each in found]) * length)  # of length 1 there


def _matrix(rows: Sequence[Any]) -> Doubles:
    return np.array([list(row.values()) if isinstance(row, dict) else np.atleast_1d(row) for row in rows],
                    dtype=np.float64)


def _encoded(model: Any, texts: Sequence[str]) -> Doubles:
    return np.asarray(model.encode(list(texts)), np.float64)


def _reason(error: Exception) -> str:
    """Return why a door is closed, without the task and the doors that are open."""
    said = str(error).split(": ", 1)[1]
    return re.split(r"; (?:--to|open to)", said)[0]


# ---- the table


@dataclass(frozen=True)
class Cell:
    """A door and a task: the largest difference and the labels that differ, or why the door is closed."""

    difference: float | None
    labels: int = 0
    reason: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return "–"
        labels = f", {self.labels} label{'s' * (self.labels != 1)}" if self.labels else ""
        return f"{self.difference:.0e}{labels}"


def matrix(doors: Doors) -> dict[str, dict[str, Cell]]:
    """Return door → task → cell; a score is compared in parts of its range, a logit as it is."""
    columns = [*doors.model.tasks, EMBEDDING]
    wanted = {task: doors.reference(task) for task in columns}
    return {name: {task: _cell(doors, task, door(task), wanted[task]) for task in columns}
            for name, door in doors.all().items()}


def _cell(doors: Doors, task: str, found: Numbers | str, want: Numbers) -> Cell:
    if isinstance(found, str):
        return Cell(None, reason=found)
    scale, values = 1.0, want.values
    if task != EMBEDDING and (labels := doors.task(task).labels).is_regression:
        scale = labels.high - labels.low
        values = np.clip(values, labels.low, labels.high) if found.clipped else values
    difference = float(np.abs(found.values - values).max()) / scale
    return Cell(difference, _changed(found.labels, want.labels, 1e-3 + scale * difference))


def _changed(found: list[Any] | None, want: list[Any] | None, slack: float) -> int:
    """Return how many labels differ; numbers, which are rounded, by more than their scores may."""
    if found is None or want is None:
        return 0
    return sum(abs(float(a) - float(b)) > slack if isinstance(b, float) else str(a) != str(b)
               for a, b in zip(found, want, strict=True))


def shown(cells: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return the table, and below it why doors are closed."""
    tasks = list(next(iter(cells.values())))
    reasons: dict[str, list[str]] = {}
    for door, row in cells.items():
        for task, cell in row.items():
            if cell.difference is None:
                reasons.setdefault(f"{door}: {cell.reason}", []).append(task)
    lines = [f"- {reason} ({', '.join(named)})" for reason, named in reasons.items()]
    return "\n".join([table(["door", *tasks], [[door, *map(str, row.values())]
                                               for door, row in cells.items()]),
                      "", "Closed (–):", "", *lines])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--rows", type=int, default=200)
    words.add_argument("--steps", type=int, default=60)
    words.add_argument("--no-write", action="store_true", help="print the table alone")
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        real_files(given.data, folder)
        run = pk.Run.from_table(table_of(folder, "minilm", 64, given.steps, given.rows))
        pk.train(run, folder / "run", quiet=True)
        said = "\n".join([
            heading("onnxruntime", "transformers", "sentence-transformers"), "",
            f"MiniLM, {given.steps} updates, {given.rows} real dev rows per task; largest absolute "
            "difference of a probability, a score (in parts of its range) or an element of a vector from "
            "what `pk.load(run)` answers, and how many labels differ. Rewrite it with `python "
            "bench/doors.py --data DATA`.", "", shown(matrix(Doors(folder / "run", folder, given.rows)))])
    print(f"{said}\n[{time.perf_counter() - began:.0f} s]")
    if not given.no_write:
        PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), "doors", said), encoding="utf-8")


if __name__ == "__main__":
    main()
