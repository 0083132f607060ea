"""The kinds of errors crossed with the true class."""

from __future__ import annotations

from polytask.report.error_categories import by_true_class
from polytask.report.record import RunRecord
from polytask.report.sections.contract import by_task, note, section, soft, table

# Classes of a table at most: the confusion shows more of them better.
CLASSES = 12


@section("error-kinds", "Errors by true class", 102)
def error_kinds(run: RunRecord) -> str:
    """Count each kind of error of each true class, as triple-threat's Table 17 has them (T-38, T-46)."""
    parts: list[tuple[str, str]] = []
    for task in run.tasks.values():
        labels = task.labels
        if labels is None or labels.kind in ("regression", "multi-label") or len(labels.classes) > CLASSES:
            continue
        if task.dev is None:
            parts.append((task.name, note(run.no_dev(task))))
            continue
        counts = by_true_class(task.dev, labels)
        rows = [[kind, *map(str, by_class), str(sum(by_class))] for kind, by_class in counts.items()]
        parts.append((task.name, table(["kind of error", *labels.classes, "all"], rows) if rows
                      else soft("No row is wrong.")))
    return by_task(parts, named=True) if parts else note(f"No task has two to {CLASSES} classes.")
