"""`polytask show`: the settings and scores of a run, from its folder alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from polytask.core.events import read_events
from polytask.core.json_files import as_written
from polytask.core.results_file import read_results
from polytask.core.run_folder import RunFolder
from polytask.core.toml import read_toml
from polytask.data.label_cells import label_columns
from polytask.evaluation.evaluate import Evaluation


def show_run(path: Path, config: bool = False) -> Iterator[str]:
    """Yield the settings of a run, the notes from its start, and its scores."""
    folder = RunFolder.open(path)
    if config:
        with as_written(folder.config):
            text = folder.config.read_text(encoding="utf-8").rstrip()
        yield text
        return
    with as_written(folder.config):
        yield from _told(folder, read_toml(folder.config))
    if not folder.results.is_file():
        yield f"not finished; resume with: polytask train CONFIG --out {quote(str(path))} --resume"
        return
    results = read_results(folder.results)
    with as_written(folder.results):
        yield from _scores(results)
        yield f"finished {results['finished']}; the full config: polytask show {quote(str(path))} --config"


def _told(folder: RunFolder, table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the facts of a run's own config, without resolving its components."""
    count = len(table["tasks"])
    yield (f"{folder.path}: {count} task{'s' * (count > 1)} from {table['encoder']['checkpoint']}, "
           f"seed {table['seed']}")
    yield from (f"note: {sentence}" for sentence in _notes(folder))
    for name, task in table["tasks"].items():
        yield f"  {name}: {', '.join(task['text'])} -> {', '.join(label_columns(task['label']))}"


def _scores(results: dict[str, Any]) -> Iterator[str]:
    for split in ("dev", "test"):
        if split in results:
            part = results[split]
            yield str(Evaluation(split, part["scores"], part["score"], part["overall"],
                                 part["rows"], positives=part.get("positives", {}),
                                 notes=tuple(part["notes"])))


def _notes(folder: RunFolder) -> list[str]:
    """Return the notes from the start of training: rows left out, guesses, tasks that are never drawn."""
    if not folder.events.is_file():
        return []
    with as_written(folder.events):
        start = next((event for event in read_events(folder.events) if event["event"] == "start"), {})
        return [str(sentence) for sentence in start.get("notes", [])]
