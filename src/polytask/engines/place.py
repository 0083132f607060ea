"""`--on` and `--each`: where runs and shards are computed, and what each of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from polytask.core.errors import ConfigError, MissingExtra

RAY = "ray"
# What Ray and its documentation call what is named cpus and gpus here.
_RAYS_OWN = {"cpu": "cpus", "num_cpus": "cpus", "gpu": "gpus", "num_gpus": "gpus"}


@dataclass(frozen=True)
class Place:
    """A cluster, and what a run or worker there needs.

    address    None: the one of RAY_ADDRESS, or the one that this machine belongs to
    resources  "cpus", "gpus", "memory" (bytes), or a resource of the cluster's own → how much
    """

    address: str | None = None
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpus": 1.0})

    def needs(self) -> str:
        """Return the resources as they are written in --each."""
        return ",".join(f"{name}={count:g}" for name, count in self.resources.items())


def read_place(on: str | None, resources: str | None) -> Place | None:
    """Return the cluster that --on names, None for this machine.

    Raises `ConfigError` for anything else, `MissingExtra` where Ray is not installed.
    """
    if on is None:
        if resources is not None:
            raise ConfigError("--each: says what a run needs on a cluster; choose one with --on ray")
        return None
    if on != RAY and not on.startswith(f"{RAY}://"):
        raise ConfigError(f'--on: found "{on}", expected ray, or the address of a cluster such as '
                          "ray://head:10001")
    place = Place(None if on == RAY else on, _resources(resources or "cpus=1"))
    if find_spec(RAY) is None:  # before a folder is made for what cannot run
        raise MissingExtra("--on ray", RAY)
    return place


def _resources(text: str) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for part in text.split(","):
        name, _, count = (word.strip() for word in part.partition("="))
        if (ours := _RAYS_OWN.get(name.lower())) is not None:
            raise ConfigError(f'--each: found "{name}", expected cpus, gpus, memory (in bytes) or a '
                              f'resource of the cluster\'s own; did you mean "{ours}"?')
        try:
            amounts[name] = float(count)
        except ValueError:
            amounts[name] = -1
        if not name or not 0 <= amounts[name] < float("inf"):
            raise ConfigError(f'--each: found "{part}", expected a resource and how much of it a run '
                              "needs, such as cpus=2,gpus=1")
    return {"cpus": 1.0} | amounts
