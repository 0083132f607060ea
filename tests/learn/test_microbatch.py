"""How the rows of an update are counted and cut into chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.learn.microbatch import TaskRows, chunks, count_by_task

quick = settings(derandomize=True, database=None, deadline=None, max_examples=80)
draws = st.lists(st.tuples(st.sampled_from(["sst", "quora", "sts"]), st.integers(1, 9)), min_size=1,
                 max_size=5)


def drawn(sizes: list[tuple[str, int]]) -> list[TaskRows]:
    at = iter(range(1000))
    return [TaskRows(task, np.array([next(at) for _ in range(size)])) for task, size in sizes]


@quick
@given(sizes=draws, number=st.integers(1, 6))
def test_chunks_hold_every_row_once_in_order_and_their_shares_add_up(
    sizes: list[tuple[str, int]], number: int
) -> None:
    given_rows = drawn(sizes)
    cut = chunks(given_rows, number)
    assert len(cut) <= number and all(cut)
    for whole in given_rows:
        own = [part for chunk in cut for part in chunk if part.rows[0] in whole.rows]
        assert np.concatenate([part.rows for part in own]).tolist() == whole.rows.tolist()
        assert sum(part.share for part in own) == pytest.approx(1)
        assert all(part.task == whole.task for part in own)
        lengths = [len(part.rows) for part in own]
        assert max(lengths) - min(lengths) <= 1
        assert [part.share for part in own] == pytest.approx([n / len(whole.rows) for n in lengths])


def test_one_chunk_is_the_step_itself() -> None:
    rows = drawn([("sst", 4), ("sts", 2)])
    assert chunks(rows, 1) == [rows]
    assert chunks(rows, 1)[0] is rows


def test_a_task_with_fewer_rows_than_chunks_is_in_the_first_ones_alone() -> None:
    cut = chunks(drawn([("sst", 4), ("sts", 1)]), 4)
    assert [[part.task for part in chunk] for chunk in cut] == [["sst", "sts"], ["sst"], ["sst"], ["sst"]]


def test_draws_of_one_task_are_counted_together() -> None:
    assert count_by_task(drawn([("sst", 4), ("sts", 1), ("sst", 3)])) == {"sst": 7, "sts": 1}
