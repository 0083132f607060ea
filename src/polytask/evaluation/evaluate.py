"""Evaluation: a model and a split → the metrics of every task, and one number over all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polytask.core.frames import data_frame, html_lines, html_table
from polytask.core.processes import ALONE, Processes
from polytask.core.progress import Progress
from polytask.data.dataset import Split, TaskData
from polytask.data.decisions import Decision, Threshold
from polytask.data.splits import spread
from polytask.inference.forward import RowOutputs, forward_rows
from polytask.metrics import METRICS, check_formula, has_value, measure, overall, shown_scores
from polytask.metrics.registry import Array
from polytask.model.heads.decisions import fit_f1_threshold, fit_threshold
from polytask.model.multitask import MultiTask
from polytask.tasks.resolved_task import ResolvedTask

# Training rows that a threshold is fitted on, at most.
THRESHOLD_ROWS = 2000

Scores = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """The scores of one split. Printed, it is a table."""

    split: str
    scores: Scores
    score: float                     # what the formula of the run says
    overall: dict[str, float]        # that score by its name, and "mean" where it is another number
    rows: dict[str, int]
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict, repr=False)
    positives: dict[str, str] = field(default_factory=dict)  # the positive class of each binary task
    notes: tuple[str, ...] = ()

    def main(self) -> dict[str, float]:
        """Return each task's own score, in [0, 1], larger being better."""
        score_by_task = {}
        for task, values in self.scores.items():
            name, value = next(iter(values.items()))
            score_by_task[task] = METRICS[name].unit(value if isinstance(value, float) else 0.0)
        return score_by_task

    def summary(self) -> str:
        """Return one line: each task's first metric and the score."""
        parts = []
        for task, values in self.scores.items():
            name, value = next(iter(values.items()))
            parts.append(f"{task} {name} {shown(value)}")
        return f"{self.split} {'  '.join(parts)}  score {self.score:.4f}"

    def to_json(self) -> str:
        return json.dumps({"split": self.split, "rows": self.rows, "scores": self.scores,
                           "score": self.score, "overall": self.overall,
                           "thresholds": self.thresholds, "positives": self.positives,
                           "notes": list(self.notes)}, indent=2)

    def __str__(self) -> str:
        lines = [f"{'task':<16}{'rows':>8}  scores on {self.split}"]
        for task, values in self.scores.items():
            numbers = "  ".join(f"{name} {shown(value)}" for name, value in values.items()
                                if not isinstance(value, Mapping))
            lines.append(f"{task:<16}{self.rows[task]:>8}  {numbers}")
            if task in self.positives:
                lines.append(f'{"":<26}positive class: "{self.positives[task]}"')
            for metric, by_label in values.items():
                if isinstance(by_label, Mapping):
                    name = f"{metric.removeprefix('per_label_')} per label"
                    lines.append(f"{'':<26}{name}: " + "  ".join(
                        f"{label} {shown(value)}" for label, value in by_label.items()))
        marks = "  ".join(f"{name} {value:.4f}" for name, value in self.overall.items())
        lines.append(f"{'overall':<26}{marks}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        return html_table(["task", "rows", "metric", self.split], [
            [str(row["task"]), f"{row['rows']:,}", str(row["metric"]), shown(row["value"])]
            for row in self._records()]) + html_lines(
                [", ".join(f"{name} {value:.4f}" for name, value in self.overall.items()), *self.notes])

    def to_pandas(self) -> Any:
        """Return a data frame, one row per task and metric (and label): task, rows, metric, value."""
        return data_frame(list(self._records()))

    def _records(self) -> Iterator[dict[str, Any]]:
        for task, values in self.scores.items():
            for metric, value in values.items():
                several = value if isinstance(value, Mapping) else {None: value}
                for label, number in several.items():
                    name = metric if label is None else f"{metric} of {label}"
                    yield {"task": task, "rows": self.rows[task], "metric": name, "value": number}


def shown(value: Any) -> str:
    """Return a score with four digits, a dash for one that is not defined."""
    return "–" if value is None else f"{value:.4f}"


def evaluate(model: MultiTask, tasks: Mapping[str, ResolvedTask], data: Mapping[str, TaskData],
             split: str, formula: str, rows: int | None = None,
             thresholds: Mapping[str, Threshold] | None = None,
             progress: Progress | None = None, processes: Processes = ALONE) -> Evaluation:
    """Score a model on the labelled rows of a split; `rows` bounds their number.

    `thresholds` are taken as given; absent, those that a head wants are fitted on training rows. Several
    processes share the rows, and each returns the whole evaluation.
    """
    scores: Scores = {}
    counts, decisions, notes = {}, {}, []
    fitted = {name: cut for name, cut in (thresholds or {}).items() if name in tasks}
    for name, task in tasks.items():
        part = data[name].splits.get(split)
        if part is None or part.targets is None:
            notes.append(f"{name} has no labelled {split} rows")
            continue
        if isinstance(task.threshold, str) and split == "dev":
            if name not in fitted and (untuned := _not_tuned(task, part.targets)):
                notes.append(untuned)
            notes.append(f"{name}: its threshold was tuned on the dev rows of the training, so scores on "
                         "them flatter it")
        chosen = spread(len(part), rows)
        outputs = forward_rows(model, task, part, chosen, progress, processes)
        of_dev = outputs if split == "dev" and len(chosen) == len(part) else None
        if name not in fitted and (fitted_threshold := threshold(model, task, data[name], processes,
                                                                   of_dev)) is not None:
            fitted[name] = fitted_threshold
        decision = outputs.decide(task, fitted.get(name))
        measured = measure(task.metrics, decision.labels, true_labels(task, part)[chosen], task.labels,
                           decision.scores, decision.probabilities)
        scores[name], counts[name], decisions[name] = measured.values, len(chosen), decision
        notes += [f"{name}: {note}" for note in measured.notes]
    positives = {name: positive for name in scores if (positive := tasks[name].labels.positive) is not None}
    names = {name: list(values) for name, values in scores.items()}
    if scores and (mistake := check_formula(formula, names)):
        # Other splits may lack the labels of a task that the run's score is made of.
        notes.append(f"{mistake}; on {split} the overall score is the default one")
        formula = "default"
    if scores and not has_value(formula, scores):
        notes.append(f'"{formula}" divides by zero on {split} and counts as 0 there')
    return Evaluation(split, scores, overall(formula, scores) if scores else 0.0,
                      overalls(formula, scores), counts, fitted, decisions,
                      positives, tuple(notes))


def overalls(formula: str, scores: Scores) -> dict[str, float]:
    """Return the overall scores to show, by name: the run's own first."""
    names = {task: list(values) for task, values in scores.items()}
    return {name: overall(name, scores) for name in shown_scores(formula, names)} if scores else {}


def true_labels(task: ResolvedTask, split: Split) -> Array:
    """Return the right answers in the labels' own terms: classes as indices, numbers unscaled."""
    assert split.targets is not None
    if not task.labels.is_regression:
        return split.targets
    return np.asarray(task.labels.unscaled(split.targets.astype(np.float64)))


def threshold(model: MultiTask, task: ResolvedTask, data: TaskData, processes: Processes = ALONE,
              of_dev: RowOutputs | None = None) -> Threshold | None:
    """Return a task's threshold: as its settings say, tuned on its dev rows, or fitted for its head.

    of_dev: what the model makes of all dev rows, if that is known already.

    "tuned" is the best F1 on the dev rows, "accuracy" the best accuracy there, class by class; a head that
    wants one has it fitted on (at most 2,000 of) the training rows. None: the head's own 0.5.
    """
    if isinstance(task.threshold, float):
        return task.threshold
    if task.threshold is not None:
        fit = fit_f1_threshold if task.threshold == "tuned" else fit_threshold
        dev = data.dev
        assert dev.targets is not None
        outputs = of_dev or forward_rows(model, task, dev, processes=processes)
        scores = outputs.decide(task, None).scores
        if scores.ndim == 1:
            return fit(scores, dev.targets, *_ends(task))
        return [fit(*pair) for pair in zip(scores.T, dev.targets.T, strict=True)]
    return _fitted(model, task, data.train, processes) if task.head.thresholded(task.labels) else None


def _fitted(model: MultiTask, task: ResolvedTask, train: Split, processes: Processes) -> float:
    assert train.targets is not None
    rows = spread(len(train), THRESHOLD_ROWS)
    outputs = forward_rows(model, task, train, rows, processes=processes)
    return fit_threshold(outputs.output.field("score").double().numpy(), train.targets[rows], *_ends(task))


def _ends(task: ResolvedTask) -> tuple[float, float | None]:
    """Return the lowest score of a task, and its threshold without tuning; cosines have none."""
    return (-1.0, None) if task.head.thresholded(task.labels) else (0.0, 0.5)


def _not_tuned(task: ResolvedTask, targets: Array) -> str:
    """Return a note on labels for which the dev rows tune no threshold, or ''."""
    columns, names = (targets[:, None], ()) if targets.ndim == 1 else (targets, task.labels.classes)
    alike = [not column.any() or (task.threshold == "accuracy" and column.all()) for column in columns.T]
    if not any(alike) or task.head.thresholded(task.labels):
        return ""
    of = [f' of "{name}"' for name, same in zip(names, alike, strict=False) if same] or [""]
    return f"{task.name}: its dev rows have one answer alone, so the threshold{', '.join(of)} stays at 0.5"
