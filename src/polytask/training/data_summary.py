"""`data.json`: what a run was trained on, for its report, and for a resume to find the same data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polytask.config import Run
from polytask.core.errors import RunError
from polytask.core.json_files import as_written, read_json
from polytask.core.processes import Processes
from polytask.core.run_folder import RunFolder
from polytask.data.arrow_records import HUB
from polytask.data.dataset import TaskData, class_counts
from polytask.data.python_records import PYTHON
from polytask.data.reading import content_key
from polytask.training.artifacts import histogram
from polytask.training.build import Built, run_cache

# Lines of refused rows that are kept of a split.
_REFUSED = 100


def data_summary(built: Built) -> dict[str, Any]:
    """Return the rows and label counts of every split, and the hash of the content of its file."""
    summary: dict[str, Any] = {}
    for name, data in built.data.items():
        summary[name] = {split: {"file": part.file, "content": part.rows.table.content, "rows": len(part),
                                 "refused": [list(refusal) for refusal in part.rows.refused[:_REFUSED]],
                                 "counts": class_counts(part.targets, data.labels),
                                 "histogram": histogram(data.labels, part.targets)
                                 if data.labels.is_regression else None}
                         for split, part in data.splits.items()}
    return summary


def agreed_summary(built: Built, processes: Processes) -> dict[str, Any]:
    """Return the data summary; raise `RunError` where a process has other data or another encoder.

    The weights are not compared: all start from those of process 0.
    """
    summary = data_summary(built)
    rows = {name: {split: f"{part['rows']} rows, hash {_short(part['content'])}, {Path(part['file']).name}"
                   for split, part in splits.items()}
            for name, splits in summary.items()}
    tokenizer = _short(content_key(built.tokenizer, run_cache(built.run)))
    shapes = {name: list(weight.shape) for name, weight in built.model.state_dict().items()}
    encoder = {"tokenizer": f"{built.tokenizer.name}, hash {tokenizer}", "weights": shapes}
    processes.refuse_differences("the files", {"tasks": rows, "encoder": encoder})
    return summary


def _short(content: str | None) -> str:
    """Return the part of a hash that a message shows."""
    return (content or "unknown")[:12]


def refuse_changed_files(run: Run, folder: RunFolder) -> None:
    """Raise `RunError` for a file that is not what the run has been trained on so far.

    Files that are gone, and data sets of the hub, are left to the reading of the data.
    """
    cache = run_cache(run)
    for file, content in set(_held(folder)):
        here = not file.startswith((HUB, PYTHON)) and Path(file).is_file()
        if here and content_key(Path(file), cache) != content:
            raise _changed(file)


def refuse_changed_data(built: Built, folder: RunFolder) -> None:
    """Raise `RunError` where the data that were read are not what the run has been trained on so far."""
    now = {part.file: part.rows.table.content for data in built.data.values()
           for part in data.splits.values()}
    for file, content in _held(folder):
        if now.get(file, content) != content:
            raise _changed(file)


def changed_notes(path: Path, data: Mapping[str, TaskData], split: str) -> Iterator[str]:
    """Yield a sentence for each task whose file of the split is not what it was in the training."""
    folder = RunFolder(path)
    known = dict(_recorded(folder)) if folder.data.is_file() else {}
    for name, task in data.items():
        part = task.splits.get(split)
        if part is not None and known.get(part.file, part.rows.table.content) != part.rows.table.content:
            yield (f"{name} {split}: {part.file} has changed since the training, so its scores are of "
                   "other rows than those of then")


def _changed(file: str) -> RunError:
    return RunError(f"{file}: has changed since this run began; give another --out, or put the file back "
                    "as it was")


def _held(folder: RunFolder) -> Iterator[tuple[str, str]]:
    """Yield each file that the checkpoint of a run was trained on, with the hash of its content then."""
    if not folder.checkpoint.is_dir() or not folder.data.is_file():
        return
    remedy = ", so it is not known whether the data are what the run began with; give another --out"
    yield from _recorded(folder, remedy)


def _recorded(folder: RunFolder, remedy: str = "") -> Iterator[tuple[str, str]]:
    """Yield each file that `data.json` names, with the hash of its content."""
    with as_written(folder.data, remedy=remedy):
        for splits in read_json(folder.data).values():
            for part in splits.values():
                if part.get("content"):
                    yield str(part["file"]), str(part["content"])
