"""What leaves a run, and comes from elsewhere: exports, graphs, predictions in shards, models of the hub;
polytask's own cache; and trainings of two processes whose commands disagree."""

from __future__ import annotations

import os
import random
import shutil
import tomllib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w
from fuzz_intruders import INTRUDERS, put
from fuzz_mutations import ONLY_TOML, mutated, mutated_bytes
from fuzz_processes import environment, free_port, launched
from fuzz_targets import Try, change_file, copied, rows_file, use_model
from fuzz_world import COMMIT, HUB_NAME, InlineShards, World

import polytask as pk
from polytask.commands.check import check_run
from polytask.commands.evaluate import evaluate_run
from polytask.commands.export import export
from polytask.commands.predict import predict_file
from polytask.commands.predict_shards import predict_shards
from polytask.commands.train import train
from polytask.config import Run
from polytask.learn import torch_processes

Use = Callable[[], Any]
ADDRESS = f"hf://{HUB_NAME}"


def exported(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged model folder, exported."""
    place, files = copied(world.run / "model", folder)
    change = change_file(random_, place, files)
    to = random_.choices(("transformers", "sentence-transformers", "onnx"), (6, 6, 1))[0]
    task = random_.choice(("moods", "pairs") if to != "transformers" else ("moods",))
    check = world.folder / ("pairs.jsonl" if task == "pairs" else "moods.csv")
    return Try(f"{change}; {to}", lambda: export(
        place, to, folder / "out", task=None if to == "onnx" else task, check=check, rows=4))


def graph(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged export, at work without torch's model."""
    place, files = copied(world.graphs, folder)
    change = change_file(random_, place, files)
    engine = random_.choice(("onnx", "int8"))
    moods = world.folder / "moods.csv"
    uses: dict[str, Use] = {
        "load": lambda: use_model(pk.load(place, engine=engine)),
        "predict": lambda: predict_file(str(place), ["moods"], moods, folder / "out.csv", "csv", True,
                                        engine=engine),
        "shards": lambda: predict_shards(str(place), ["moods"], [moods], folder / "out", quiet=True, rows=8,
                                         engine=engine, shard_engine=InlineShards)}
    use = random_.choices(list(uses), (3, 2, 1))[0]
    return Try(f"{change}; {engine}, {use}", uses[use])


def predicted(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged folder of predictions, of which some shards are missing, gone on with."""
    place, files = copied(world.folder / "predicted", folder)
    for mark in [file for file in files if file.parent.name == ".shards" and random_.random() < 0.4]:
        mark.unlink()
        files.remove(mark)
    ours = [file for file in files if file.suffix == ".json"] or files
    change = change_file(random_, place, ours if random_.random() < 0.8 else files)
    return Try(change, lambda: world.predict_shards(place))


def shards(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged file of rows, predicted in shards."""
    name, how, content = rows_file(random_, world)
    (folder / "in").mkdir()
    (folder / "in" / name).write_bytes(content)
    given = random_.choice((folder / "in" / name, folder / "in", folder / "in" / "*", folder / "*" / name))
    options = {"format": random_.choice(("csv", "jsonl", "parquet")), "strict": random_.random() < 0.3,
               "rows": random_.choice((1, 7, 10_000))}
    return Try(f"{how} of {name}, {options}", lambda: predict_shards(
        str(world.run), ["moods"], [given], folder / "out", quiet=True, shard_engine=InlineShards,
        **options))


def hub(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged model in the hub's cache."""
    from huggingface_hub import constants

    place = folder / "hub"
    shutil.copytree(world.folder / "hub", place)
    snapshot = next(place.glob(f"*/snapshots/{COMMIT}"))
    if random_.random() < 0.15:
        files = [place / f"models--{HUB_NAME.replace('/', '--')}" / "refs" / "main"]
    else:
        files = [path for path in sorted(snapshot.rglob("*")) if path.is_file() and path.suffix != ".md"]
    if random_.random() < 0.1:
        chosen = random_.choice(files)
        chosen.unlink()
        chosen.symlink_to(random_.choice(("/dev/zero", "/etc/passwd", str(chosen), "nowhere", "..")))
        change = f"{chosen.name}: link"
    else:
        change = change_file(random_, place, files)
    table = world.table()
    table["encoder"] = {"checkpoint": ADDRESS}
    moods = world.folder / "moods.csv"
    uses: dict[str, Use] = {
        "load": lambda: use_model(pk.load(ADDRESS)),
        "predict": lambda: predict_file(ADDRESS, ["moods"], moods, folder / "out.csv", "csv", True),
        "train": lambda: train(Run.from_table(table), folder / "out", quiet=True),
        "export": lambda: export(ADDRESS, "transformers", folder / "out", task="moods", check=moods,
                                 rows=4)}
    use = random_.choices(list(uses), (4, 1, 2, 1))[0]

    def use_it() -> None:
        constants.HF_HUB_CACHE = str(place)
        uses[use]()

    return Try(f"{change}; {use}", use_it)


def cached(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged cache. Numbers that are plausible but others are no damage that it looks for."""
    place, files = copied(world.folder / "cache", folder)
    file = random_.choice([path for path in files if path.suffix == ".json"] if random_.random() < 0.6
                          else files)
    change = str(file.relative_to(place))
    how = random_.choice(("changed", "changed", "put there"))
    if how == "put there":
        how = random_.choice([*INTRUDERS])
        put(file, how)
    elif file.suffix == ".json":
        how = change_file(random_, place, [file])
    else:
        content = file.read_bytes()
        start, content = content[:128], content[random_.choice((128, 129, 200)):]
        file.write_bytes(random_.choice((mutated_bytes(random_, start) + content, start, start + content)))
    table = world.table()
    table["data"]["cache"] = str(place)

    def evaluate() -> None:
        os.environ["POLYTASK_CACHE"] = str(place)
        evaluate_run(world.run)

    uses: dict[str, Use] = {"check": lambda: [*check_run(Run.from_table(table), 0, True, linear=True)],
                            "train": lambda: train(Run.from_table(table), folder / "out", quiet=True),
                            "evaluate": evaluate}
    use = random_.choices(list(uses), (3, 1, 1))[0]
    return Try(f"{change}: {how}; {use}", uses[use])


def several(random_: random.Random, world: World, folder: Path) -> Try:
    """Two processes with other variables, configs or data, started as torchrun does."""
    port = free_port()
    tables, variables = [world.table(), world.table()], [environment(0, port), environment(1, port)]
    change = ""
    which = random_.randrange(2)
    what = random_.choice(("variable", "config", "data"))
    if what == "variable":
        name = random_.choice([*variables[which]])
        value = random_.choice(("", "x", "-1", "0", "1", "9" * 30, "1.5", "\u0661", " 1", "a b", "65536",
                                "../x"))
        variables[which][name] = value
        change = f"{name}={value}"
    elif what == "config":
        for _ in range(20):
            changed, change = mutated(random_, world.table(), ONLY_TOML)
            try:
                tables[which] = tomllib.loads(tomli_w.dumps(changed))
                break
            except (ValueError, TypeError, RecursionError, AttributeError):
                continue
    else:
        name, how, content = rows_file(random_, world)
        (folder / name).write_bytes(content)
        tables[which]["tasks"]["moods"]["train"] = str(folder / name)
        change = f"{how} of {name}"

    def part(table: dict[str, Any]) -> None:
        torch_processes.TIMEOUT = timedelta(seconds=4)  # the half hour that a process waits for others
        train(Run.from_table(table), folder / "out", quiet=True)

    return Try(f"process {which}: {change}", lambda: launched(
        tuple(partial(part, table) for table in tables), tuple(variables)))
