"""int8 against fp32 on a trained model: quality on whole dev sets, speed against CrossEncoder.predict.

    python bench/export.py --data DATA [--run RUN] [--only quality|speed] [--no-write]

Trains examples/cs224n.toml on a part of its rows (about six minutes on two quiet cores; --run takes a run
that is there), exports its graphs and writes two tables into docs/export.md, between `<!-- quality -->` and
`<!-- speed -->`. Speed is of whole calls on Quora pairs, tokenization included, the ways in turn: all pairs
at once, and one pair a call. The CrossEncoder is the same task of the same run, exported.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import heading, instructions, spread, table
from page import placed

import polytask as pk
from polytask.core.paths import ModelPaths
from polytask.data.dataset import Split
from polytask.export.check import check_graph
from polytask.inference.onnx_model import OnnxModel, load_onnx
from polytask.inference.predictor import Model
from polytask.training.build import read_data

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "export.md"
LIMITS = {"sst": 4000, "quora": 4000, "sts": 3000}
_ALL = 10**9

Way = Callable[[Any], Any]


def trained(data: Path, folder: Path) -> Path:
    """Train the three tasks on a part of their rows; return the run."""
    limits = [f"tasks.{task}.limit={rows}" for task, rows in LIMITS.items()]
    run = pk.Run.from_toml(ROOT / "examples" / "cs224n.toml", [
        f"data.root={data}", "tasks.quora.dev_limit=500", "tasks.sst.dev_limit=500", *limits])
    pk.train(run, folder)
    return folder


def whole_dev_sets(data: Path, model: Model) -> dict[str, Split]:
    """Return all dev rows of every task."""
    run = pk.Run.from_toml(ROOT / "examples" / "cs224n.toml", [f"data.root={data}"])
    known = {name: task.labels for name, task in model.tasks.items()}
    found = read_data(run, model.tokenizer_file, quiet=True, only=model.tasks, known=known)
    return {name: each.dev for name, each in found.items()}


def quality(model: Model, engine: OnnxModel, splits: Mapping[str, Split], rows: int) -> str:
    """Return the table of what int8 loses."""
    path = ModelPaths(engine.folder).graph(int8=True)
    check = check_graph(path.name, path.stat().st_size / 1e6, model, engine, splits, rows)
    lines = []
    for task in check.tasks:
        assert task.scores is not None
        before, after = task.scores
        lines.append([task.task, f"{task.rows:,}", task.metric, f"{before:.4f}", f"{after:.4f}",
                      f"{after - before:+.4f}", "–" if task.kept is None else f"{task.kept:.2%}",
                      f"{task.drift:.1e}", f"{task.difference:.1e}", f"{task.alone:.0e}"])
    return table(["task", "dev rows", "metric", "fp32", "int8", "change", "labels kept", "mean drift",
                  "largest", "alone or in a batch"], lines)


def speed(run: Path, splits: Mapping[str, Split], given: argparse.Namespace, folder: Path) -> str:
    """Return the table of speeds on Quora pairs."""
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(given.threads)
    pk.export(run, "sentence-transformers", folder / "quora", "quora", rows=64)
    peer, model = CrossEncoder(str(folder / "quora"), device="cpu"), pk.load(run)
    graphs = {name: load_onnx(run, name == "int8", given.threads) for name in ("onnx", "int8")}
    ways: dict[str, Way] = {
        "CrossEncoder.predict, fp32": lambda pairs: peer.predict(pairs, show_progress_bar=False),
        "polytask, torch": lambda pairs: model.predict("quora", pairs),
        "polytask, ONNX fp32": lambda pairs: graphs["onnx"].predict("quora", pairs),
        "polytask, ONNX int8": lambda pairs: graphs["int8"].predict("quora", pairs)}
    chosen = np.random.default_rng(1).permutation(len(splits["quora"]))[:given.pairs]
    pairs = [tuple(texts) for texts in splits["quora"].texts(chosen)]
    rates: dict[str, list[float]] = {name: [] for name in ways}
    middles: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(given.rounds + 1):  # the first one warms up
        for name, way in ways.items():
            rate, middle = _batches(way, pairs), _alone(way, pairs[:given.alone])
            if round_number:
                rates[name].append(rate)
                middles[name].append(middle)
    first = next(iter(ways))
    return table(["", "pairs/s, all at once", "times", "ms for one pair, p50", "times"], [
        [name, spread(rates[name]), _times(rates[name], rates[first]), spread(middles[name]),
         _times(middles[first], middles[name])] for name in ways])


def _batches(way: Way, pairs: list[Any]) -> float:
    began = time.perf_counter()
    way(pairs)
    return len(pairs) / (time.perf_counter() - began)


def _alone(way: Way, pairs: list[Any]) -> float:
    spent = []
    for pair in pairs:
        began = time.perf_counter()
        way([pair])
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent)


def _times(larger: list[float], smaller: list[float]) -> str:
    return f"{statistics.median([a / b for a, b in zip(larger, smaller, strict=True)]):.2f}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--run", type=Path, help="a trained run of the three tasks")
    words.add_argument("--only", choices=("quality", "speed"))
    words.add_argument("--rows", type=int, default=_ALL, help="dev rows per task, at most")
    words.add_argument("--pairs", type=int, default=600)
    words.add_argument("--alone", type=int, default=60)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--threads", type=int, default=1, help="of each engine while speed is measured")
    words.add_argument("--no-write", action="store_true", help="print the tables alone")
    given = words.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        run = given.run or trained(given.data.absolute(), Path(place) / "run")
        if not ModelPaths(run / "model").graph(int8=True).is_file():
            pk.export(run, "onnx", int8=True, check=given.data / "sts-dev.csv", rows=100)
        model = pk.load(run)
        splits = whole_dev_sets(given.data.absolute(), model)
        found = {}
        if given.only != "speed":
            said = quality(model, load_onnx(run, int8=True), splits, given.rows)
            found["quality"] = f"{heading('onnxruntime')}; {instructions()}.\n\n{said}"
        if given.only != "quality":
            said = speed(run, splits, given, Path(place))
            about = (f"{heading('onnxruntime', 'sentence-transformers')}; {instructions()}; {given.pairs} "
                     f"Quora pairs at once, {given.alone} one by one, {given.rounds} rounds in turn.")
            found["speed"] = f"{about}\n\n{said}"
    for name, text in found.items():
        print(text, end="\n\n")
        if not given.no_write:
            PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")
    print(f"[{time.perf_counter() - began:.0f} s]")


if __name__ == "__main__":
    main()
