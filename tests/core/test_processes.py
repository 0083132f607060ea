"""Alone, everything that processes do together is the identity."""

from __future__ import annotations

from pathlib import Path

import torch

from polytask.core.processes import ALONE, Processes


def test_one_process_has_all_rows_and_writes() -> None:
    assert list(ALONE.share(3)) == [0, 1, 2]
    assert ALONE.writes and ALONE.any(True) and not ALONE.any(False)
    assert ALONE.agreed({"a": 1}) == {"a": 1}
    with ALONE.one_first():
        ALONE.barrier()
    ALONE.refuse_differences("the config", {})
    ALONE.refuse_unshared(Path("nowhere"))


def test_tensors_pass_as_they_are() -> None:
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    assert ALONE.total(value) is value
    assert ALONE.whole([value], [2])[0] is value and ALONE.gather(value)[0] is value
    ALONE.sum_([value])
    ALONE.broadcast_([value])
    assert value.tolist() == [1.0, 2.0]


def test_shares_are_apart_and_make_up_the_whole() -> None:
    for world in (1, 2, 3, 5):
        shares = []
        for rank in range(world):
            one = Processes()
            one.rank, one.world = rank, world
            shares += list(one.share(4))
        assert sorted(shares) == [0, 1, 2, 3]
