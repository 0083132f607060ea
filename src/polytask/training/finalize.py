"""The end of a training: the best model scored on every split, its predictions written."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from polytask.config import Run
from polytask.core.atomic_files import write_file, write_json
from polytask.core.events import read_events
from polytask.core.processes import ALONE, Processes
from polytask.core.progress import Progress
from polytask.core.run_folder import RunFolder
from polytask.data.dataset import Split
from polytask.data.decisions import Threshold
from polytask.evaluation.baseline import Baseline
from polytask.evaluation.evaluate import Evaluation, evaluate, true_labels
from polytask.evaluation.linear_baseline import beaten_notes
from polytask.inference.forward import forward_rows
from polytask.inference.records import RecordWriter, records, true_cells
from polytask.model.multitask import MultiTask
from polytask.tasks.model_folder import load_model
from polytask.tasks.resolved_task import ResolvedTask
from polytask.training.artifacts import keep_quietly
from polytask.training.build import Built
from polytask.training.machine import machine


def finish(run: Run, built: Built, folder: RunFolder, cost: dict[str, float],
           known: Evaluation | None = None,
           baselines: Mapping[str, Sequence[Baseline]] | None = None,
           processes: Processes = ALONE, progress: Progress | None = None) -> Evaluation:
    """Score the best model on dev (and test), write predictions and `results.json`.

    Several processes share the scoring, and one of them writes.
    `cost` (seconds, tokens, peak memory) is kept with the results. `known` is the dev evaluation of
    the best model where this process made it; a resumed run scores the saved model again. `baselines`
    are what simple answers score on dev; a note says which of them beat the model.
    """
    processes.barrier()  # until the model is written
    untrained = untrained_notes(built, folder)
    results: dict[str, Any] = {"notes": [*built.training_notes, *untrained]}
    best = load_model(folder.model)
    device = next(built.model.parameters()).device
    model = best.model.to(device)
    evaluations = {"dev": known} if known else {}
    for split in ("dev", "test"):
        if not any(split in each.splits for each in built.data.values()):
            continue
        if split not in evaluations:
            evaluations[split] = evaluate(model, built.tasks, built.data, split, run.train.score,
                                          thresholds=best.thresholds, progress=progress,
                                          processes=processes)
        evaluation = evaluations[split]
        beaten = beaten_notes(built.tasks, evaluation.scores, baselines or {}) if split == "dev" else []
        evaluation = replace(evaluation, notes=(*evaluation.notes, *untrained, *beaten))
        evaluations[split] = evaluation
        write_predictions(built, model, evaluation, best.thresholds, folder, processes, progress)
        if not evaluation.scores:
            continue  # a test split without labels is predicted, not scored
        results[split] = {"scores": evaluation.scores, "score": evaluation.score,
                          "overall": evaluation.overall, "rows": evaluation.rows,
                          "positives": evaluation.positives, "notes": list(evaluation.notes)}
    if not processes.writes:
        return evaluations["dev"]
    keep_quietly(built, model, folder)
    if baselines:
        results["baselines"] = {name: [asdict(each) for each in several]
                                for name, several in baselines.items()}
    results |= cost | {"processes": processes.world}
    results |= {"seed": run.seed, "machine": machine(device.type), "torch": torch.__version__,
                "threads": torch.get_num_threads(), "finished": time.strftime("%Y-%m-%dT%H:%M:%S")}
    write_json(folder.results, results)
    return evaluations["dev"]


def untrained_notes(built: Built, folder: RunFolder) -> list[str]:
    """Return a note for the tasks without an update in the events of a run."""
    trained = {task for event in read_events(folder.events) if event["event"] == "step"
               for task in event["rows"]}
    planned = {task for phase in built.run.train.resolved() for task in phase.tasks or built.tasks}
    return [f"{name} got no update in this training: its head is as it was at the start, and so is its "
            "score"
            for name in built.tasks if name in planned - trained]


def write_predictions(built: Built, model: MultiTask, evaluation: Evaluation,
                      thresholds: Mapping[str, Threshold], folder: RunFolder,
                      processes: Processes = ALONE, progress: Progress | None = None) -> None:
    """Write predictions/<task>-<split>.csv: all rows of the split, whether they have a label or not."""
    for name, task in built.tasks.items():
        data, split = built.data[name], evaluation.split
        part, decision = data.splits.get(split), evaluation.decisions.get(name)
        if part is None:
            continue
        whole = data.predicted.get(split, part)
        if decision is None or whole is not part:
            outputs = forward_rows(model, task, whole, progress=progress, processes=processes)
            decision = outputs.decide(task, thresholds.get(name))
        if not processes.writes:
            continue
        true = _true_cells(task, part, whole)
        rows = records(task, decision, whole.texts(), whole.ids or None, true)
        writer = RecordWriter("csv", task, true is not None)
        write_file(folder.prediction_file(name, split), writer.text(rows))


def _true_cells(task: ResolvedTask, part: Split, whole: Split) -> list[str] | None:
    """Return the right labels of the rows of `whole`, "" for those without; None if there are none."""
    if part.targets is None:
        return None
    cells = true_cells(task.labels, true_labels(task, part).tolist())
    if task.labels.is_regression:  # as the file has them, where that is a number as it stands
        cells = [raw if is_number(raw) else cell for raw, cell in zip(part.raw_labels, cells, strict=True)]
    known = dict(zip(part.rows.index.tolist(), cells, strict=True))
    return [known.get(row, "") for row in whole.rows.index.tolist()]


def is_number(text: str) -> bool:
    """Whether a label is a number as Python writes them."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
