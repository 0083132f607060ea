"""Inputs that once ended in a traceback, a hang or gigabytes. Each must be refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from fuzz_child import Outcome, in_child
from fuzz_world import HUB_NAME, World
from pyarrow import parquet

import polytask as pk
from polytask.commands.export import export
from polytask.commands.report import report
from polytask.commands.show import show_run
from polytask.commands.train import train
from polytask.config import Run

Known = Callable[[World, Path], Any]


def _config(text: str) -> Known:
    def attempt(world: World, folder: Path) -> None:
        (folder / "config.toml").write_text(text)
        Run.from_toml(folder / "config.toml")
    return attempt


def _set(*assignments: str) -> Known:
    return lambda world, folder: Run.from_toml(world.folder / "base.toml", assignments)


def _encoder(**changes: Any) -> Known:
    def attempt(world: World, folder: Path) -> None:
        shutil.copytree(world.folder / "encoder", folder / "encoder")
        config = folder / "encoder" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
        _from(world, folder / "encoder", folder)
    return attempt


def _from(world: World, checkpoint: Path, folder: Path) -> None:
    table = world.table()
    table["encoder"] = {"checkpoint": str(checkpoint)}
    train(Run.from_table(table), folder / "out", quiet=True)


def _lying_header(world: World, folder: Path) -> None:
    shutil.copytree(world.run / "model", folder / "model")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    pk.load(folder / "model")


def _endless_header(world: World, folder: Path) -> None:
    shutil.copytree(world.run / "model", folder / "model")
    (folder / "model" / "heads" / "moods" / "model.safetensors").write_bytes(b"\xff" * 64)
    pk.load(folder / "model")


def _data(name: str, write: Callable[[Path], Any]) -> Known:
    def attempt(world: World, folder: Path) -> None:
        write(folder / name)
        table = world.table()
        table["data"] |= {"root": str(folder), "cache": str(folder / "cache")}
        table["tasks"] = {"moods": {"train": name, "text": "text", "label": "mood"}}
        train(Run.from_table(table), folder / "out", quiet=True)
    return attempt


def _wide_parquet(path: Path) -> None:
    columns = {f"column {number}": pyarrow.array([1]) for number in range(20_000)}
    parquet.write_table(pyarrow.table(columns), path)


def _long_line(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"a" * (1 << 20))


def _unclosed(path: Path) -> None:
    path.write_text('text,mood\n"' + "a bee sees,\n" * 2_500_000)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # its whole path may be too long for a socket
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a fifo": lambda path: os.mkfifo(path), "a socket": _socket, "a folder": lambda path: path.mkdir(),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
}


def _special_config(make: Callable[[Path], Any]) -> Known:
    def attempt(world: World, folder: Path) -> None:
        make(folder / "config.toml")
        Run.from_toml(folder / "config.toml")
    return attempt


def _special_in(part: str, name: str, make: Callable[[Path], Any], use: Callable[[World, Path, Path], Any]
                ) -> Known:
    def attempt(world: World, folder: Path) -> None:
        shutil.copytree(world.folder / part, folder / "copy")
        (folder / "copy" / name).unlink()
        make(folder / "copy" / name)
        use(world, folder / "copy", folder)
    return attempt


def _specials() -> dict[str, Known]:
    found: dict[str, Known] = {}
    for kind, make in SPECIAL.items():
        found |= {
            f"{kind} as training data": _data("rows.csv", make), f"{kind} as config": _special_config(make),
            f"{kind} as tokenizer": _special_in("encoder", "tokenizer.json", make, _from),
            f"{kind} as weights": _special_in("encoder", "model.safetensors", make, _from),
            f"{kind} as tasks.json": _special_in("run/model", "tasks.json", make,
                                                 lambda world, copy, folder: pk.load(copy)),
            f"{kind} as results.json": _special_in("run", "config.toml", make,
                                                   lambda world, copy, folder: [*show_run(copy)])}
    return found


def _bomb(world: World, folder: Path) -> None:
    shutil.copytree(world.run, folder / "run")
    np.savez_compressed(folder / "run" / "artifacts" / "artifacts.npz", a=np.zeros(1 << 26))
    report([folder / "run"], plots=False)


def _hub_ref(world: World, folder: Path) -> None:
    from huggingface_hub import constants

    shutil.copytree(world.folder / "hub", folder / "hub")
    (ref,) = (folder / "hub").glob("*/refs/main")
    ref.unlink()
    ref.symlink_to("/dev/zero")
    constants.HF_HUB_CACHE = str(folder / "hub")
    pk.load(f"hf://{HUB_NAME}")


def _exported(text: str) -> Known:
    def attempt(world: World, folder: Path) -> None:
        shutil.copytree(world.run / "model", folder / "model")
        (folder / "model" / "tokenizer_config.json").write_text(text)
        export(folder / "model", "transformers", folder / "out", task="moods",
               check=world.folder / "moods.csv", rows=4)
    return attempt


def _model(name: str, change: Callable[[Any], Any]) -> Known:
    def attempt(world: World, folder: Path) -> None:
        shutil.copytree(world.run / "model", folder / "model")
        file = folder / "model" / name
        table = json.loads(file.read_text())
        change(table)
        file.write_text(json.dumps(table))
        pk.load(folder / "model")
    return attempt


KNOWN: dict[str, Known] = {
    "outputs in words": _model("tasks.json", lambda table: table["tasks"]["pairs"].update(outputs="x")),
    "10^12 outputs": _model("tasks.json", lambda table: table["tasks"]["pairs"].update(outputs=10**12)),
    "a word at place 2^32 - 1": _model(
        "tokenizer.json", lambda table: table["model"]["vocab"].update({"##3": 2**32 - 1})),
    "an activation in numbers": _encoder(hidden_act=2**53 + 1),
    "a commit in the hub's cache that is a link to /dev/zero": _hub_ref,
    "an export of a tokenizer's settings nested without end": _exported("[" * 50_000),
    "tables nested 5,000 deep": _config("a = " + "[" * 5000),
    "keys of 5,000 parts": _config(".".join("a" * 5000) + " = 1"),
    "an integer of 5,000 digits": _config("seed = " + "1" * 5000),
    "a seed beyond 64 bits": _set(f"seed={2**70}"), "a negative seed": _set("seed=-1"),
    "a module without a name": _set("tasks.moods.head=.a:x"),
    "a module of os": _set("tasks.moods.loss=os:system"),
    "a rate of nan": _set("train.optimizer.lr=nan"), "an infinite rate": _set("train.optimizer.lr=inf"),
    "10^12 epochs": _set("train.epochs=1000000000000"),
    "an encoder of a million layers": _encoder(num_hidden_layers=1_000_000),
    "an encoder of 2^31 words": _encoder(vocab_size=2**31 - 1),
    "an encoder as wide as the sea": _encoder(hidden_size=2**20, num_attention_heads=1),
    "positions without end": _encoder(max_position_embeddings=2**31 - 1),
    "a width of 10^400": _encoder(hidden_size=10**400), "a width in words": _encoder(hidden_size="wide"),
    "heads that do not divide": _encoder(num_attention_heads=3),
    "no heads": _encoder(num_attention_heads=0),
    "a safetensors header that lies": _lying_header, "a safetensors header without end": _endless_header,
    "a parquet of 20,000 columns": _data("rows.parquet", _wide_parquet),
    "a header of a million columns": _data("rows.csv", lambda path: path.write_text("a," * 10**6 + "\n")),
    "an unclosed quote of 30 MB": _data("rows.csv", _unclosed),
    "a gzipped line of 300 MB": _data("rows.csv.gz", _long_line),
    "JSON nested 100,000 deep": _data("rows.jsonl", lambda path: path.write_text("[" * 100_000)),
    "arrays of half a gigabyte in an artifact": _bomb,
    **_specials(),
}


def attempt_known(name: str, world: World, folder: Path) -> Outcome:
    """Try one of them in a new folder and a process of its own."""
    folder.mkdir()
    return in_child(lambda: KNOWN[name](world, folder))
