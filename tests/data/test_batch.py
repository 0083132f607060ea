"""The flat batch: where its sequences lie, and a part of it as a batch of its own."""

from __future__ import annotations

import torch

from polytask.data.batch import Span, TokenBatch


def batch() -> TokenBatch:
    spans = (Span("a", 2, slice(0, 2), slice(0, 5)), Span("b", 1, slice(2, 4), slice(5, 9)))
    return TokenBatch(torch.arange(9), torch.tensor([0] * 5 + [1] * 4), (2, 3, 1, 3), spans)


def test_sequences_begin_where_the_ones_before_end() -> None:
    made = batch()
    assert made.num_tokens == 9 and made.starts == (0, 2, 5, 6, 9)
    assert made.first.tolist() == [0, 2, 5, 6]
    assert made.positions.tolist() == [0, 1, 0, 1, 2, 0, 0, 1, 2]
    assert made.owner.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3]


def test_a_span_by_itself_is_its_part_of_the_batch() -> None:
    made = batch()
    part = made.narrow(made.spans[1])
    assert part.ids.tolist() == [5, 6, 7, 8] and part.segments.tolist() == [1] * 4
    assert part.lengths == (1, 3) and part.spans == (Span("b", 1, slice(0, 2), slice(0, 4)),)
    assert part.positions.tolist() == [0, 0, 1, 2]


def test_zeros_fill_a_batch_up_to_a_multiple_and_belong_to_no_span() -> None:
    made = batch()
    filled = made.filled(8)
    assert filled.ids.tolist() == [*range(9), *[0] * 7]
    assert filled.segments.tolist() == [*made.segments.tolist(), *[0] * 7]
    assert filled.lengths == (2, 3, 1, 3, 3, 3, 1) and filled.spans == made.spans
    assert made.filled(12).lengths == (2, 3, 1, 3, 3)
    assert made.filled(9) is made


def test_a_batch_without_tokens_has_no_positions() -> None:
    empty = TokenBatch(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), ())
    assert empty.filled(8) is empty
    assert empty.num_tokens == 0 and empty.positions.tolist() == empty.owner.tolist() == []
