"""What is fuzzed: configs, data files, models, runs, studies, sweeps. A try is one change and one use."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import shutil
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import tomli_w
from fuzz_mutations import EXTREMES, ONLY_JSON, ONLY_TOML, get, mutated, mutated_bytes, mutated_text
from fuzz_world import Inline, World, sentences
from pyarrow import parquet

import polytask as pk
from polytask.commands.check import check_run
from polytask.commands.compare import compare
from polytask.commands.evaluate import evaluate_run
from polytask.commands.init import scaffold
from polytask.commands.predict import predict_file
from polytask.commands.push import push
from polytask.commands.report import report
from polytask.commands.show import show_run
from polytask.commands.sweep import sweep
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.registry import Registry
from polytask.core.settings import to_table

Use = Callable[[], Any]


@dataclass(frozen=True)
class Try:
    """One try: what was changed, and what is then done, in a process of its own."""

    change: str
    use: Use


Target = Callable[[random.Random, World, Path], Try]
"""Prepares a try in an empty folder."""


# ---- configs

def _components(plural: str) -> list[Any]:
    """Return the table of every component of a family that needs no settings."""
    found = []
    for member in Registry.all[plural].members.values():
        try:
            found.append(to_table(member()))
        except Exception:  # some need a setting; they are drawn by their names among the values
            continue
    return found


def whole_config(random_: random.Random, world: World) -> dict[str, Any]:
    """Return a config with every key written out, some of its components drawn: those that go together."""
    table = world.table()
    changes: list[tuple[float, tuple[str, ...], Any]] = [
        (0.5, ("train", "weighting"), random_.choice(_components("weightings"))),
        (0.5, ("train", "surgery"), random_.choice(_components("surgeries"))),
        (0.5, ("train", "schedule"), random_.choice(_components("schedules"))),
        (0.4, ("train", "regularizers"), [random_.choice(_components("regularizers"))]),
        (0.3, ("encoder", "adapter"), random_.choice(_components("adapters"))),
        (0.3, ("train", "phases"), [{"epochs": 1}, {"epochs": 1, "optimizer": {"lr": 1e-4}}]),
        *((0.3, ("train", key), value) for key, value in {
            "ema": 0.9, "accumulate": 2, "evaluate_every": 1, "early_stopping": 1, "gradient_cosines": 1,
            "best_per_task": True, "train_metrics": True}.items()),
        *((0.2, ("tasks", task, key), random_.choice(_components(plural))) for task in table["tasks"]
          for key, plural in (("head", "heads"), ("pooling", "poolings")))]
    for share, path, value in changes:
        if random_.random() < share:
            changed = copy.deepcopy(table)
            get(changed, path[:-1])[path[-1]] = value
            with suppress(pk.PolytaskError):
                Run.from_table(changed)
                table = changed
    return to_table(Run.from_table(table))  # type: ignore[no-any-return]


def _use_config(path: Path, out: Path) -> Use:
    def use() -> None:
        for _ in check_run(Run.from_toml(path), 0, True):
            pass
        train(Run.from_toml(path), out, quiet=True)
    return use


def config_values(random_: random.Random, world: World, folder: Path) -> Try:
    """An extreme value at some key."""
    table, change = mutated(random_, whole_config(random_, world), ONLY_TOML)
    path = folder / "config.toml"
    try:
        path.write_text(tomli_w.dumps(table))
    except (ValueError, TypeError, RecursionError, AttributeError):  # no TOML at all
        path.write_text(f"seed = {change!r}\n")
    return Try(change, _use_config(path, folder / "out"))


def config_text(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged text."""
    path = folder / "config.toml"
    path.write_bytes(mutated_text(random_, tomli_w.dumps(whole_config(random_, world)))
                     .encode("utf-8", "surrogatepass"))
    return Try("text", _use_config(path, folder / "out"))


def config_override(random_: random.Random, world: World, folder: Path) -> Try:
    """An odd `--set`."""
    key = random_.choice(("seed", "train.epochs", "tasks.moods.text", "tasks.x", "train.regularizers.0",
                          ".", "", "tasks.moods.label.x.y", "x" + ".x" * 500,
                          "train.regularizers.99999999999", "a" * 1000,
                          "train.optimizer", "train.phases", "encoder.checkpoint", "data.root", "tasks"))
    value = random_.choice((*map(str, EXTREMES[:45]), "[" * 3000, "1" * 6000, "{a=1", "=", "{}", "[{}]"))
    world_config = world.folder / "base.toml"
    return Try(f"--set {key[:40]}={value[:40]}", lambda: train(
        Run.from_toml(world_config, [f"{key}={value}", "train.max_steps=1"]), folder / "out", quiet=True))


# ---- files of rows

def _parquet(random_: random.Random) -> bytes:
    rows = random_.choice((0, 1, 24))
    width = random_.choice((0, 1, 3, 3000))
    kinds: list[Callable[[], Any]] = [
        lambda: sentences(rows), lambda: [None] * rows,
        lambda: [random_.choice(EXTREMES[:12]) % 2**31] * rows,
        lambda: [float("nan")] * rows, lambda: [b"\xff\xfe"] * rows, lambda: [["a", None]] * rows,
        lambda: [{"a": 1}] * rows, lambda: pyarrow.array(["a"] * rows).dictionary_encode(),
        lambda: pyarrow.array([0] * rows, pyarrow.timestamp("ns")),
        lambda: pyarrow.array([None] * rows, pyarrow.null())]
    columns = {name: random_.choice(kinds)() for name in ("id", "text", "mood")}
    columns |= {f"c{number}": sentences(rows) for number in range(width)}
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _rows(random_: random.Random, world: World) -> tuple[str, bytes]:
    """Return a name and the bytes of a file of rows, of some format."""
    plain = (world.folder / "moods.csv").read_text()
    rows = [line.split(",") for line in plain.splitlines()]
    objects = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    match random_.randrange(6):
        case 0:
            return "rows.csv", plain.encode()
        case 1:
            return "rows.tsv", plain.replace(",", "\t").encode()
        case 2:
            return "rows.jsonl", "".join(json.dumps(each) + "\n" for each in objects).encode()
        case 3:
            return "rows.json", json.dumps(objects).encode()
        case 4:
            return "rows.csv", plain.encode(random_.choice(("utf-16", "latin-1", "utf-8-sig", "utf-32")))
        case _:
            return "rows.parquet", _parquet(random_)


def rows_file(random_: random.Random, world: World) -> tuple[str, str, bytes]:
    """Return a file of rows, most often a damaged one: its name, what was done, its bytes."""
    name, content = _rows(random_, world)
    how = random_.choice(("as it is", "text", "bytes", "objects"))
    if how == "text" and name != "rows.parquet":
        content = mutated_text(random_, content.decode("latin-1")).encode("utf-8", "surrogatepass")
    elif how == "objects" and name.startswith("rows.json"):
        first = (world.folder / "pairs.jsonl").read_text().splitlines()[0]
        objects, _ = mutated(random_, json.loads(first), ONLY_JSON)
        content = _json([objects] * random_.choice((1, 5))).encode()
    elif how != "as it is":
        content = mutated_bytes(random_, content)
    if random_.random() < 0.2:
        name, content = f"{name}.gz", gzip.compress(content)
        if random_.random() < 0.5:
            content = mutated_bytes(random_, content)
    return name, how, content


def data(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged file of rows, trained on, predicted, evaluated or guessed from."""
    name, how, content = rows_file(random_, world)
    file = folder / name
    file.write_bytes(content)
    table = world.table()
    table["data"] |= {"root": str(folder), "cache": str(folder / "cache")}
    table["tasks"] = {"moods": {"train": name, "text": "text", "label": "mood"}}
    uses: dict[str, Use] = {
        "check": lambda: list(check_run(Run.from_table(table), 0, True)),
        "train": lambda: train(Run.from_table(table), folder / "out", quiet=True),
        "predict": lambda: predict_file(str(world.run), ["moods"], file, folder / "out.csv",
                                        random_.choice(("csv", "jsonl")), True),
        "evaluate": lambda: evaluate_run(world.run, "dev", file, "moods"),
        "init": lambda: scaffold([file], checkpoint=str(world.folder / "encoder"), quiet=True)}
    use = random_.choice(list(uses))
    return Try(f"{how} of {name}, {use}", uses[use])


# ---- folders

def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "[" * 50_000


def _change_tensors(random_: random.Random, content: bytes) -> bytes:
    """Return a safetensors file whose header lies, or whose numbers are not numbers."""
    size = int.from_bytes(content[:8], "little")
    header, body = content[8:8 + size], content[8 + size:]
    if random_.random() < 0.4:
        numbers = np.frombuffer(body, np.float32).copy() if len(body) % 4 == 0 else np.zeros(0, np.float32)
        numbers[...] = random_.choice((np.nan, np.inf, 3e38, 0.0, 1e-45))
        return content[:8 + size] + numbers.tobytes()
    told, _ = mutated(random_, json.loads(header), ONLY_JSON)
    changed = _json(told).encode("utf-8", "surrogatepass")
    return len(changed).to_bytes(8, "little") + changed + body


def change_file(random_: random.Random, folder: Path, files: list[Path]) -> str:
    """Change one of some files; return what was done."""
    file = random_.choice(files)
    content = file.read_bytes()
    how = random_.choices(("values", "bytes", "text", "gone", "folder", "swap"), (10, 4, 3, 1, 1, 1))[0]
    name = str(file.relative_to(folder))
    if how == "gone":
        file.unlink()
    elif how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "swap":
        file.write_bytes(random_.choice(files).read_bytes())
    elif how == "values" and file.suffix == ".json":
        value, change = mutated(random_, json.loads(content), ONLY_JSON)
        file.write_bytes(_json(value).encode("utf-8", "surrogatepass"))
        return f"{name}: {change}"
    elif how == "values" and file.suffix in (".jsonl", ".log"):
        lines = content.decode().splitlines()
        at = random_.randrange(len(lines))
        value, change = mutated(random_, json.loads(lines[at]), ONLY_JSON)
        lines[at] = _json(value)
        file.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))
        return f"{name}:{at + 1}: {change}"
    elif how == "values" and file.suffix == ".toml":
        value, change = mutated(random_, tomllib.loads(content.decode()), ONLY_TOML)
        try:
            file.write_text(tomli_w.dumps(value))
        except (ValueError, TypeError, RecursionError, AttributeError):
            file.write_text("=")
        return f"{name}: {change}"
    elif how == "values" and file.suffix == ".safetensors":
        file.write_bytes(_change_tensors(random_, content))
    elif how == "text":
        file.write_bytes(mutated_text(random_, content.decode("latin-1")).encode("utf-8", "surrogatepass"))
    else:
        file.write_bytes(mutated_bytes(random_, content))
    return f"{name}: {how}"


def copied(source: Path, folder: Path, keep: Callable[[Path], bool] = lambda path: True
           ) -> tuple[Path, list[Path]]:
    """Return a copy of a folder, and those of its files that are worth changing."""
    place = folder / source.name
    shutil.copytree(source, place)
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name not in (
        ".lock", "report.html", "README.md", "results.md") and keep(path)]
    return place, files


def use_model(loaded: Any) -> None:
    """Answer both tasks, and embed."""
    loaded.predict("moods", ["a bee sees", ""])
    loaded.predict("pairs", [("a dog", "no tea")])
    loaded.embed(["rain"])


def model(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged model folder, loaded, trained from or pushed."""
    place, files = copied(world.run / "model", folder)
    change = change_file(random_, place, files)

    def go_on() -> None:
        table = world.table()
        table["encoder"] = {"checkpoint": str(place)}
        train(Run.from_table(table), folder / "out", quiet=True)

    uses: dict[str, Use] = {"load": lambda: use_model(pk.load(place)), "train": go_on,
                            "push": lambda: push(place, "user/name", dry_run=True)}
    use = random_.choices(list(uses), (5, 2, 1))[0]
    return Try(f"{change}; {use}", uses[use])


def encoder(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged checkpoint that a training starts from."""
    place, files = copied(world.folder / "encoder", folder)
    change = change_file(random_, place, files)
    table = world.table()
    table["encoder"] = {"checkpoint": str(place)}
    return Try(change, lambda: train(Run.from_table(table), folder / "out", quiet=True))


def run(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged run folder, shown, reported, evaluated, predicted from, resumed."""
    place, files = copied(world.run, folder, lambda path: "model" not in path.parts[-3:])
    uses: dict[str, Use] = {
        "show": lambda: [*show_run(place), *show_run(place, True)],
        "report": lambda: report([place], plots=False),
        "overlay": lambda: report([place, world.run], folder / "both.html"),
        "evaluate": lambda: evaluate_run(place),
        "predict": lambda: predict_file(str(place), ["moods"], world.folder / "moods.csv",
                                        folder / "out.csv", "csv", True),
        "push": lambda: push(place, "user/name", dry_run=True),
        "resume": lambda: train(Run.from_table(world.table(save_every=1)), place, resume=True, quiet=True)}
    use = random_.choices(list(uses), (2, 4, 2, 2, 1, 1, 5))[0]
    if use == "resume" and random_.random() < 0.8:  # else it is finished, and little is read
        (place / "results.json").unlink()
        files.remove(place / "results.json")
    change = change_file(random_, place, files)
    return Try(f"{change}; {use}", uses[use])


def study(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged study, reported or compared again."""
    place, files = copied(world.folder / "study", folder, lambda path: "model" not in path.parts[-3:])
    if random_.random() < 0.5:  # its own few files are lost among those of its runs
        files = [path for path in files if path.parent == place]
    change = change_file(random_, place, files)
    uses: dict[str, Use] = {
        "report": lambda: report([place], plots=False),
        "compare": lambda: compare(world.folder / "study.toml", place, quiet=True, engine=Inline())}
    use = random_.choice(list(uses))
    return Try(f"{change}; {use}", uses[use])


def searched(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged sweep, resumed."""
    place, files = copied(world.folder / "sweep", folder, lambda path: "model" not in path.parts[-3:])
    if random_.random() < 0.7:
        files = [path for path in files if path.parent == place]
    change = change_file(random_, place, files)
    return Try(change, lambda: sweep(world.folder / "sweep.toml", place, quiet=True, engine=Inline()))


def files_of_studies(random_: random.Random, world: World, folder: Path) -> Try:
    """A damaged study or sweep file."""
    name = random_.choice(("study.toml", "sweep.toml"))
    text = (world.folder / name).read_text()
    (folder / "base.toml").write_text((world.folder / "base.toml").read_text())
    change = "text"
    if random_.random() < 0.6:
        value, change = mutated(random_, tomllib.loads(text), ONLY_TOML)
        try:
            (folder / name).write_text(tomli_w.dumps(value))
        except (ValueError, TypeError, RecursionError, AttributeError):
            (folder / name).write_text("=")
    else:
        (folder / name).write_bytes(mutated_text(random_, text).encode("utf-8", "surrogatepass"))
    if name == "study.toml":
        return Try(f"{name}: {change}", lambda: compare(folder / name, folder / "out", seeds=1, quiet=True,
                                                        engine=Inline()))
    return Try(f"{name}: {change}", lambda: sweep(folder / name, folder / "out", trials=2, quiet=True,
                                                  engine=Inline()))
