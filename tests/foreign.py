"""Tiny random encoders of transformers, saved as checkpoints, that several test files build on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from networks import flat_batch
from polytask.data.batch import TokenBatch

SIZES = {"vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
         "intermediate_size": 48, "max_position_embeddings": 40, "initializer_range": 0.1}
DISTIL = {"vocab_size": 60, "dim": 24, "n_layers": 3, "n_heads": 3, "hidden_dim": 48,
          "max_position_embeddings": 40, "initializer_range": 0.1}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0,
            "position_biased_input": False}
ROBERTA = {**SIZES, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5}
DEBERTA = {**SIZES, **RELATIVE, "position_buckets": 8, "share_att_key": True,
           "norm_rel_ebd": "layer_norm"}
MODERN = {**{key: value for key, value in SIZES.items() if key != "max_position_embeddings"},
          "max_position_embeddings": 40, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2,
          "bos_token_id": 1, "eos_token_id": 2, "local_attention": 8, "global_attn_every_n_layers": 2}
# Every family of the flat path, and what its configs may say differently.
FLAT: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", SIZES),
    "roberta": ("roberta", ROBERTA),
    "xlm-roberta": ("xlm-roberta", ROBERTA),
    "camembert": ("camembert", ROBERTA),
    "distilbert": ("distilbert", DISTIL),
    "electra": ("electra", {**SIZES, "embedding_size": 12}),
    "electra of one width": ("electra", {**SIZES, "embedding_size": 24}),
    "mpnet": ("mpnet", {**SIZES, "pad_token_id": 1}),
    "albert": ("albert", {**SIZES, "embedding_size": 12}),
    "albert of two groups": ("albert", {**SIZES, "num_hidden_layers": 4, "num_hidden_groups": 2,
                                        "embedding_size": 24}),
    "deberta-v3": ("deberta-v2", DEBERTA),
    "deberta-v2 with content to position alone": (
        "deberta-v2", {**DEBERTA, "pos_att_type": "c2p", "position_buckets": -1, "norm_rel_ebd": "none",
                       "position_biased_input": True, "type_vocab_size": 2, "embedding_size": 12}),
    "modernbert": ("modernbert", MODERN),
    "modernbert with biases": ("modernbert", {**MODERN, "norm_bias": True, "attention_bias": True,
                                              "mlp_bias": True, "hidden_activation": "relu"}),
}
# What runs padded, and why.
PADDED: dict[str, tuple[str, dict[str, Any]]] = {
    "deberta": ("deberta", {**SIZES, **RELATIVE}),
    "bert of an activation": ("bert", {**SIZES, "hidden_act": "swish"}),
    "albert of two layers a group": ("albert", {**SIZES, "num_hidden_layers": 1, "embedding_size": 12,
                                                "inner_group_num": 2}),
    "deberta-v2 of keys apart": ("deberta-v2", {**DEBERTA, "share_att_key": False}),
    "deberta-v2 with a convolution": ("deberta-v2", {**DEBERTA, "conv_kernel_size": 3}),
    "modernbert of scaled positions": ("modernbert", {**MODERN, "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 160000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
}
LENGTHS = {"sst": (4, 11, 1, 30, 7), "quora": (9, 3, 18)}


def network(kind: str, values: dict[str, Any]) -> Any:
    """Return a random model of transformers, its norms and biases random too, in evaluation mode."""
    import transformers

    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **values))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:  # norms and biases, which start at 1 and 0
            torch.nn.init.normal_(parameter, 0.5, 0.2)
        elif "rel" in name or "bias" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def checkpoint(model: Any, folder: Path) -> Path:
    """Save a model as transformers does, with a tokenizer of three words."""
    model.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def batch_for(encoder: Any, lengths: dict[str, tuple[int, ...]] = LENGTHS) -> TokenBatch:
    """Return a flat batch; the second half of every sequence is in segment 1, where there is one."""
    batch = flat_batch(lengths, vocab=60)
    if not encoder.has_segments:
        return batch
    segments = torch.cat([(torch.arange(n) >= n // 2).long() for n in batch.lengths])
    return TokenBatch(batch.ids, segments, batch.lengths, batch.spans)


def alone(model: Any, batch: TokenBatch, segments: bool, **wanted: bool) -> list[Any]:
    """Return the model's own outputs for each sequence of the batch by itself."""
    outputs = []
    for start, length in zip(batch.starts, batch.lengths, strict=False):
        own = slice(start, start + length)
        given = {"token_type_ids": batch.segments[own][None]} if segments else {}
        outputs.append(model(input_ids=batch.ids[own][None], **given, **wanted,
                             attention_mask=torch.ones(1, length, dtype=torch.long)))
    return outputs
