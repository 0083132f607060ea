"""Batches for an exported graph: rows of like lengths, padded as it takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.collate import Selection, lay
from polytask.data.tables import Integers
from polytask.data.tokenization import SpecialTokens

# Tokens of a pass, per thread: what a layer writes for them (6 kB each in MiniLM) should stay in its cache.
TOKENS_PER_THREAD, MOST_TOKENS = 256, 2048
# The graph pads attention, and nothing else, to the longest sequence L of S. A batch has at most this many
# S · L² scores per head, so that one long text among hundreds of short ones does not fill the memory.
MOST_SCORES = MOST_TOKENS * 512
# Lengths are padded to a multiple of this, so that no sum over a sequence is cut into vectors and a
# remainder in another way when a longer text stands beside it: a text's answer is its own.
_MULTIPLE = 16


def pass_tokens(threads: int) -> int:
    """Return how many tokens a pass of so many threads has at most, if it has several rows."""
    return min(MOST_TOKENS, TOKENS_PER_THREAD * threads)


def graph_batches(lengths: Integers, tokens: int) -> Iterator[Integers]:
    """Yield the places of rows in batches of at most `tokens` tokens and `MOST_SCORES` scores, of like
    lengths; a row is never cut.

    lengths: (rows, sequences), the tokens of each.
    """
    longest = _padded_length(lengths.max(axis=1, initial=0))
    order = np.argsort(longest, kind="stable")
    start = total = 0
    sequences = lengths.shape[1]
    for stop, (size, length) in enumerate(zip(lengths.sum(axis=1)[order].tolist(),
                                              longest[order].tolist(), strict=True)):
        total += size
        scores = (stop + 1 - start) * sequences * length**2
        if stop > start and (total > tokens or scores > MOST_SCORES):
            yield order[start:stop]
            start, total = stop, size
    if len(order):
        yield order[start:]


def _padded_length(longest: Any) -> Any:
    return -(-longest // _MULTIPLE) * _MULTIPLE


def padded(selection: Selection, special_tokens: SpecialTokens) -> dict[str, NDArray[np.int64]]:
    """Return rows as the graph's inputs, each (sequences, longest) int64."""
    ids, segments, lengths = lay(selection, special_tokens)
    longest = _padded_length(int(lengths.max()))
    mask = np.arange(longest) < lengths[:, None]
    fed = {"input_ids": np.full(mask.shape, special_tokens.pad, np.int64),
           "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros(mask.shape, np.int64)}
    fed["input_ids"][mask], fed["token_type_ids"][mask] = ids, segments
    return fed
