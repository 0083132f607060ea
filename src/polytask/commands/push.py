"""`polytask push`: a trained model on the hub, with a card of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polytask.commands.evaluate import run_settings
from polytask.core.errors import ConfigError, RunError
from polytask.core.json_files import read_json
from polytask.core.paths import RunPaths
from polytask.core.user_modules import trusting
from polytask.export.hub import hub_card, push_files, uploads
from polytask.tasks.model_folder import model_folder_of, read_tasks


def push(run: str | Path, name: str, private: bool = True, revision: str | None = None,
         dry_run: bool = False, trust: bool = False) -> list[str]:
    """Upload a run's best model, or a model folder, to the hub as `user/name`; return what was done.

    private: whether only you can read it, where the repository is new. dry_run: return the files and the
    card, and upload nothing. trust: import the modules that the folder names for components of someone's
    own.

    Raises `RunError` where there is no model, a file of it is a link to elsewhere, or the hub refuses;
    `ConfigError` for a name it cannot have.
    """
    with trusting(trust):
        return _pushed(run, name, private, revision, dry_run)


def _pushed(run: str | Path, name: str, private: bool, revision: str | None, dry_run: bool) -> list[str]:
    if len(name.split("/")) != 2 or not all(name.split("/")):
        raise ConfigError(f'NAME: found "{name}", expected user/name')
    folder = model_folder_of(run)
    if folder is None:
        raise RunError(f"{run}: has no model; expected a run that has been evaluated once, "
                       "or a model folder")
    tasks = read_tasks(folder)
    checkpoint, sources = _origin(RunPaths(run))
    card = hub_card(name, folder, tasks, checkpoint, sources, _results(RunPaths(run)))
    files = uploads(folder)
    if dry_run:
        sizes = [f"{(folder / each).stat().st_size / 1e6:9.2f} MB  {each}" for each in files]
        return [f"would be pushed to {name}{f' at {revision}' if revision else ''}:", *sizes,
                f"{len(card.encode()) / 1e6:9.2f} MB  README.md", "", card]
    return [f"pushed: {push_files(name, folder, files, card, private, revision)}",
            f'pk.load("hf://{name}{f"@{revision}" if revision else ""}")']


def _origin(run: RunPaths) -> tuple[str | None, dict[str, str]]:
    """Return the checkpoint that a run began with and each task's training data, where it is a run."""
    if not run.config.is_file():
        return None, {}
    config = run_settings(run.config, ())
    return config.encoder.checkpoint, {name: task.train for name, task in config.tasks.items()}


def _results(run: RunPaths) -> dict[str, Any]:
    if not run.results.is_file():
        return {}
    results = read_json(run.results)
    if not isinstance(results, dict):
        raise RunError(f"{run.results}: is not what polytask wrote")
    return {split: results[split] for split in ("dev", "test") if split in results}
