"""Prediction speed against other libraries: Quora pairs, MiniLM, fp32, the same weights, alternating.

    python bench/prediction.py [--data DATA] [--pairs 800] [--repeats 3] [--rows 50000]

The others are sentence-transformers' CrossEncoder.predict and the transformers pipeline with default
settings, and ONNX Runtime on the exported graph, fed in order of length. Then one sentence a call, beside
the bare pass of the encoder; and `polytask predict` reads a file of many short rows, with its peak memory
after a fifth, half and all of the file.
"""

from __future__ import annotations

import argparse
import csv
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import heading, spread, table
from steps import three

import polytask as pk
from polytask.data.cache import Cache
from polytask.data.collate import InputLayout, collate
from polytask.data.reading import Columns, read_file, select
from polytask.inference.predictor import Model
from polytask.model.pretrained import checkpoint_folder
from polytask.tasks.model_folder import save_model
from polytask.training.build import build

Pairs = list[tuple[str, ...]]


def model_folder(data: Path | None, folder: Path) -> Model:
    """Return a model of the three tasks with untrained heads, loaded from a folder."""
    built = build(three(data, 16, {}, {}), quiet=True)
    save_model(built.model, built.tasks, built.tokenizer, folder, {}, "")
    return pk.load(folder)


def some_pairs(data: Path | None, number: int) -> Pairs:
    root = data or Path(pk.__file__).parent / "sample" / "data"
    rows = select(read_file(root / "quora-dev.csv", Cache()),
                  Columns(("sentence1", "sentence2"), "is_duplicate"))
    places = np.random.default_rng(1).permutation(len(rows))[:number]
    return [tuple(texts) for texts in rows.texts(places)]


def pipeline(pairs: Pairs) -> Callable[[], Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make

    folder = checkpoint_folder("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    made = make("text-classification", model, tokenizer=tokenizer, device=-1)
    rows = [{"text": a, "text_pair": b} for a, b in pairs]
    return lambda: made(rows, batch_size=32)


def cross_encoder(pairs: Pairs) -> Callable[[], Any]:
    from sentence_transformers import CrossEncoder

    made = CrossEncoder(str(checkpoint_folder("minilm")), num_labels=1, device="cpu")
    return lambda: made.predict(pairs, show_progress_bar=False)


def onnx_runtime(pairs: Pairs, folder: Path) -> Callable[[], Any]:
    import onnxruntime
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = checkpoint_folder("minilm")
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1,
                                                               attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    example = tokenizer([("a b", "c"), ("d", "e")], padding=True, return_tensors="pt")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    rows, words = torch.export.Dim("rows", max=4096), torch.export.Dim("words", max=512)
    with torch.no_grad():
        torch.onnx.export(model, kwargs=dict(example), f=str(folder / "peer.onnx"), input_names=names,
                          dynamo=True, dynamic_shapes={name: {0: rows, 1: words} for name in names},
                          verbose=False)
    session = onnxruntime.InferenceSession(str(folder / "peer.onnx"))

    def run() -> list[Any]:
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        found = []
        for start in range(0, len(order), 32):
            batch = [pairs[i] for i in order[start:start + 32]]
            held = tokenizer(batch, padding=True, truncation=True, max_length=128, return_tensors="np")
            found.append(session.run(None, {name: held[name] for name in names}))
        return found
    return run


def compared(data: Path | None, number: int, repeats: int, folder: Path) -> str:
    model, pairs = model_folder(data, folder / "model"), some_pairs(data, number)
    ways: dict[str, Callable[[], Any]] = {
        "polytask": lambda: model.predict("quora", pairs),
        "sentence-transformers CrossEncoder.predict": cross_encoder(pairs),
        "transformers pipeline, batches of 32": pipeline(pairs),
        "ONNX Runtime, by length, batches of 32": onnx_runtime(pairs, folder),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):  # the first round warms up
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if repeat:
                rates[name].append(len(pairs) / (time.perf_counter() - began))
    ours = rates["polytask"]
    return table(["", "pairs/s", "polytask is faster by"],
                 [[name, spread(found), spread([a / b for a, b in zip(ours, found, strict=True)])]
                  for name, found in rates.items()])


def sharing(data: Path | None, number: int, folder: Path) -> str:
    """Return the cost of several tasks on one text relative to one task."""
    run = three(data, 16, {}, {})
    same = dict.fromkeys(["quora", "second", "third"], run.tasks["quora"])
    built = build(pk.Run(data=run.data, encoder=run.encoder, tasks=same), quiet=True)
    save_model(built.model, built.tasks, built.tokenizer, folder / "same", {}, "")
    model, pairs = pk.load(folder / "same"), some_pairs(data, number)
    ratios = []
    for _ in range(3):
        began = time.perf_counter()
        model.predict("quora", pairs)
        one = time.perf_counter() - began
        began = time.perf_counter()
        model.predict_all(list(same), pairs)
        ratios.append((time.perf_counter() - began) / one)
    return f"Three tasks of the same pairs cost {spread(ratios)} times one task."


def alone(model: Model, data: Path | None, number: int) -> str:
    """Return the latency of one sentence a call beside the bare pass of the same encoder over it."""
    root = data or Path(pk.__file__).parent / "sample" / "data"
    file = root / ("sst-dev.csv" if data is None else "ids-sst-dev.csv")
    rows = select(read_file(file, Cache()), Columns(("sentence",), "sentiment"))
    texts = [text for (text,) in rows.texts(range(min(number, len(rows))))]
    task = model.task("sst")
    layout = InputLayout.of(task.pairing, task.max_length)
    spent: dict[str, list[float]] = {"Model.predict": [], "the encoder's pass alone": []}
    for text in (*texts[:20], *texts):  # the first twenty warm up
        split = model.split(task, [text])
        batch = collate([split.select("sst", layout, np.array([0]))], split.special_tokens)
        began = time.perf_counter()
        model.predict("sst", [text])
        between = time.perf_counter()
        with torch.inference_mode():
            model.network.encoder(batch)
        spent["Model.predict"].append(1000 * (between - began))
        spent["the encoder's pass alone"].append(1000 * (time.perf_counter() - between))
    lines = [[name, *(f"{each:.2f}" for each in np.percentile(found[20:], (50, 99)))]
             for name, found in spent.items()]
    lines.append(["times", *(f"{float(a) / float(b):.2f}"
                             for a, b in zip(lines[0][1:], lines[1][1:], strict=True))])
    return (f"One SST sentence a call, {len(texts)} of them, warm; milliseconds.\n\n"
            + table(["", "p50", "p99"], lines))


def long_file(rows: int, folder: Path) -> str:
    """Predict a file of many short rows in a separate process; return its rate and memory."""
    source = folder / "rows.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence"])
        words = ["good", "bad", "film", "plot", "cast", "scene", "story", "joke", "ending", "music"]
        for n in range(rows):
            writer.writerow([f"{words[n % 10]} {words[n // 10 % 10]}"])
    command = [sys.executable, "-m", "polytask", "predict", str(folder / "model"), "--task", "sst",
               str(source), "--out", str(folder / "predicted.csv")]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: list[tuple[float, float]] = []
    while process.poll() is None:
        peaks.append((time.perf_counter() - began, _peak(process.pid)))
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    held = [f"{max((mb for at, mb in peaks if at <= seconds * part), default=0):.0f}"
            for part in (0.2, 0.5, 1.0)]
    return (f"{rows:,} rows of two words: {seconds:.0f} s, {rows / seconds:,.0f} rows/s with the start; "
            f"the most memory after a fifth, half and all of it: {', '.join(held)} MB.")


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path)
    words.add_argument("--pairs", type=int, default=800)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--rows", type=int, default=50_000)
    given = words.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        print(heading("transformers", "sentence-transformers", "onnxruntime"))
        print(f"\nMiniLM, {given.pairs} Quora pairs, fp32, {given.repeats} repeats in turn.\n")
        print(compared(given.data, given.pairs, given.repeats, folder))
        print("\n" + alone(pk.load(folder / "model"), given.data, 300))
        print("\n" + sharing(given.data, given.pairs, folder))
        print("\n" + long_file(given.rows, folder))


if __name__ == "__main__":
    main()
