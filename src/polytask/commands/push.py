"""`polytask push`: uploads a trained model to the hub, with a card of its measured scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from polytask.commands.evaluate import run_settings
from polytask.core.encoder_paths import CARD
from polytask.core.json_files import as_written, read_json
from polytask.core.paths import RunPaths, StudyPaths
from polytask.core.results_file import read_results
from polytask.core.user_modules import trusting
from polytask.export.hub import check_name, push_files, uploads
from polytask.export.hub_card import MeasuredScore, Provenance, hub_card
from polytask.studies.run_results import RunResults
from polytask.studies.statistics import resampled_scores
from polytask.tasks.model_folder import load_model, required_model_folder


def push(run: str | Path, name: str, private: bool = True, revision: str | None = None,
         dry_run: bool = False, trust: bool = False, language: Sequence[str] = (),
         license: str | None = None, datasets: Sequence[str] = ()) -> list[str]:
    """Upload a run's best model, or a model folder, to the hub as `user/name`; return what was done.

    private: whether only you can read it, where the repository is new. dry_run: return the files and the
    card, and upload nothing. trust: import the modules that the folder names for custom components.
    language, license, datasets: what the card says of the model, in the hub's words: "en", "mit",
    "stanfordnlp/sst2"; data sets of the hub that the run was trained on are named anyway.

    Raises `RunError` where there is no model, a file of it is a link to elsewhere, or the hub refuses;
    `ConfigError` for a name it cannot have.
    """
    with trusting(trust):
        stated = Provenance(language=language, license=license, datasets=datasets)
        return _pushed(run, name, private, revision, dry_run, stated)


def _pushed(run: str | Path, name: str, private: bool, revision: str | None, dry_run: bool,
            stated: Provenance) -> list[str]:
    check_name(name)
    folder = required_model_folder(run)
    tasks = load_model(folder).tasks  # what cannot be loaded here, nobody could load from there
    card = hub_card(name, folder, tasks, _origin(RunPaths(run), stated), _measured(RunPaths(run)))
    files = uploads(folder)
    if dry_run:
        sizes = [f"{(folder / each).stat().st_size / 1e6:9.2f} MB  {each}" for each in files]
        return [f"would be pushed to {name}{f' at {revision}' if revision else ''}:", *sizes,
                f"{len(card.encode()) / 1e6:9.2f} MB  {CARD}", "", card]
    return [f"pushed: {push_files(name, folder, files, card, private, revision)}",
            f'pk.load("hf://{name}{f"@{revision}" if revision else ""}")']


def _origin(run: RunPaths, stated: Provenance) -> Provenance:
    """Return what a run began with and each task's training data, where it is a run."""
    if not run.config.is_file():
        return stated
    config = run_settings(run.config, ())
    return replace(stated, checkpoint=config.encoder.checkpoint, commit=config.encoder.revision,
                   sources={name: task.train for name, task in config.tasks.items()})


def _measured(run: RunPaths) -> list[MeasuredScore]:
    """Return what a run scored on dev and test, each task's main metric with its interval."""
    if not run.results.is_file():
        return []
    results, single = read_results(run.results), _single_task_scores(run)
    finished, measured = RunResults(run.path), []
    with as_written(run.results):
        for split in ("dev", "test"):
            table = results.get(split, {"scores": {}})
            for task, values in table["scores"].items():
                numbers = {metric: value for metric, value in values.items() if isinstance(value, float)}
                for place, (metric, value) in enumerate(numbers.items()):
                    interval = _interval(finished, task, split, metric) if place == 0 else None
                    alone = single.get(f"{task}.{metric}") if split == "dev" else None
                    measured.append(MeasuredScore(task, split, metric, value, table["rows"][task],
                                                  interval, alone))
    return measured


def _interval(run: RunResults, task: str, split: str, metric: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a score over resampled rows; None without the predictions."""
    predictions = run.predictions(task, split)
    if predictions is None or not predictions.serves(metric):
        return None
    low, high = np.percentile(resampled_scores(metric, predictions), [2.5, 97.5])
    return float(low), float(high)


def _single_task_scores(run: RunPaths) -> dict[str, float]:
    """Return "task.metric" → the mean of single-task models, where the run belongs to a study with them."""
    study = StudyPaths.around(run.path)
    if study is None or not study.results.is_file():
        return {}
    with as_written(study.results):
        single = read_json(study.results).get("single")
        scores = single.get("scores", {}) if isinstance(single, dict) else {}
        return {key: float(cell["mean"]) for key, cell in scores.items()}
