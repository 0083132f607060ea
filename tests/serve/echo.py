"""A model that answers at once with what it was asked, and a server in a thread over it."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from polytask.serve.engine import BatchAnswers, EncodedText, TaskAnswer, TaskInfo
from polytask.serve.server import server_of
from polytask.serve.service import Service
from polytask.serve.settings import ServeSettings

POISON = 666


class Echo:
    """A model that answers with the first token of each input; 666 fails, `gate` makes it wait."""

    engine = "echo"
    embedding_layout: Hashable = "single"

    def __init__(self, width: int = 1, seconds: float = 0.0) -> None:
        self.name, self.width, self.max_length, self.pooling = "echo", width, 64, "mean"
        self.seconds = seconds
        self.tasks = {"a": TaskInfo("a", 1, "regression", (), (0.0, 1e9), "single", "single")}
        self.batches: list[tuple[str, ...]] = []
        self.sizes: list[int] = []
        self.batch_tokens: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def tokenize(self, inputs: Sequence[tuple[str, ...]]) -> list[EncodedText]:
        return [EncodedText((np.array([number_of(text) for text in texts], np.int32),)) for texts in inputs]

    def tokens(self, layout: Hashable, text: EncodedText) -> tuple[int, int]:
        return 10, 10

    def answer(self, layout: Hashable, tasks: Sequence[str], inputs: Sequence[EncodedText],
               embed: bool) -> BatchAnswers:
        self.gate.wait(20)
        time.sleep(self.seconds)
        numbers = [int(each.ids[0][0]) for each in inputs]
        self.sizes.append(len(numbers))
        self.batches.append(tuple(tasks))
        self.batch_tokens.append(sum(self.tokens(layout, each)[0] for each in inputs))
        if POISON in numbers:
            raise RuntimeError("poisoned by a secret text")
        answers = [TaskAnswer(number, float(number), None, (float(number),)) for number in numbers]
        vectors = np.repeat(np.array(numbers, np.float32)[:, None], self.width, 1)
        return BatchAnswers(dict.fromkeys(tasks, answers), vectors if embed else None)


def number_of(text: str) -> int:
    """Return the number that the model answers a text with."""
    return int(text) if text.isdigit() else zlib.crc32(text.encode()) >> 1


class Live:
    """A server on a port of its own: its service, and requests to it by a client or as bytes."""

    def __init__(self, service: Service, port: int) -> None:
        self.service, self.port = service, port
        self.url = f"http://127.0.0.1:{port}"
        # One client, as each would read the system's certificates; a connection a request.
        self.client = httpx.Client(base_url=self.url, timeout=20, verify=False,
                                   limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def post(self, path: str, body: Any, **given: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content,
                                headers={"content-type": "application/json", **given})

    def answers(self) -> bool:
        """Return whether a plain request gets its right answer."""
        answer = self.post("/tasks/a", {"texts": "7"})
        return answer.status_code == 200 and bool(answer.json()["results"][0]["a"]["label"] == 7)


@contextmanager
def live(model: Any, parser: str = "auto", keys: Sequence[bytes] = (), send_buffer: int | None = None,
         **settings: Any) -> Iterator[Live]:
    """Run a server over a model in a thread."""
    service = Service([model], ServeSettings(**{"log": "none", **settings}))
    server = server_of(service, keys, parser)
    with socket.socket() as listening:
        if send_buffer:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            running = Live(service, listening.getsockname()[1])
            with running.client:
                yield running
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server did not end"


def read_all(connection: socket.socket) -> bytes:
    """Return what a server sends until it closes the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def one_answer(connection: socket.socket) -> bytes:
    """Return one answer, head and body, from a connection that may stay open."""
    received = b""
    while b"\r\n\r\n" not in received and (data := connection.recv(65536)):
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    while length and len(body) < int(length[1]) and (data := connection.recv(65536)):
        body += data
    return head + b"\r\n\r\n" + body


def request_bytes(path: str = "/tasks/a", body: bytes = b'{"texts": "7"}',
                  length: int | None = None) -> bytes:
    """Return a POST as bytes; `length` is the length that it declares."""
    return (f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body) if length is None else length}\r\n\r\n").encode() + body
