"""A vocabulary alone makes the tokenizer that transformers makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from polytask.core.errors import CheckpointError
from polytask.data.wordpiece import wordpiece

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "é", "e", ",", "bad"]


def vocabulary(folder: Path, words: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("lower", [True, False])
def test_it_tokenizes_as_transformers_does(tmp_path: Path, lower: bool) -> None:
    transformers = pytest.importorskip("transformers")
    path = vocabulary(tmp_path, WORDS)
    peer = transformers.BertTokenizerFast(vocab=str(path), do_lower_case=lower)
    ours = wordpiece(path, {"do_lower_case": lower})
    for first, second in (("good films, é", "bad"), ("GOOD unknown", "Film"), ("", "good")):
        theirs = peer(first, second)
        made = ours.encode(first, second)
        assert (made.ids, made.type_ids) == (theirs["input_ids"], theirs["token_type_ids"])


def test_a_vocabulary_without_a_special_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt: lacks \[SEP\]"):
        wordpiece(vocabulary(tmp_path, [word for word in WORDS if word != "[SEP]"]), {})
