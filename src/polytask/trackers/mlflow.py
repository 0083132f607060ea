"""MLflow: a run of an experiment, in a local database unless MLFLOW_TRACKING_URI names a server."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra
from polytask.core.paths import TrackerPaths
from polytask.trackers.contract import KINDS, Point, Tracker

_MARK = "polytask."
_FOLDER_TAG = "polytask.folder"
# MLflow's limits: metrics in a call, characters of a parameter.
_MOST_METRICS, _MOST_CHARACTERS = 1000, 500


class MLflow(Tracker):
    """An MLflow run. Batches are stored whole or not at all, so MLflow's last step says what was sent."""

    def __init__(self, folder: Path, settings: dict[str, Any], project: str, run: Path) -> None:
        # Set before mlflow is imported, which otherwise sends usage statistics.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        # A server that does not answer is given up after half a minute, not after four.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
        try:
            self._mlflow = importlib.import_module("mlflow")
        except ImportError:
            raise MissingExtra("--to mlflow", "mlflow") from None
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{TrackerPaths(folder).mlflow_store.absolute()}"
        self._uri = uri
        self._entities = importlib.import_module("mlflow.entities")
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(project)
        number = experiment.experiment_id if experiment else self._client.create_experiment(
            project, artifact_location=str((TrackerPaths(folder).mlflow_artifacts).absolute()))
        place = str(run.absolute())
        runs = self._client.search_runs([number], f"tags.`{_FOLDER_TAG}` = '{place}'", max_results=1)
        if runs:
            self._run = runs[0].info.run_id
            return
        self._run = self._client.create_run(number, run_name=run.name,
                                            tags={_FOLDER_TAG: place}).info.run_id
        params = [self._entities.Param(key, str(value)[:_MOST_CHARACTERS])
                  for key, value in settings.items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(self._run, params=params[start:start + 100])

    @property
    def place(self) -> str:
        return self._uri

    def sent(self) -> dict[str, int]:
        sent = {}
        for kind in KINDS:
            if history := self._client.get_metric_history(self._run, _MARK + kind):
                sent[kind] = max(int(entry.step) for entry in history)
        return sent

    def send(self, points: Sequence[Point]) -> None:
        batch: list[Any] = []
        for point in points:
            values = {**point.values, _MARK + point.kind: float(point.step)}
            metrics = [self._entities.Metric(name, value, int(point.time * 1000), point.step)
                       for name, value in values.items()]
            if len(batch) + len(metrics) > _MOST_METRICS:
                self._client.log_batch(self._run, metrics=batch)
                batch = []
            batch += metrics
        if batch:
            self._client.log_batch(self._run, metrics=batch)

    def close(self) -> None:
        self._client.set_terminated(self._run)
