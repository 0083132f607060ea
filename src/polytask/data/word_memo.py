"""Words tokenized once: texts of a large file repeat their words, so the ids of each are looked up.

Only for tokenizers whose pieces never cross a blank, which their own settings show: BERT's normalizer and
pre-tokenizer work character by character and split at every blank, so that the ids of a text are those of
what stands between its blanks, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain, count

import numpy as np
import tokenizers
from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], list[list[int]]]

# Characters of the words that are kept; beyond it all are forgotten: memory does not grow with the file.
_MOST_CHARACTERS = 1 << 22


def splits_at_blanks(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether the ids of a text are those of its words between blanks, for any text."""
    settings = json.loads(tokenizer.to_str())
    kinds = [(settings[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    added = [token["content"] for token in settings["added_tokens"]]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and not any(
        blank in content for content in added for blank in " \t\r\n")


class WordMemo:
    """The ids of all words seen so far, in one flat array; `encode` returns those of new words."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._forget()

    def _forget(self) -> None:
        self._places: dict[str, int] = {}
        self._characters = 0
        self._ids: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._starts: NDArray[np.int64] = np.zeros(1, dtype=np.int64)

    def ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the ids of some texts in a row, and how many each has: (ids,) and (texts,)."""
        words = " ".join(texts).split(" ")
        if self._characters > _MOST_CHARACTERS:
            self._forget()
        self._learn([word for word in set(words) if word not in self._places])
        places = np.fromiter(map(self._places.__getitem__, words), np.int64, len(words))
        starts, lengths = self._starts[places], self._starts[places + 1] - self._starts[places]
        ends = np.cumsum(lengths)
        # Where each id stands: the start of its word, and its place in it.
        at = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        last_word = np.cumsum([text.count(" ") + 1 for text in texts]) - 1
        return self._ids[at], np.diff(ends[last_word], prepend=0)

    def _learn(self, words: Sequence[str]) -> None:
        if not words:
            return
        found = self._encode(words)
        self._characters += sum(map(len, words))
        self._places.update(zip(words, count(len(self._places)), strict=False))
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        more = np.fromiter(chain.from_iterable(found), np.int32, int(lengths.sum()))
        self._ids = np.concatenate([self._ids, more])
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])
