"""What is killed. A new kind of work is one more entry of `scenarios`."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuzz_world import Inline, World
from kill_points import Scenario

from polytask.commands.compare import compare
from polytask.commands.predict import predict_file
from polytask.commands.report import report
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run


def scenarios(world: World) -> dict[str, Scenario]:
    """Return every scenario by its name."""

    def training(folder: Path) -> None:
        """From texts to a report: an empty cache, checkpoints after each update, best models of tasks."""
        table = world.table(max_steps=3, save_every=1, evaluate_every=2, best_per_task=True)
        table["data"]["cache"] = str(folder.with_name("kill-cache"))
        train(Run.from_table(table), folder / "run", resume=True, quiet=True)

    def study(folder: Path) -> None:
        compare(world.folder / "study.toml", folder / "study", seeds=1, quiet=True, engine=Inline())

    def searching(folder: Path) -> None:
        sweep(world.folder / "sweep.toml", folder / "sweep", quiet=True, engine=Inline())

    def reporting(folder: Path) -> None:
        report([folder / "run"])

    def predicting(folder: Path) -> None:
        predict_file(str(world.run), ["moods"], world.folder / "moods.csv", folder / "moods.csv", "csv",
                     True)

    def copied(folder: Path) -> None:
        shutil.copytree(world.run, folder / "run")

    def emptied(folder: Path) -> None:
        shutil.rmtree(folder.with_name("kill-cache"), ignore_errors=True)

    listed = (Scenario("train", training, emptied), Scenario("compare", study),
              Scenario("sweep", searching), Scenario("report", reporting, copied),
              Scenario("predict", predicting))
    return {each.name: each for each in listed}
