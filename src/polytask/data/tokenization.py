"""Text to token ids: once, in parallel, into arrays that stay on disk and are mapped into memory.

Ids are kept without special tokens and without truncation, so that one store serves every pairing
and every `max_length`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from polytask.core.cache_paths import TokenPaths, token_entry
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError
from polytask.data.cache import Cache, growing_array, open_array, write_array
from polytask.data.tables import Column
from polytask.data.word_memo import WordMemo, splits_at_blanks

# Raised when token columns are written otherwise; old cache entries are then not found.
VERSION = 1
_CHUNK = 4096
# So many texts at once repeat enough words for each to be looked up.
_MANY = 256

TextProgress = Callable[[int, int], None]
"""Called with the texts done and the texts there are."""


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of a sequence: `start` a `end`, or `start` a `middle` b `end` for a pair.

    `second` is the segment of b and of the end after it (BERT: 1; models of one segment: 0);
    `unknown` stands for what the vocabulary does not have.
    """

    start: tuple[int, ...]
    middle: tuple[int, ...]
    end: tuple[int, ...]
    second: int
    pad: int
    unknown: int | None = None

    @classmethod
    def of(cls, tokenizer: tokenizers.Tokenizer) -> SpecialTokens:
        """Read them from what the tokenizer itself puts around a pair."""
        pair = tokenizer.encode("a", "b")
        owners = pair.sequence_ids
        pad = _named(tokenizer, "[PAD]", "<pad>", "<|padding|>")
        unknown = _named(tokenizer, "[UNK]", "<unk>")
        if 0 not in owners or 1 not in owners or set(pair.special_tokens_mask) == {0}:
            start, end = _named(tokenizer, "[CLS]", "<s>"), _named(tokenizer, "[SEP]", "</s>")
            if start is None or end is None:
                raise CheckpointError("the tokenizer puts no special tokens around a sentence and"
                                      " has no [CLS] and [SEP]")
            return cls((start,), (end,), (end,), 1, pad or 0, unknown)
        first, second = owners.index(0), owners.index(1)
        after, end_at = len(owners) - owners[::-1].index(0), len(owners) - owners[::-1].index(1)
        ids = pair.ids
        assert second >= after, "the two sentences of a pair are not consecutive"
        return cls(tuple(ids[:first]), tuple(ids[after:second]), tuple(ids[end_at:]),
                   int(pair.type_ids[second]), pad or 0, unknown)


def _named(tokenizer: tokenizers.Tokenizer, *names: str) -> int | None:
    return next((found for name in names if (found := tokenizer.token_to_id(name)) is not None),
                None)


@dataclass(frozen=True)
class TokenColumn:
    """The token ids of one column of texts: `ids` (tokens,) int32, `offsets` (rows + 1,) int64."""

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.ids[self.offsets[row]:self.offsets[row + 1]]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text: (rows,)."""
        return np.diff(self.offsets)


class Tokenizer:
    """A `tokenizers.Tokenizer` that neither pads nor truncates, whatever its file says."""

    def __init__(self, source: tokenizers.Tokenizer | str | Path) -> None:
        # A copy, so that the caller's own keeps its padding and truncation.
        text = (source.to_str() if isinstance(source, tokenizers.Tokenizer)
                else _read(Path(source)))
        try:
            self.inner = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{source}: is not a tokenizer ({error})") from None
        self.inner.no_padding()
        self.inner.no_truncation()

    @cached_property
    def special_tokens(self) -> SpecialTokens:
        return SpecialTokens.of(self.inner)

    @cached_property
    def digest(self) -> str:
        """A digest of everything that the ids depend on."""
        about = f"{VERSION} {tokenizers.__version__} {self.inner.to_str()}"
        return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without special tokens; spread over the cores."""
        encode = getattr(self.inner, "encode_batch_fast", self.inner.encode_batch)
        return [found.ids for found in encode(list(texts), add_special_tokens=False)]

    @cached_property
    def _words(self) -> WordMemo | None:
        return WordMemo(self.encode) if splits_at_blanks(self.inner) else None

    def column(self, texts: Sequence[str]) -> TokenColumn:
        """Return the token column of some texts: (tokens,), and where each text's begin."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        if self._words is not None and len(texts) >= _MANY:
            flat, lengths = self._words.ids(texts)
        else:
            found = self.encode(texts)
            lengths = np.fromiter(map(len, found), np.int64, len(found))
            flat = np.fromiter(chain.from_iterable(found), np.int32, int(lengths.sum()))
        np.cumsum(lengths, out=offsets[1:])
        return TokenColumn(flat, offsets)


def _read(path: Path) -> str:
    path = EncoderPaths(path).tokenizer if path.is_dir() else path
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: the tokenizer cannot be read ({error})") from None


def token_column(texts: Column, key: str, tokenizer: Tokenizer, cache: Cache,
                 progress: TextProgress | None = None) -> TokenColumn:
    """Return the tokens of a column of a file: from the cache, or tokenized into it.

    `key` names the column's content: its table's key and its place in it.
    """
    name = hashlib.blake2b(f"{tokenizer.digest} {key}".encode(), digest_size=16).hexdigest()

    def build(folder: Path) -> None:
        _tokenize(texts, tokenizer, folder, progress or (lambda done, total: None))

    return cache.entry(token_entry(name), build, lambda folder: _open(folder, len(texts)))


def _tokenize(texts: Column, tokenizer: Tokenizer, folder: Path, progress: TextProgress) -> None:
    """Write the ids chunk by chunk, so that memory does not grow with the file."""
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    paths = TokenPaths(folder)
    with growing_array(paths.ids, np.int32) as append:
        for start in range(0, len(texts), _CHUNK):
            stop = min(start + _CHUNK, len(texts))
            chunk = tokenizer.column(list(texts.chunk(start, stop)))
            append(chunk.ids)
            offsets[start + 1:stop + 1] = offsets[start] + chunk.offsets[1:]
            progress(stop, len(texts))
    write_array(paths.offsets, offsets)


def _open(folder: Path, rows: int) -> TokenColumn:
    ids = open_array(TokenPaths(folder).ids, np.int32)
    offsets = open_array(TokenPaths(folder).offsets, np.int64)
    if len(offsets) != rows + 1 or int(offsets[-1]) != len(ids):
        raise ValueError(f"{folder} is not whole")
    return TokenColumn(ids, offsets)
