"""Runs and shards on a cluster of Ray: each an actor with its resources, on whichever node has room.

Where the folder of a study is shared storage, a run trains in place, and resumes elsewhere from its last
checkpoint when its node is lost. Where it is not, a run trains in a folder of its node, comes back whole
when it is finished, and starts anew when its node is lost.
"""

from __future__ import annotations

import importlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra, PolytaskError, nearest
from polytask.core.paths import shared_mark
from polytask.core.user_modules import searched, trusted
from polytask.engines.contract import Engine, Execution
from polytask.engines.job import Job
from polytask.engines.place import Place
from polytask.engines.ray_actors import RunActor, ShardActor, installed_version, unpacked
from polytask.engines.ray_head import HeadWatch, connecting
from polytask.engines.shards import Report, ShardEngine, worker_error

# A run whose nodes are lost so often is not started again: it may be what kills them.
_MOST_LOSSES = 3
# How long a run may take to save after it is asked to stop.
_STOP_SECONDS = 120.0


class Cluster:
    """A connection to a cluster of Ray."""

    def __init__(self, place: Place) -> None:
        """Connect. Raises `MissingExtra` without Ray, `PolytaskError` where no cluster answers, or none of
        its nodes has what a run needs."""
        try:
            self.ray = importlib.import_module("ray")
        except ImportError:
            raise MissingExtra("--on ray", "ray") from None
        self.place = place
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = place.address or os.environ.get("RAY_ADDRESS") or "auto"
        self.name = "the Ray cluster" if address == "auto" else f"the Ray cluster at {address}"
        if not self.ray.is_initialized():
            try:
                with connecting(address, self._unanswered):
                    self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise PolytaskError(self._unanswered(" ".join(str(error).split())[:160])) from None
        self._head = HeadWatch(getattr(self.ray.get_runtime_context(), "gcs_address", ""), self._gone)
        self.capacity()

    def _unanswered(self, reason: str) -> str:
        return (f"--on: {self.name} does not answer ({reason}); start one with ray start --head, and ray "
                "start --address=HEAD:6379 elsewhere")

    def capacity(self) -> int:
        """Return how many runs the nodes have room for; raise `PolytaskError` if no node has for one."""
        with self.connected():
            nodes = [self._of(node["Resources"]) for node in self.ray.nodes() if node["Alive"]]
        needs = {name: count for name, count in self.place.resources.items() if count > 0}
        room = sum(int(min(resources.get(name, 0.0) // count for name, count in needs.items()))
                   for resources in nodes) if needs else len(nodes)
        if room:
            return room
        most = {name: max((resources.get(name, 0.0) for resources in nodes), default=0.0) for name in needs}
        known = {name for resources in nodes for name in resources}
        hint = next((found for name in needs if name not in known and (found := nearest(name, known))), "")
        raise PolytaskError(f"--each: no living node of {self.name} has {self.place.needs()}; the most "
                            f"that one of its nodes ({len(nodes)}) offers is "
                            f"{', '.join(f'{name}={count:g}' for name, count in most.items())}{hint}")

    def _of(self, resources: dict[str, float]) -> dict[str, float]:
        return {**resources, "cpus": resources.get("CPU", 0.0), "gpus": resources.get("GPU", 0.0)}

    def actor(self, kind: type, *arguments: Any) -> Any:
        """Start an actor with the resources of the place."""
        asked = dict(self.place.resources)
        options = {"num_cpus": asked.pop("cpus", 1.0), "num_gpus": asked.pop("gpus", 0.0),
                   "memory": asked.pop("memory", None), "resources": asked or None, "max_restarts": 0,
                   # It stops while it trains; and what is written must be there before it ends.
                   "max_concurrency": 2}
        with self.connected():
            try:
                return self.ray.remote(**options)(kind).remote(*arguments)
            except ValueError as error:  # half a GPU more than one, …
                reason = " ".join(str(error).split())[:160]
                raise PolytaskError(
                    f"--each: found {self.place.needs()}, which Ray refuses ({reason})") from None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Return an error that says the cluster is gone."""
        gone = (ConnectionError, self.ray.exceptions.RaySystemError)
        try:
            with self._head.call():
                yield
        except gone as error:
            raise PolytaskError(self._gone(" ".join(str(error).split())[:160])) from None

    def _gone(self, reason: str) -> str:
        return f"{self.name} is gone ({reason}); finished work is kept, and the same command resumes"

    def result(self, reference: Any) -> Any:
        """Return what a call returned; raise `LostError` if its node or process died."""
        errors = self.ray.exceptions
        with self.connected():
            try:
                return self.ray.get(reference)
            except errors.RayTaskError as error:
                cause = getattr(error, "cause", None) or error
                raise worker_error(type(cause).__name__, str(cause)) from None
            except errors.RaySystemError:
                raise
            except errors.RayError as error:
                raise LostError(" ".join(str(error).split())[:160]) from None


class LostError(Exception):
    """A node, or the process of an actor on it, died."""


class RayRun(Execution):
    """A job on some node; it starts again elsewhere if that is lost."""

    def __init__(self, job: Job, engine: RayEngine) -> None:
        self.job, self.engine, self.cluster = job, engine, engine.cluster
        self.started = time.monotonic()
        self.losses, self.failure = 0, ""
        self._stopped_at, self._ended = 0.0, False
        self._start()

    def _start(self) -> None:
        job = self.job
        self.actor = self.cluster.actor(RunActor, installed_version(), searched(), trusted())
        mark = str(self.engine.mark(job)) if self.engine.shared is not False else None
        self.reference = self.actor.train.remote(
            str(job.config.absolute()), str(job.folder.absolute()), str(job.log.absolute()), mark,
            job.config.read_text(encoding="utf-8"))

    @property
    def ended(self) -> bool:
        if self._ended:
            return True
        with self.cluster.connected():
            ready, _ = self.cluster.ray.wait([self.reference], timeout=0)
        if ready:
            self._take()
        elif self._stopped_at and time.monotonic() - self._stopped_at > _STOP_SECONDS:
            self._end("did not stop in time")  # it may still have waited for its resources
        return self._ended

    def _take(self) -> None:
        """Take a run's result, or start it again if it was lost."""
        try:
            result = self.cluster.result(self.reference)
        except LostError as error:
            self.losses += 1
            if self._stopped_at or self.losses == _MOST_LOSSES:
                self._end(f"was lost with its node {self.losses} times ({error})")
                return
            self.engine.workers = self.engine.room()
            self._start()
            return
        except PolytaskError as error:
            self._end(str(error))
            return
        if result["folder"] is not None:
            unpacked(result["folder"], self.job.folder)
        self._end(result["complaint"])

    def _end(self, failure: str) -> None:
        self.failure, self._ended = failure, True
        self.cluster.ray.kill(self.actor)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def stop(self) -> None:
        if not self._stopped_at and not self._ended:
            self._stopped_at = time.monotonic()
            self.actor.stop.remote()

    def complaint(self) -> str:
        return self.failure or self.job.last_line()


class RayEngine(Engine):
    """Jobs on a cluster of Ray, as many at a time as its nodes have room for, or `most`.

    shared: False: no node sees the jobs' folders; None: each looks for itself.
    """

    def __init__(self, place: Place, most: int | None = None, shared: bool | None = None) -> None:
        self.cluster, self.most, self.shared = Cluster(place), most, shared
        self.workers = self.room()
        self._mark: Path | None = None

    def room(self) -> int:
        """Return how many jobs may run now."""
        room = self.cluster.capacity()
        return room if self.most is None else min(room, self.most)

    def mark(self, job: Job) -> Path:
        """Return a file beside the configs by which a node knows that it sees the same folders."""
        if self._mark is None:
            self._mark = shared_mark(job.config.parent, uuid.uuid4().hex).absolute()
            self._mark.touch()
        return self._mark

    def start(self, job: Job) -> RayRun:
        job.write_config()
        self.workers = self.room()  # nodes come and go
        return RayRun(job, self)

    def close(self) -> None:
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)


class RayShards(ShardEngine):
    """Shards by actors on a cluster that keep the model; `folder`, model and data are shared storage."""

    def __init__(self, folder: Path, place: Place, trust: bool, most: int | None = None) -> None:
        self.cluster, self.folder, self.trust = Cluster(place), folder.absolute(), trust
        room = self.cluster.capacity()
        self.workers = room if most is None else min(room, most)
        self._idle: list[tuple[int, Any]] = []
        self._running: dict[Any, tuple[int, int, Any]] = {}
        """Reference of a call → shard, index of the actor, actor."""

    @property
    def free(self) -> bool:
        return len(self._running) < self.workers

    def start(self, number: int) -> None:
        if self._idle:
            index, actor = self._idle.pop()
        else:
            taken = {index for _, index, _ in self._running.values()}
            index = next(place for place in range(self.workers) if place not in taken)
            actor = self.cluster.actor(ShardActor, installed_version(), str(self.folder), index,
                                       searched(), self.trust)
        self._running[actor.compute.remote(number)] = number, index, actor

    def reports(self, seconds: float) -> list[Report]:
        with self.cluster.connected():
            ready, _ = self.cluster.ray.wait([*self._running], num_returns=1, timeout=seconds)
        reports = []
        for reference in ready:
            number, index, actor = self._running.pop(reference)
            try:
                self.cluster.result(reference)
            except LostError as error:
                reports.append(Report(number, lost=f"was lost with its node ({error})"))
                self.workers = max(1, min(self.workers, self.cluster.capacity()))
                continue
            self._idle.append((index, actor))
            reports.append(Report(number, done=True))
        return reports

    def stop(self) -> None:
        for _, actor in [*self._idle, *((index, actor) for _, index, actor in self._running.values())]:
            with suppress(Exception):  # a cluster that is gone has no actors to end
                self.cluster.ray.kill(actor)

