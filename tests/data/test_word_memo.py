"""Ids looked up word by word are the tokenizer's own, whatever the texts."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from polytask.data import word_memo
from polytask.data.tokenization import Tokenizer
from polytask.data.word_memo import WordMemo, splits_at_blanks
from small_data import letters

strange = st.sampled_from("ab  \t\n\r\x1c\x85\xa0\u2028\u3000\u0301[]#'.,İßΣς漢\0\ufffd\u200d")
nasty = st.text(st.one_of(strange, st.characters(codec="utf-8")), max_size=30)


def cased_with_words() -> tokenizers.Tokenizer:
    tokenizer = letters()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.add_tokens([AddedToken("ab", single_word=True), AddedToken("b.", lstrip=True, rstrip=True)])
    tokenizer.add_special_tokens(["[SEP]", "[MASK]"])
    return tokenizer


TOKENIZERS = {"lower case": Tokenizer(letters()), "own words": Tokenizer(cased_with_words())}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(nasty | st.just("a [SEP] ab b. [MASK]b"), min_size=1, max_size=6))
def test_ids_are_the_tokenizers_own(name: str, texts: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    assert splits_at_blanks(tokenizer.inner)
    memo = WordMemo(tokenizer.encode)
    for _ in range(2):  # the second time every word is known
        ids, lengths = memo.ids(texts)
        expected = tokenizer.encode(texts)
        assert lengths.tolist() == [len(each) for each in expected]
        assert ids.tolist() == [token for each in expected for token in each]


def test_words_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_memo, "_MOST_CHARACTERS", 8)
    tokenizer = TOKENIZERS["lower case"]
    memo = WordMemo(tokenizer.encode)
    for text in ("abc def ghi", "jkl", "abc jkl", "mno pqr stu", "abc"):
        assert memo.ids([text])[0].tolist() == tokenizer.encode([text])[0]
        assert len(memo._places) <= 5


def test_many_texts_are_looked_up_word_by_word() -> None:
    texts = [f"one film, {number} times" for number in range(300)] + ["", "  "]
    column = TOKENIZERS["lower case"].column(texts)
    assert [column[row].tolist() for row in range(len(texts))] == TOKENIZERS["lower case"].encode(texts)


def test_other_tokenizers_are_not_taken_apart() -> None:
    crossing = letters()
    crossing.add_tokens(["a film"])
    assert not splits_at_blanks(crossing)
    for change in ({"pre_tokenizer": pre_tokenizers.Metaspace()}, {"normalizer": normalizers.NFC()}):
        other = letters()
        for part, value in change.items():
            setattr(other, part, value)
        assert not splits_at_blanks(other)
    assert not splits_at_blanks(tokenizers.Tokenizer(models.BPE()))
