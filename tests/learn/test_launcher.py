"""A process knows its place from the environment; an incomplete one is refused with the remedy."""

from __future__ import annotations

import pytest

from polytask.core.errors import RunError
from polytask.learn.launcher import place_of

COMPLETE = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}


def test_the_place_is_rank_world_and_local_rank() -> None:
    assert place_of(COMPLETE) == (3, 4, 1)
    assert place_of({key: value for key, value in COMPLETE.items() if key != "LOCAL_RANK"}) == (3, 4, 3)
    assert place_of({}) is None and place_of({"WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(("changes", "text"), [
    ({"RANK": "4"}, "RANK: found 4, expected 0 to 3, as WORLD_SIZE is 4"),
    ({"WORLD_SIZE": "four"}, 'WORLD_SIZE: found "four" in the environment, expected a number'),
    ({"WORLD_SIZE": "9" * 30}, "expected a number up to 100,000"),
    ({"LOCAL_RANK": "9" * 5_000}, f'LOCAL_RANK: found "{"9" * 40}" in the environment'),
    ({"MASTER_PORT": "x"}, 'MASTER_PORT: found "x"'),
    ({"MASTER_PORT": "65536"}, "expected a number up to 65,535"),
])
def test_what_is_not_a_place_is_refused(changes: dict[str, str], text: str) -> None:
    with pytest.raises(RunError) as refusal:
        place_of({**COMPLETE, **changes})
    assert text in str(refusal.value)


def test_a_missing_address_is_named_with_the_remedy() -> None:
    with pytest.raises(RunError, match=r"MASTER_ADDR is not set; start several processes with torchrun"):
        place_of({key: value for key, value in COMPLETE.items() if key != "MASTER_ADDR"})
