"""A server's metrics, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Counters:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self._requests = Counter("polytask_requests", "Requests answered.", ["route", "status"],
                                 registry=own)
        self._seconds = Histogram("polytask_request_seconds", "Time of a request.", ["route"],
                                  buckets=_SECONDS, registry=own)
        self._queue_seconds = Histogram("polytask_queue_seconds", "Time of an input in the queue.",
                                        buckets=_SECONDS, registry=own)
        self._batch_seconds = Histogram("polytask_inference_seconds", "Time of a batch.",
                                        buckets=_SECONDS, registry=own)
        self._batch_texts = Histogram("polytask_batch_texts", "Inputs of a batch.", buckets=_SIZES,
                                      registry=own)
        self._batch_tokens = Histogram("polytask_batch_tokens", "Tokens of a batch.", buckets=_TOKENS,
                                       registry=own)
        self._queue = Gauge("polytask_queue_texts", "Inputs waiting.", registry=own)
        self._failures = Counter("polytask_failures", "Inputs that the model failed on.", registry=own)
        self._answers = Counter("polytask_answers", "Answers by task and label.", ["task", "label"],
                                registry=own)
        self._reloads = Counter("polytask_reloads", "Models loaded in place of another.", registry=own)
        self._connections = Counter("polytask_connections_refused", "Connections closed by the server.",
                                    ["reason"], registry=own)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def waited(self, seconds: float) -> None:
        self._queue_seconds.observe(seconds)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        self._batch_texts.observe(texts)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def queue(self, texts: int) -> None:
        self._queue.set(texts)

    def failure(self) -> None:
        self._failures.inc()

    def answer(self, task: str, label: str) -> None:
        self._answers.labels(task, label).inc()

    def reload(self) -> None:
        self._reloads.inc()

    def refused_connection(self, reason: str) -> None:
        self._connections.labels(reason).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
