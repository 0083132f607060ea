"""`polytask log`: a run's events in TensorBoard, MLflow, W&B or trackio, sent only on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polytask.core.atomic_files import storing
from polytask.core.errors import ConfigError, PolytaskError, RunError, nearest
from polytask.core.run_folder import RunFolder
from polytask.core.safe_paths import refuse_link
from polytask.trackers.contract import Tracker
from polytask.trackers.mlflow import MLflow
from polytask.trackers.replay import replay
from polytask.trackers.tensorboard import TensorBoard
from polytask.trackers.trackio import Trackio
from polytask.trackers.wandb import WandB
from polytask.training.session import stop_signals

# Characters of what a tracker says of its own failure.
_REASON_SHOWN = 240
TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")


def log(run: str | Path, to: str, out: str | Path | None = None, follow: bool = False,
        project: str = "polytask") -> str:
    """Send what a run has logged to a tracker, each update once; return what was done.

    to: tensorboard, mlflow, wandb or trackio. out: the tracker's folder; absent, `trackers/<to>` in the
    run. follow: keep sending until the training ends, or Ctrl-C. project: what MLflow calls an experiment.
    Raises `ConfigError` for another tracker, `MissingExtra` with the pip command, `RunError` for no run,
    `PolytaskError` for what the tracker refuses and for a server that does not answer.
    """
    if to not in TRACKERS:
        raise ConfigError(f'--to: found "{to}", expected {", ".join(TRACKERS[:-1])} or {TRACKERS[-1]}'
                          f"{nearest(to, TRACKERS)}")
    folder = RunFolder.open(run)
    if not folder.events.is_file():
        raise RunError(f"{folder.events}: is missing; the training has not begun")
    place = folder.tracker(to) if out is None else Path(out)
    if out is None:  # a stranger's run does not say where we write
        refuse_link(place.parent)
        refuse_link(place)
    with storing(place), _errors_of(to):
        tracker = _tracker(to, place, dict(_flat(folder.settings())), project, folder.path)
        try:
            with stop_signals() as stopped:
                count = replay(folder.events, tracker, follow, stopped.is_set)
        finally:
            tracker.close()
    return f"{count:,} points sent to {to}: {tracker.place}"


@contextmanager
def _errors_of(tracker: str) -> Iterator[None]:
    """Return what a tracker refuses, or a server of its that is gone, as one sentence."""
    try:
        yield
    except Exception as error:
        if not any(kind.__module__.split(".")[0] == tracker for kind in type(error).__mro__):
            raise
        reason = " ".join(str(error).split())[:_REASON_SHOWN]
        raise PolytaskError(f"--to {tracker}: {reason}; nothing is lost, and the same command sends "
                            "what is missing") from None


def _tracker(to: str, place: Path, settings: dict[str, Any], project: str, run: Path) -> Tracker:
    if to == "tensorboard":
        return TensorBoard(place, settings, run)
    if to == "mlflow":
        return MLflow(place, settings, project, run)
    return (Trackio if to == "trackio" else WandB)(place, settings, project, run)


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the settings by their dotted keys."""
    return [pair for key, value in table.items()
            for pair in (_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping)
                         else [(f"{prefix}{key}", value)])]
