"""The engine that a command's options ask for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytask.core.paths import PredictionPaths
from polytask.engines.contract import Engine
from polytask.engines.local import LocalEngine
from polytask.engines.place import read_place
from polytask.engines.shards import LocalShards, ShardEngine


@contextmanager
def engine_for(own: Engine | None, workers: int | None, on: str | None, resources: str | None
               ) -> Iterator[Engine]:
    """Give the engine `own`, processes of this machine, or a cluster; close it in the end."""
    place = read_place(on, resources)
    engine = own or LocalEngine(workers or 1)
    if place is not None:
        from polytask.engines.ray_cluster import RayEngine

        engine = RayEngine(place, workers)
    try:
        yield engine
    finally:
        engine.close()


def shard_engine_for(folder: Path, workers: int | None, trust: bool, on: str | None, resources: str | None
                     ) -> ShardEngine:
    """Return worker processes of this machine, or actors on a cluster."""
    place = read_place(on, resources)
    if place is not None:
        from polytask.engines.ray_cluster import RayShards

        return RayShards(folder, place, trust, workers)
    return LocalShards(folder, workers or 1, trust, PredictionPaths(folder).worker_log)
