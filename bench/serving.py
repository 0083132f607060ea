"""The server under load: throughput and latency, one task and five, against FastAPI around CrossEncoder.

    python bench/serving.py [--seconds 10] [--minutes 0] [--engine torch] [--threads N] [--write]

Five cross-encoder tasks on MiniLM's encoder with untrained heads (speed does not depend on weights) answer
Quora pairs, a pair a request, from 1, 4, 16 and 64 clients that wait for their answer. In turn at each
number: all five tasks, one of them, and the peer: `CrossEncoder.predict` of sentence-transformers behind a
FastAPI route, with the same encoder and threads. Every answer is compared with `Model.predict`.

Then requests arrive at ten times the rate that was measured, whether or not others were answered: each
answer is compared again, and the refusals are timed. --minutes watches the memory under load for so long.
--write puts the output into docs/serving.md, between <!-- serving --> and <!-- end serving -->.
Server and clients share the machine: the clients' own time is in the figures of every way alike.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from machine import heading, table
from pydantic import BaseModel

PAGE = Path(__file__).parent.parent / "docs" / "serving.md"
TASKS = ("a", "b", "c", "d", "e")
CLIENTS = (1, 4, 16, 64)
OVERLOAD = 10
# Seconds of overload until the queue is full, and every further request is refused.
SETTLED = 2.0
Pair = tuple[str, str]
Right = Callable[[Any, int], bool]


class PairsBody(BaseModel):
    """What the peer is sent."""

    pairs: list[tuple[str, str]]


@dataclass
class Load:
    """What a server was sent and what came back, latencies in milliseconds by status."""

    seconds: float = 0.0
    latencies: dict[int, list[float]] = field(default_factory=dict)
    wrong: int = 0
    lost: int = 0
    began: float = field(default_factory=time.perf_counter)
    settled: list[float] = field(default_factory=list)  # refusals, once the queue has filled

    def add(self, status: int, sent: float) -> None:
        took = 1000 * (time.perf_counter() - sent)
        self.latencies.setdefault(status, []).append(took)
        if status == 429 and sent - self.began > SETTLED:
            self.settled.append(took)

    def rate(self) -> float:
        return len(self.latencies.get(200, ())) / self.seconds

    def at(self, status: int, *shares: float) -> list[float]:
        return np.percentile(self.latencies.get(status) or [np.nan], shares).tolist()


class Client:
    """One connection, used again for each request: what a client costs should not hide the server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                     f"content-length: {len(body)}\r\n\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        content = await reader.readexactly(int(length[1])) if length else b""
        if b"connection: close" in head:
            self.close()
        return int(head.split()[1]), content

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def asked(client: Client, load: Load, path: str, body: bytes, number: int, right: Right) -> None:
    """Send one request, and note its status, its time, and whether the answer is the right one."""
    began = time.perf_counter()
    try:
        status, content = await client.post(path, body)
    except (OSError, asyncio.IncompleteReadError):
        load.lost += 1
        client.close()
        return
    load.add(status, began)
    if status == 200 and not right(json.loads(content), number):
        load.wrong += 1


async def closed(port: int, path: str, bodies: Sequence[bytes], right: Right, clients: int,
                 seconds: float) -> Load:
    """Let clients ask, each when its last answer is there."""
    load, numbers, began = Load(), count(), time.perf_counter()

    async def one() -> None:
        client = Client(port)
        while time.perf_counter() - began < seconds:
            number = next(numbers) % len(bodies)
            await asked(client, load, path, bodies[number], number, right)
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    load.seconds = time.perf_counter() - began
    return load


async def opened(port: int, path: str, bodies: Sequence[bytes], right: Right, rate: float,
                 seconds: float) -> Load:
    """Let requests arrive at a rate, whether or not those before were answered."""
    # A collection of this process' garbage takes 0.3 s, which would be told of the server.
    gc.collect()
    gc.disable()
    load, began = Load(), time.perf_counter()
    idle: list[Client] = []

    async def one(number: int) -> None:
        client = idle.pop() if idle else Client(port)
        await asked(client, load, path, bodies[number], number, right)
        idle.append(client)

    waiting = set()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        waiting.add(asyncio.ensure_future(one(number % len(bodies))))
    await asyncio.gather(*waiting)
    gc.enable()
    for client in idle:
        client.close()
    load.seconds = time.perf_counter() - began
    return load


# ---- the servers


def model_folder(folder: Path, engine: str) -> Path:
    """Write a model with five tasks that read pairs alike, exported where the engine needs it."""
    from polytask.config import Run
    from polytask.tasks.model_folder import save_model
    from polytask.training.build import build

    task = {"train": "quora-train.csv", "dev": "quora-dev.csv", "text": ["sentence1", "sentence2"],
            "label": "is_duplicate", "limit": 64, "dev_limit": 64}
    run = Run.from_table({"data": {"root": "sample"}, "encoder": {"checkpoint": "minilm"},
                          "tasks": dict.fromkeys(TASKS, task)})
    built = build(run, quiet=True)
    save_model(built.model, built.tasks, built.tokenizer, folder, {}, "")
    if engine != "torch":
        from polytask.commands.export import export

        export(folder, to="onnx", int8=engine == "int8")
    return folder


def quora_pairs(number: int) -> list[Pair]:
    import polytask
    from polytask.data.cache import Cache
    from polytask.data.reading import Columns, read_file, select

    root = Path(polytask.__file__).parent / "sample" / "data"
    rows = select(read_file(root / "quora-dev.csv", Cache()),
                  Columns(("sentence1", "sentence2"), "is_duplicate"))
    places = np.random.default_rng(1).permutation(len(rows))[:number]
    return [(texts[0], texts[1]) for texts in rows.texts(places)]


@contextmanager
def process(command: Sequence[str], threads: int) -> Iterator[tuple[int, int]]:
    """Start a server that prints its address; yield its port and its process id."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert started.stderr is not None
    try:
        for line in started.stderr:
            if address := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise SystemExit(f"{command[1:3]} did not start")
        yield int(address[1]), started.pid
    finally:
        started.terminate()
        started.communicate(timeout=120)


def peer(threads: int) -> None:
    """Serve `CrossEncoder.predict`, as its users write it: a route, a model, a lock around it."""
    import threading

    import torch
    import uvicorn
    from fastapi import FastAPI
    from sentence_transformers import CrossEncoder

    from polytask.model.pretrained import checkpoint_folder

    torch.set_num_threads(threads)
    model = CrossEncoder(str(checkpoint_folder("minilm")), num_labels=1)
    lock, app = threading.Lock(), FastAPI()

    @app.post("/predict")
    def predict(body: PairsBody) -> dict[str, list[float]]:
        with lock:
            return {"scores": model.predict(body.pairs, show_progress_bar=False).tolist()}

    uvicorn.Server(uvicorn.Config(app, port=0, access_log=False)).run()


# ---- the page


def latency_rows(ways: dict[str, tuple[int, str, Right]], bodies: Sequence[bytes],
                 seconds: float) -> tuple[list[list[str]], float]:
    """Measure all ways at each number of clients, in turn; return the rows, and our rate at 16 clients."""
    rows, capacity = [], 1.0
    for clients in CLIENTS:
        for name, (port, path, right) in ways.items():
            load = asyncio.run(closed(port, path, bodies, right, clients, seconds))
            if load.wrong or load.lost or set(load.latencies) != {200}:
                raise SystemExit(f"{name}, {clients} clients: {load.wrong} answers wrong, {load.lost} "
                                 f"lost, statuses {sorted(load.latencies)}")
            if name.startswith("polytask, one") and clients == 16:
                capacity = load.rate()
            shown = [f"{each:.0f}" for each in load.at(200, 50, 95, 99)]
            rows.append([str(clients), name, f"{load.rate():.1f}", *shown])
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    return rows, capacity


def overload_text(load: Load, rate: float) -> str:
    by_status = Counter({status: len(values) for status, values in load.latencies.items()})
    refused = load.latencies.get(429, [])
    shares = {"p50": 50, "p95": 95, "p99": 99, "at most": 100}
    took, settled = (", ".join(f"{name} {np.percentile(found or [np.nan], share):.1f}"
                               for name, share in shares.items()) for found in (refused, load.settled))
    return (f"At {OVERLOAD} times that rate ({rate:.0f} requests a second): "
            f"{sum(by_status.values()) + load.lost:,} requests, {by_status[200]:,} answered, of which "
            f"{load.wrong} wrong; {len(refused):,} refused with 429 in {took} ms (those sent after "
            f"{SETTLED:g} s, with the queue full: {settled} ms); {load.lost} lost; "
            f"{sum(by_status.values()) - by_status[200] - len(refused)} of another status.")


def resident(process_id: int) -> float:
    """Return the resident memory of a process in MB."""
    text = Path(f"/proc/{process_id}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def memory_text(port: int, process_id: int, bodies: Sequence[bytes], right: Right, minutes: int) -> str:
    sizes = [resident(process_id)]
    for _ in range(minutes):
        load = asyncio.run(closed(port, "/tasks/a", bodies, right, 64, 60))
        if load.wrong or load.lost:
            raise SystemExit(f"memory: {load.wrong} answers wrong, {load.lost} lost")
        sizes.append(resident(process_id))
        print(f"memory {sizes[-1]:.0f} MB", file=sys.stderr, flush=True)
    return (f"Resident memory under load from 64 clients, at the start and after each of {minutes} "
            "minutes: " + ", ".join(f"{size:.0f}" for size in sizes) + " MB.")


def measured(options: argparse.Namespace) -> str:
    import polytask

    pairs = quora_pairs(200)
    bodies = [json.dumps({"pairs": [pair]}).encode() for pair in pairs]
    with tempfile.TemporaryDirectory() as place:
        folder = model_folder(Path(place) / "model", options.engine)
        answers = polytask.load(folder).predict_all(TASKS, pairs)
        tolerance = 0.05 if options.engine == "int8" else 1e-4

        def right(*tasks: str) -> Right:
            return lambda content, number: all(
                abs(content["results"][0][task]["score"] - answers[task][number].score) < tolerance
                for task in tasks) and set(content["results"][0]) == set(tasks)

        command = [sys.executable, "-m", "polytask", "serve", str(folder), "--port", "0", "--engine",
                   options.engine, "--threads", str(options.threads), "--set", "log=none"]
        own_peer = [sys.executable, __file__, "--peer", "--threads", str(options.threads)]
        with (process(command, options.threads) as (port, pid),
              process(own_peer, options.threads) as (other, _)):
            ways = {"polytask, five tasks": (port, "/predict", right(*TASKS)),
                    "polytask, one task": (port, "/tasks/a", right("a")),
                    "FastAPI + CrossEncoder, one task": (
                        other, "/predict", lambda content, number: len(content["scores"]) == 1)}
            for address, path, check in ways.values():  # the first requests warm up
                asyncio.run(closed(address, path, bodies, check, 4, 1))
            rows, capacity = latency_rows(ways, bodies, options.seconds)
            rate = OVERLOAD * capacity
            load = asyncio.run(opened(port, "/tasks/a", bodies, right("a"), rate, options.seconds))
            if load.wrong:
                raise SystemExit(f"overload: {load.wrong} answers wrong")
            parts = [f"{heading('fastapi', 'uvicorn', 'sentence-transformers')}; {os.cpu_count()} cores, "
                     f"{options.threads} threads a server, engine {options.engine}. A pair a request; "
                     "milliseconds.",
                     table(["clients", "server", "requests a second", "p50", "p95", "p99"], rows),
                     overload_text(load, rate)]
            if options.minutes:
                parts.append(memory_text(port, pid, bodies, right("a"), options.minutes))
    return "\n\n".join(parts)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    words.add_argument("--minutes", type=int, default=0, help="to watch the memory for")
    words.add_argument("--engine", choices=["torch", "onnx", "int8"], default="torch")
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--write", action="store_true", help="write the output into docs/serving.md")
    words.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = words.parse_args()
    if options.peer:
        peer(options.threads)
        return
    text = measured(options)
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        marked = re.compile(r"(<!-- serving -->\n).*?(<!-- end serving -->)", re.DOTALL)
        if not marked.search(page):
            raise SystemExit(f"{PAGE}: has no lines <!-- serving --> and <!-- end serving -->")
        PAGE.write_text(marked.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
