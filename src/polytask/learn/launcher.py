"""The environment that a launcher of several processes, such as torchrun, gives to each of them."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.core.errors import RunError

MOST_PROCESSES = 100_000


def place_of(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Return rank, world and local rank, or None for one process.

    Raises `RunError` for an environment that is not complete.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return None
    world = _number(environment, "WORLD_SIZE")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in environment:
            raise RunError(f"WORLD_SIZE is {world} in the environment but {name} is not set; start several "
                           f"processes with torchrun --standalone --nproc-per-node {world} -m polytask "
                           "train …, or unset WORLD_SIZE for one")
    rank = _number(environment, "RANK")
    _number(environment, "MASTER_PORT", most=65535)
    if not 0 <= rank < world:
        raise RunError(f"RANK: found {rank}, expected 0 to {world - 1}, as WORLD_SIZE is {world}")
    return rank, world, _number(environment, "LOCAL_RANK") if "LOCAL_RANK" in environment else rank


def _number(environment: Mapping[str, str], name: str, most: int = MOST_PROCESSES) -> int:
    try:
        number = int(environment[name])
    except ValueError:
        number = most + 1
    if number > most:
        raise RunError(f'{name}: found "{environment[name][:40]}" in the environment, expected a number up '
                       f"to {most:,}; torchrun sets it")
    return number
