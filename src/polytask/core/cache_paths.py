"""What lies where in the cache: data files in columns, tokens, tokenizers, encoders, small facts."""

from __future__ import annotations

import os
from pathlib import Path

from polytask.core.encoder_paths import EncoderPaths
from polytask.core.safe_paths import expanded


def cache_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of the cache: the one given, $POLYTASK_CACHE, or polytask's in the user's cache."""
    if chosen := folder or os.environ.get("POLYTASK_CACHE"):
        return expanded(chosen, "POLYTASK_CACHE" if folder is None else "data.cache")
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "polytask"
    return expanded("~/.cache", "the user's cache") / "polytask"


class TablePaths:
    """A data file: its cells end to end, where each ends, the line of each row."""

    def __init__(self, path: Path) -> None:
        self.about = path / "table.json"
        self.cells = path / "cells.npy"
        self.offsets = path / "offsets.npy"
        self.lines = path / "lines.npy"
        self.nested = path / "nested.npy"


class TokenPaths:
    """A column of tokens: their ids end to end, and where each row ends."""

    def __init__(self, path: Path) -> None:
        self.ids = path / "ids.npy"
        self.offsets = path / "offsets.npy"


def built_tokenizer(digest: str) -> Path:
    """Return the place of a tokenizer that is built from a vocabulary."""
    return EncoderPaths(cache_folder() / "tokenizers" / digest).tokenizer


def unpacked_encoder(name: str) -> EncoderPaths:
    """Return the place of an encoder that is unpacked from installed packages."""
    return EncoderPaths(cache_folder() / "checkpoints" / name)


def table_entry(key: str) -> str:
    """Return the name, in the cache, of a data file in columns."""
    return f"tables/{key}"


def hash_entry(key: str) -> str:
    """Return the name, in the cache, of the hashes of a column's texts."""
    return f"hashes/{key}"


def hash_file(entry: Path) -> Path:
    """Return the file of such an entry."""
    return entry / "hashes.npy"


def token_entry(key: str) -> str:
    """Return the name, in the cache, of a column of tokens."""
    return f"tokens/{key}"


def file_facts(digest: str) -> str:
    """Return the name, in the cache, of what is known of a data file."""
    return f"files/{digest}.json"


def baseline_scores(digest: str) -> str:
    """Return the name, in the cache, of what a baseline scored."""
    return f"baselines/{digest}.json"
