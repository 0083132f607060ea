"""A small tokenizer and small files: what the tests of the data have in common."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from polytask.data.cache import Cache
from polytask.data.dataset import DatasetStore
from polytask.data.reading import Columns, Rows, read_file, select
from polytask.data.tokenization import Tokenizer
from polytask.tasks.task import Task


def letters(post: processors.PostProcessor | None = None) -> tokenizers.Tokenizer:
    """Return a BERT tokenizer whose word pieces are letters; it pads and truncates, as some do."""
    vocab = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,?!'":
        vocab[letter] = len(vocab)
        vocab["##" + letter] = len(vocab)
    made = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = post or processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_truncation(7)
    made.enable_padding(length=7)
    return made


def store(folder: Path) -> DatasetStore:
    """Return a store over files in a folder, its cache inside it."""
    return DatasetStore(Tokenizer(letters()), folder, Cache(folder / "cache"))


def write(path: Path, *lines: str) -> Path:
    """Write lines to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pair_task(**settings: object) -> Task:
    """Return a task on the columns a, b and label."""
    given = {"text": ("a", "b"), "label": "label", "train": "train.csv", "dev": "dev.csv"}
    return Task(**{**given, **settings})


def single_task(**settings: object) -> Task:
    """Return a task on the columns text and label."""
    given = {"text": "text", "label": "label", "train": "train.csv", "dev": "dev.csv"}
    return Task(**{**given, **settings})


def read_rows(path: str | Path, columns: Columns, cache: Cache) -> Rows:
    """Return the rows of a file that have a text, and a label if one is asked for."""
    return select(read_file(path, cache), columns)
