"""Checks the sizes in a config.json before any memory is allocated."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from polytask.model.bert import BertConfig

# Sizes that must be 1 or more; the others may be 0, or -1 for none.
_NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
           "max_position_embeddings")
_LARGEST = 2**31 - 1


def sizes_problem(config: BertConfig) -> str | None:
    """Return what is wrong with an encoder's sizes, or None."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        kind = str(field.type)
        if value is None and "None" in kind:
            continue
        if kind.startswith("int") and not _is_count(value, int(field.name in _NEEDED)):
            least = "1" if field.name in _NEEDED else "0"
            return (f"found {field.name} {_shown(value)}, expected a whole number from {least} to "
                    f"{_LARGEST:,}")
        if kind.startswith("float") and not _is_number(value):
            return f"found {field.name} {_shown(value)}, expected a number of 0 or more"
        if kind == "bool" and not isinstance(value, bool):
            return f"found {field.name} {_shown(value)}, expected true or false"
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if getattr(config, name) >= 1:
            return f"found {name} {_shown(getattr(config, name))}, expected a probability below 1"
    if config.position_offset >= config.max_position_embeddings:
        return (f"found pad_token_id {config.pad_token_id}, expected less than max_position_embeddings "
                f"{config.max_position_embeddings}")
    return None


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and (least or -1) <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _shown(value: Any) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "an enormous number"
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def too_large(config: BertConfig, num_bytes: int) -> str | None:
    """Return why weights of so many bytes cannot be those of an encoder of these sizes, or None.

    Formula: at least V·E + L·(4·W² + 2·W·I) numbers, and those of the tables of positions, a byte each.
    """
    width = config.hidden_size
    layers = config.num_hidden_layers if config.distinct_layers is None else config.distinct_layers
    embedding = width if config.embedding_size is None else config.embedding_size
    numbers = config.vocab_size * embedding + layers * (4 * width**2 + 2 * width * config.intermediate_size)
    if config.model_type != "modernbert":
        if config.position_biased_input:
            numbers += config.max_position_embeddings * embedding
        numbers += config.type_vocab_size * embedding
        if config.relative:
            numbers += config.relative_rows * (width if config.relative == "disentangled" else 1)
    if max(numbers, config.num_hidden_layers) <= num_bytes:
        return None
    return (f"asks for {numbers:,} weights or more in {config.num_hidden_layers:,} layers, but the files "
            f"of weights have {num_bytes:,} bytes; one of them belongs to another checkpoint")
