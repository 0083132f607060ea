"""The tokenizer of a checkpoint that has vocab.txt only: BERT's WordPiece, built from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from polytask.core.atomic_files import write_file
from polytask.core.cache_paths import built_tokenizer
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError
from polytask.core.json_files import MOST_BYTES, read_json
from polytask.core.safe_paths import refuse_special

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MOST_PLACES = 1 << 24


def tokenizer_file(folder: Path, vocab_size: int) -> Path:
    """Return a checkpoint folder's tokenizer.json; one is made where there is vocab.txt only."""
    path = EncoderPaths(folder).tokenizer
    if not path.exists():
        path = _built(folder)
    refuse_special(path, CheckpointError)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise CheckpointError(f"{path}: has {size:,} bytes, expected at most {MOST_BYTES:,}")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: is not a tokenizer ({error})") from None
    if tokenizer.get_vocab_size() > vocab_size:
        raise CheckpointError(f"{path}: has {tokenizer.get_vocab_size()} words, but config.json "
                              f"says vocab_size {vocab_size}")
    word, place = max(tokenizer.get_vocab().items(), key=lambda entry: entry[1], default=("", 0))
    if place >= _MOST_PLACES:  # libraries make room for all words before it, and end the process
        raise CheckpointError(f"{path}: has {word[:40]!r} as word {place:,}, expected one below "
                              f"{_MOST_PLACES:,}")
    return path


def _built(folder: Path) -> Path:
    """Build the tokenizer aside, in the user's cache: the folder may be read-only or not ours."""
    vocabulary, settings = EncoderPaths(folder).vocabulary, EncoderPaths(folder).tokenizer_settings
    refuse_special(vocabulary, CheckpointError)
    if not vocabulary.exists():
        raise CheckpointError(f"{folder}: there is neither tokenizer.json nor vocab.txt")
    options = read_json(settings, CheckpointError) if settings.exists() else {}
    text = wordpiece(vocabulary, options).to_str(pretty=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = built_tokenizer(key)
    if not path.exists():
        write_file(path, text)
    return path


def wordpiece(vocabulary: Path, options: dict[str, Any]) -> Tokenizer:
    """Return BERT's tokenizer over a vocab.txt, lower-casing as tokenizer_config.json says."""
    # Split at "\n" alone: a word may hold what str.splitlines takes for the end of a line.
    lines = vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n")
    words = {word.rstrip("\r"): number for number, word in enumerate(lines)}
    if lacking := [word for word in _SPECIAL[:4] if word not in words]:
        raise CheckpointError(f"{vocabulary}: lacks {', '.join(lacking)}")
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.add_special_tokens([word for word in _SPECIAL if word in words])
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=options.get("do_lower_case", True), strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("tokenize_chinese_chars", True))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(word, words[word]) for word in ("[CLS]", "[SEP]")])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
