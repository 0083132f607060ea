"""Batches for a graph, which pads attention: all rows, like lengths, bounded tokens and scores."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.inference.graph_batches import MOST_SCORES, MOST_TOKENS, graph_batches, pass_tokens

CHANCE = np.random.default_rng(4)


@pytest.mark.parametrize("lengths", [
    [[512], *([[5]] * 300)], [[5, 512]] * 3 + [[4, 4]] * 250, CHANCE.integers(2, 513, (700, 1)).tolist(),
    CHANCE.integers(2, 40, (900, 2)).tolist(), [[8000], [3], [7000]], [[3]]])
def test_every_row_is_in_one_batch_within_both_limits(lengths: list[list[int]]) -> None:
    rows = np.array(lengths)
    batches = list(graph_batches(rows, MOST_TOKENS))
    assert sorted(np.concatenate(batches).tolist()) == [*range(len(rows))]
    for places in batches:
        longest = -(-int(rows[places].max()) // 16) * 16
        scores = rows[places].size * longest**2
        assert len(places) == 1 or (rows[places].sum() <= MOST_TOKENS and scores <= MOST_SCORES)


def test_batches_are_no_smaller_than_they_have_to_be() -> None:
    for length, texts in ((16, 128), (32, 64), (128, 16), (512, 4)):
        batches = graph_batches(np.full((3 * texts, 1), length), 2048)
        assert [len(places) for places in batches] == [texts] * 3
    # A long text costs one batch more, not one batch for each short text.
    assert [len(places) for places in graph_batches(np.array([[512], *([[5]] * 300)]), 2048)] == [300, 1]


def test_no_row_is_no_batch() -> None:
    assert list(graph_batches(np.zeros((0, 1), np.int64), 2048)) == []


def test_threads_share_a_pass() -> None:
    assert [pass_tokens(threads) for threads in (1, 2, 8, 64)] == [256, 512, 2048, 2048]
