"""`polytask export`: a trained model as files for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polytask.commands.evaluate import run_settings
from polytask.core.errors import ConfigError, nearest
from polytask.core.output_files import refuse_as_output
from polytask.core.paths import RunPaths
from polytask.core.progress import progress
from polytask.core.user_modules import trusting
from polytask.data.cache import Cache
from polytask.data.dataset import DatasetStore, Split
from polytask.data.reading import Columns, select
from polytask.data.tokenization import Tokenizer
from polytask.export.onnx_folder import CHECK_ROWS, export_onnx, refuse_taken
from polytask.export.sentence_transformers import export_sentence_transformers
from polytask.export.transformers import export_transformers
from polytask.model.hub import fetched_model, is_address
from polytask.tasks.model_folder import ModelFolder, load_model, required_model_folder
from polytask.tasks.resolved_task import ResolvedTask
from polytask.training.build import read_data

FORMATS = ("onnx", "transformers", "sentence-transformers")


def export(run: str | Path, to: str = "onnx", out: str | Path | None = None, task: str | None = None,
           int8: bool = False, check: str | Path | None = None, rows: int = CHECK_ROWS,
           quiet: bool = True, trust: bool = False) -> list[str]:
    """Write a run's best model for other programs; return the report, one sentence per line.

    run: a run, a model folder, or "hf://user/name[@revision]", which needs `out` and `check`. to: "onnx"
    (all tasks in one graph), "transformers" (one task as a sequence classifier) or "sentence-transformers"
    (the embeddings, or one task as a CrossEncoder). check: a file whose rows are compared; absent, the
    run's dev rows. rows: of each task, at most. trust: import the modules that the folder names for
    custom components.

    Raises `ConfigError`, and writes nothing, where the result would not answer as the model does.
    """
    if to not in FORMATS:
        raise ConfigError(f'--to: found "{to}", expected {", ".join(FORMATS[:-1])} or {FORMATS[-1]}'
                          f"{nearest(to, FORMATS)}")
    if int8 and to != "onnx":
        raise ConfigError("--int8: belongs to --to onnx; other formats are in float32")
    if rows < 1:
        raise ConfigError(f"--rows: found {rows}, expected 1 or more")
    place = None if out is None else Path(out)
    if place is not None:
        refuse_as_output(place)
    refuse_taken(place)
    if is_address(run):
        if place is None:
            raise ConfigError(f"--out: is missing; {run} is a download, which is read-only")
        run = fetched_model(str(run))
    source = required_model_folder(run)
    with trusting(trust):
        return _exported(Path(run), source, to, place, task, int8, None if check is None else Path(check),
                         rows, quiet)


def _exported(run: Path, source: Path, to: str, place: Path | None, task: str | None, int8: bool,
              check: Path | None, rows: int, quiet: bool) -> list[str]:
    loaded = load_model(source)
    splits = check_rows(run, loaded, check, quiet)
    if to == "onnx":
        with progress("exporting", quiet=quiet):
            checks = export_onnx(loaded, source, place, int8, splits, rows)
        lines = [line for each in checks for line in each.lines()]
        return [*lines, f"written: {place or source}"]
    if place is None:
        raise ConfigError(f"--out: is missing; --to {to} writes a folder of its own")
    chosen = _task(loaded, to, task, splits)
    if to == "sentence-transformers":
        return export_sentence_transformers(loaded, source, chosen, place, splits, rows)
    assert chosen is not None
    return export_transformers(loaded, chosen, place, splits[chosen.name], rows)


def _task(loaded: ModelFolder, to: str, name: str | None, splits: dict[str, Split]) -> ResolvedTask | None:
    """Return the requested task; None for the embeddings."""
    if name is None and to == "sentence-transformers":
        return None
    if name is None or name not in loaded.tasks:
        problem = "is missing" if name is None else f'"{name}" is not a task'
        raise ConfigError(f"--task: {problem}; expected one of {', '.join(loaded.tasks)}"
                          + ("" if name is None else nearest(name, loaded.tasks)))
    if name not in splits or not len(splits[name]):
        columns = ", ".join(loaded.tasks[name].text)
        raise ConfigError(f"--check: has no rows of {name}; expected the columns {columns}")
    return loaded.tasks[name]


def check_rows(run: Path, loaded: ModelFolder, check: Path | None, quiet: bool) -> dict[str, Split]:
    """Return the rows to compare answers on: those of a file, or the run's own dev splits."""
    if check is not None:
        return dict(_file_rows(check, loaded))
    if not RunPaths(run).config.is_file():
        raise ConfigError(f"{run}: is a model without its data, so it has no rows to compare "
                          "answers on; name a file with --check")
    config = run_settings(RunPaths(run).config, ())
    data = read_data(config, loaded.tokenizer, quiet, only=loaded.tasks)
    return {name: each.dev for name, each in data.items()}


def _file_rows(file: Path, loaded: ModelFolder) -> Iterator[tuple[str, Split]]:
    """Yield the rows of a file for each task whose columns it has."""
    store = DatasetStore(Tokenizer(loaded.tokenizer), Path(), Cache())
    table = store.table(str(file.absolute()), "--check")
    for name, task in loaded.tasks.items():
        if all(column in table.columns for column in task.text):
            label = task.label if task.label in table.columns else None
            rows = select(table, Columns(task.text, label), "--check")
            yield name, store.split(file.name, rows, task.labels)
