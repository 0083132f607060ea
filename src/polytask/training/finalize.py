"""The end of a training: the best model scored on every split, its predictions written."""

from __future__ import annotations

import time
from typing import Any

import torch

from polytask.config import Run
from polytask.core.atomic_files import write_file, write_json
from polytask.core.run_folder import RunFolder
from polytask.evaluation.evaluate import Evaluation, evaluate, true_labels
from polytask.inference.records import RecordWriter, records
from polytask.tasks.model_folder import load_model
from polytask.training.artifacts import keep_quietly
from polytask.training.build import Built


def finish(run: Run, built: Built, folder: RunFolder, cost: dict[str, float],
           known: Evaluation | None = None) -> Evaluation:
    """Score the best model on dev (and test), write predictions and `results.json`.

    `cost` (seconds, tokens, peak memory) is kept with the results. `known` is the dev evaluation of
    the best model where this process made it; a resumed run scores the saved model again.
    """
    results: dict[str, Any] = {}
    best = load_model(folder.model)
    model = best.model.to(next(built.model.parameters()).device)
    found = {"dev": known} if known else {}
    for split in ("dev", "test"):
        if not any(split in each.splits for each in built.data.values()):
            continue
        if split not in found:
            found[split] = evaluate(model, built.tasks, built.data, split, run.train.score,
                                    thresholds=best.thresholds)
        evaluation = found[split]
        write_predictions(built, evaluation, split, folder)
        results[split] = {"scores": evaluation.scores, "score": evaluation.score,
                          "overall": evaluation.overall, "rows": evaluation.rows,
                          "notes": list(evaluation.notes)}
    keep_quietly(built, model, folder)
    results |= cost
    results |= {"seed": run.seed, "torch": torch.__version__, "threads": torch.get_num_threads(),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%S")}
    write_json(folder.results, results)
    return found["dev"]


def write_predictions(built: Built, evaluation: Evaluation, split: str, folder: RunFolder) -> None:
    """Write predictions/<task>-<split>.csv for the tasks that were scored."""
    for name, decision in evaluation.decisions.items():
        task, part = built.tasks[name], built.data[name].splits[split]
        true = None if part.targets is None else true_labels(task, part).tolist()
        rows = records(task, decision, part.texts(), part.ids or None, true)
        writer = RecordWriter("csv", task, true is not None)
        write_file(folder.answers(name, split), writer.text(rows))
