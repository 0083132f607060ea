"""The model card: what the model is, what it was trained on, how it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.core.settings import to_table
from polytask.evaluation.evaluate import Evaluation
from polytask.model.packaged import training_notes
from polytask.tasks.resolved_task import ResolvedTask

_TASK_TAGS = {"regression": "sentence-similarity"}


def card(checkpoint: str, tasks: Mapping[str, ResolvedTask], rows: Mapping[str, int],
         evaluation: Evaluation | None, notes: Sequence[str] = ()) -> str:
    """Return the README of a model folder, in Markdown with the hub's metadata."""
    names = ", ".join(tasks)
    lines = [*_metadata(checkpoint, tasks), f"# One encoder for {names}", "",
             f"Trained with polytask from `{checkpoint}`. The root of this folder is the encoder "
             "(`transformers.AutoModel.from_pretrained` opens it); `heads/` holds each task's own part. "
             "transformers' `pipeline` and `AutoModelForSequenceClassification` do not know "
             "`heads/`: they would answer from a random head. `polytask export RUN --to transformers "
             "--task TASK` writes a folder for them.", ""]
    for note in training_notes(checkpoint, tasks):
        lines += [note, ""]
    lines += [f"- {note}" for note in notes] + ([""] if notes else [])
    lines += ["| task | labels | pairing | head | loss | training rows | dev |",
              "|---|---|---|---|---|---|---|"]
    for name, task in tasks.items():
        scores = _scores(evaluation, name)
        lines.append(f"| {name} | {_labels(task)} | {_named(task.pairing)} | {_named(task.head)} | "
                     f"{', '.join(_named(loss) for loss in task.losses)} | {rows[name]} | {scores} |")
    first = next(iter(tasks))
    pair = len(tasks[first].text) > 1
    example = '[("First text.", "Second text.")]' if pair else '["A text."]'
    return "\n".join([*lines, "", "```python", "import polytask as pk", "",
                      'model = pk.load("this/folder")',
                      f'model.predict("{first}", {example})', "```", ""])


def _metadata(checkpoint: str, tasks: Mapping[str, ResolvedTask]) -> list[str]:
    tags = sorted({_TASK_TAGS.get(task.labels.kind, "text-classification") for task in tasks.values()})
    return ["---", "library_name: polytask", f'base_model: "{checkpoint}"',
            f"pipeline_tag: {tags[-1]}", "tags:", "- multi-task", *(f"- {tag}" for tag in tags),
            "---", ""]


def _labels(task: ResolvedTask) -> str:
    labels = task.labels
    if labels.is_regression:
        return f"{labels.low:g} to {labels.high:g}"
    shown = ", ".join(labels.classes[:6])
    return shown if labels.num_classes <= 6 else f"{shown}, … ({labels.num_classes})"


def _named(component: object) -> str:
    table = dict(to_table(component))
    return f"`{table['type']}`"


def _scores(evaluation: Evaluation | None, name: str) -> str:
    values = evaluation.scores.get(name, {}) if evaluation else {}
    return ", ".join(f"{key} {value:.4f}" for key, value in values.items()
                     if isinstance(value, float)) or "–"
