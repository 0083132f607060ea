"""A flat batch holds what the tokenizer itself would build, row by row, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from polytask.data.collate import InputLayout, Selection, collate, sequence_lengths
from polytask.data.tokenization import Tokenizer
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.cross_bi_encoder import CrossBiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.pairings.twin import Twin
from small_data import letters

BERT = letters()
ROBERTA = letters(processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2), trim_offsets=False))
PAIRINGS = [Single(), CrossEncoder(), BiEncoder(), Twin(), CrossBiEncoder(), CrossEncoder(symmetric=True),
            CrossBiEncoder(symmetric=True)]
words = st.text("abc .", max_size=14)
pairs = st.lists(st.tuples(words, words), min_size=1, max_size=5)


def itself(source: tokenizers.Tokenizer, length: int, *texts: str) -> tuple[list[int], list[int]]:
    """The ids and segments that the library gives, truncated by its own longest-first rule."""
    made = tokenizers.Tokenizer.from_str(source.to_str())
    made.no_padding()
    made.enable_truncation(length, strategy="longest_first")
    found = made.encode(*texts)
    return found.ids, found.type_ids


def selection_of(source: tokenizers.Tokenizer, rows: list[tuple[str, ...]],
                 layout: InputLayout) -> Selection:
    tokenizer = Tokenizer(source)
    columns = tuple(tokenizer.column([row[k] for row in rows]) for k in range(layout.texts))
    return Selection("task", layout, columns, np.arange(len(rows)))


def laid(selections: list[Selection], source: tokenizers.Tokenizer) -> list[tuple[list[int], list[int]]]:
    batch = collate(selections, Tokenizer(source).special_tokens)
    cut = batch.starts
    return [(batch.ids[a:b].tolist(), batch.segments[a:b].tolist())
            for a, b in pairwise(cut)]


@settings(max_examples=150, deadline=None)
@given(pairs, st.integers(6, 24), st.sampled_from([BERT, ROBERTA]))
@pytest.mark.technique("T-17", "P-3", "S-7")
def test_a_packed_pair_is_what_the_tokenizer_makes_of_it(
    rows: list[tuple[str, str]], length: int, source: tokenizers.Tokenizer
) -> None:
    layout = InputLayout.of(CrossEncoder(), length)
    assert laid([selection_of(source, rows, layout)], source) == [
        itself(source, length, a, b) for a, b in rows]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(3, 18), st.sampled_from([BERT, ROBERTA]))
def test_single_separate_and_twin_are_what_the_tokenizer_makes_of_each_text(
    rows: list[tuple[str, str]], length: int, source: tokenizers.Tokenizer
) -> None:
    single = selection_of(source, rows, InputLayout.of(Single(), length))
    assert laid([single], source) == [itself(source, length, a) for a, _ in rows]
    separate = selection_of(source, rows, InputLayout.of(BiEncoder(), length))
    assert laid([separate], source) == [
        itself(source, length, text) for row in rows for text in row]
    twin = selection_of(source, rows, InputLayout.of(Twin(), length))
    assert laid([twin], source) == [itself(source, length, a) for a, _ in rows for _ in range(2)]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(6, 18), st.sampled_from([BERT, ROBERTA]))
def test_together_and_apart_are_each_text_and_then_both(
    rows: list[tuple[str, str]], length: int, source: tokenizers.Tokenizer
) -> None:
    three = selection_of(source, rows, InputLayout.of(CrossBiEncoder(), length))
    assert laid([three], source) == [
        sequence for a, b in rows
        for sequence in (itself(source, length, *texts) for texts in ((a,), (b,), (a, b)))]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(6, 18), st.sampled_from([BERT, ROBERTA]))
def test_a_symmetric_pair_is_both_orders_and_its_exchange_has_the_same_sequences(
    rows: list[tuple[str, str]], length: int, source: tokenizers.Tokenizer
) -> None:
    two, four = InputLayout.of(CrossEncoder(symmetric=True), length), InputLayout.of(
        CrossBiEncoder(symmetric=True), length)
    wanted = [(itself(source, length, a), itself(source, length, b), itself(source, length, a, b),
               itself(source, length, b, a)) for a, b in rows]
    assert laid([selection_of(source, rows, four)], source) == [each for row in wanted for each in row]
    assert laid([selection_of(source, rows, two)], source) == [each for row in wanted for each in row[2:]]
    exchanged = laid([selection_of(source, [(b, a) for a, b in rows], four)], source)
    assert exchanged == [row[k] for row in wanted for k in (1, 0, 3, 2)]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(4, 20))
@pytest.mark.technique("T-16", "T-18")
def test_without_separator_the_texts_meet_and_without_segments_all_are_alike(
    rows: list[tuple[str, str]], length: int
) -> None:
    # Naive: tokens leave the longer text one by one; of equal ones the one that was the shorter.
    plain = Tokenizer(BERT)
    wanted = []
    for first, second in rows:
        a, b = plain.encode([first, second])
        first_longer = len(a) > len(b)
        while len(a) + len(b) > length - 2:
            (a if len(a) > len(b) or (len(a) == len(b) and not first_longer) else b).pop()
        wanted.append(([2, *a, *b, 3], [0] * (len(a) + 1) + [1] * (len(b) + 1)))
    joined = laid([selection_of(BERT, rows, InputLayout.of(CrossEncoder(separator=False), length))], BERT)
    assert joined == wanted
    flat = InputLayout.of(CrossEncoder(separator=False, segments=False), length)
    assert laid([selection_of(BERT, rows, flat)], BERT) == [(ids, [0] * len(ids)) for ids, _ in wanted]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(6, 20),
       st.sampled_from(PAIRINGS))
def test_lengths_are_reported_without_building_the_sequences(
    rows: list[tuple[str, str]], length: int, pairing: object
) -> None:
    layout, whole = InputLayout.of(pairing, length), InputLayout.of(pairing, 10_000)
    selection, uncut = selection_of(BERT, rows, layout), selection_of(BERT, rows, whole)
    special_tokens = Tokenizer(BERT).special_tokens
    found = sequence_lengths(layout, selection.columns, selection.rows, special_tokens)
    assert tuple(found.kept.reshape(-1).tolist()) == collate([selection], special_tokens).lengths
    assert tuple(found.full.reshape(-1).tolist()) == collate([uncut], special_tokens).lengths
    assert found.truncated.tolist() == [
        any(n > length for n in row) for row in found.full.tolist()]


def test_draws_of_several_tasks_lie_one_after_the_other() -> None:
    rows = [("a b", "c"), ("aaa", "bb"), ("c", "")]
    special_tokens = Tokenizer(BERT).special_tokens
    parts = [selection_of(BERT, rows, InputLayout.of(each, 12))
             for each in (Single(), BiEncoder(), CrossEncoder())]
    batch = collate(parts, special_tokens)
    assert [(span.task, span.rows) for span in batch.spans] == [("task", 3)] * 3
    assert [span.sequences for span in batch.spans] == [slice(0, 3), slice(3, 9), slice(9, 12)]
    for span, part in zip(batch.spans, parts, strict=True):
        alone, narrowed = collate([part], special_tokens), batch.narrow(span)
        assert narrowed.ids.tolist() == alone.ids.tolist()
        assert narrowed.segments.tolist() == alone.segments.tolist()
        assert narrowed.lengths == alone.lengths
    assert batch.num_tokens == sum(batch.lengths) == batch.spans[-1].tokens.stop


def test_rows_are_taken_in_the_order_they_are_asked_for() -> None:
    selection = selection_of(BERT, [("a",), ("b",), ("c",)], InputLayout.of(Single(), 8))
    again = Selection(selection.task, selection.layout, selection.columns, np.array([2, 0, 2]))
    first, *_, last = laid([again], BERT)
    assert first == last == itself(BERT, 8, "c")


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_no_rows_are_an_empty_batch(pairing: object) -> None:
    selection = selection_of(BERT, [("a", "b")], InputLayout.of(pairing, 8))
    empty = Selection(selection.task, selection.layout, selection.columns, np.array([], dtype=np.int64))
    batch = collate([empty], Tokenizer(BERT).special_tokens)
    assert (batch.num_tokens, batch.lengths, batch.spans[0].rows) == (0, (), 0)
