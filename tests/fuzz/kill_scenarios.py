"""What is killed. A new kind of work is one more entry of `scenarios`."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuzz_processes import together
from fuzz_world import Inline, World
from kill_points import Scenario

from polytask.commands.compare import compare
from polytask.commands.export import export
from polytask.commands.init import scaffold, write_config
from polytask.commands.predict import predict_file
from polytask.commands.report import report
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run
from polytask.data.cache import Cache
from polytask.export import onnx_folder
from polytask.serve.engines import loader
from polytask.serve.settings import ServeSettings


def scenarios(world: World) -> dict[str, Scenario]:
    """Return every scenario by its name."""

    def training(folder: Path) -> None:
        """From texts to a report: an empty cache, checkpoints after each update, best models of tasks."""
        table = world.table(max_steps=3, save_every=1, evaluate_every=2, best_per_task=True)
        table["data"]["cache"] = str(beside(folder))
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

    def processes(folder: Path) -> None:
        table = world.table(max_steps=3, save_every=1, evaluate_every=2)
        together(lambda: train(Run.from_table(table), folder / "run", resume=True, quiet=True))

    def shards(folder: Path) -> None:
        world.predict_shards(folder / "predicted")

    def beginning(folder: Path) -> None:
        config = folder / "moods.toml"
        if not config.exists():
            cache = Cache(beside(folder))
            list(write_config(config, scaffold([world.folder / "moods.csv"], str(world.folder / "encoder"),
                                               cache)))

    def exporting(folder: Path) -> None:
        """Graphs into the run, whose computing writes nothing: it is done once; and a folder of its own."""
        import onnx

        graph = onnx.load(world.graphs / "onnx" / "model.onnx")
        onnx_folder.export_graph = lambda *arguments: graph
        export(folder / "run", rows=4)
        if not (folder / "classifier").exists():
            export(folder / "run", "transformers", folder / "classifier", task="moods", rows=4)

    def copied(folder: Path) -> None:
        shutil.copytree(world.run, folder / "run")

    def exportable(folder: Path) -> None:
        assert world.graphs.is_dir()  # made here, before the fork
        copied(folder)

    def beside(folder: Path) -> Path:
        return folder.with_name("kill-cache")

    def served(folder: Path) -> None:
        """Load the model, as a server does that sees another one in its place."""
        loader(ServeSettings(engine="torch"))(folder / "run", "a")

    listed = (Scenario("init", beginning, cache=beside),
              Scenario("train", training, look=served, cache=beside),
              Scenario("train, two processes", processes),
              Scenario("compare", study), Scenario("sweep", searching),
              Scenario("report", reporting, copied),
              Scenario("predict", predicting), Scenario("predict, shards", shards),
              Scenario("export", exporting, exportable))
    return {each.name: each for each in listed}
