"""BERT (Devlin et al. 2019) and its kin, read from top to bottom: sizes, embeddings, layer, encoder.

RoBERTa, XLM-R, CamemBERT, DistilBERT, ELECTRA, MPNet, ALBERT and DeBERTa-v2 differ from BERT in what
`BertConfig` says and in nothing else. BERT is the encoder of all five reports (M-2, G-1, T-1, P-1, S-1).
Results and gradients equal those of `transformers` to rounding. Shapes: T tokens, W width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polytask.model.compiled import compiled
from polytask.model.dropout import Dropout, added_norm
from polytask.model.flat_encoder import ACTIVATIONS, BertPooler, FlatEncoder, SelfAttention
from polytask.model.positions import Disentangled, Positions, RelativeBias
from polytask.model.sparse_embedding import SparseEmbedding

__all__ = ["Bert", "BertConfig", "BertPooler", "Embeddings", "Layer"]


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT, named as in Hugging Face's config.json, and what its kin do otherwise."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0

    model_type: str = "bert"
    embedding_size: int | None = None
    """Width of the embeddings where it is not that of the layers (ELECTRA, ALBERT)."""
    position_biased_input: bool = True
    """Whether positions are added to the words; DeBERTa-v3 knows relative ones only."""
    position_offset: int = 0
    """The row of the first position; RoBERTa counts from behind its padding."""
    distinct_layers: int | None = None
    """How many layers have weights of their own; ALBERT's all share one layer's."""
    dropout_after: tuple[str, ...] = ("attention", "perceptron")
    """DistilBERT drops nothing after attention, ALBERT nothing after the perceptron."""
    relative: Literal["", "bias", "disentangled"] = ""
    """What attention knows of distances: nothing, MPNet's bias or DeBERTa's content."""
    relative_rows: int = 32
    """The rows of the table of distances."""
    position_buckets: int = -1
    farthest: int = 512
    pos_att_type: tuple[str, ...] = ()
    norm_rel_ebd: bool = False
    """Four settings of DeBERTa's distances; see `Disentangled`."""
    source: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The config.json that this was read from: saving hands on what it does not know."""

    @property
    def max_length(self) -> int:
        """The longest sequence that the position table can tell apart."""
        return self.max_position_embeddings - self.position_offset

    def with_dropout(self, p: float) -> BertConfig:
        """Return the config with every probability of dropout p."""
        return dataclasses.replace(self, hidden_dropout_prob=p, attention_probs_dropout_prob=p)


class Embeddings(nn.Module):
    """Word + segment + position, normalized; projected to the layers' width where theirs is another."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        own = config.embedding_size or width
        self.offset = config.position_offset
        self.word = SparseEmbedding(config.vocab_size, own)
        self.position = (nn.Embedding(config.max_position_embeddings, own)
                         if config.position_biased_input else None)
        self.segment = nn.Embedding(config.type_vocab_size, own) if config.type_vocab_size else None
        # DeBERTa projects before the norm, without a bias; ELECTRA and ALBERT after it.
        self.projects_first = config.relative == "disentangled"
        self.norm = nn.LayerNorm(width if self.projects_first else own, eps=config.layer_norm_eps)
        self.project = nn.Linear(own, width, bias=not self.projects_first) if own != width or (
            config.model_type == "albert") else None
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.relative: nn.Embedding | None = None
        if config.relative:
            row = config.num_attention_heads if config.relative == "bias" else width
            self.relative = nn.Embedding(config.relative_rows, row)
        self.relative_norm = (nn.LayerNorm(width, eps=config.layer_norm_eps)
                              if config.norm_rel_ebd else None)

    def forward(self, words: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        # words (…, W), segments and positions (…)
        x = words
        if self.segment is not None:
            x = x + (self.segment(segments) if len(self.segment.weight) > 1 else self.segment.weight[0])
        if self.position is not None:
            x = x + self.position(positions + self.offset if self.offset else positions)
        if self.project is None:
            return self.dropout(self.norm(x))  # type: ignore[no-any-return]
        if self.projects_first:
            return self.dropout(self.norm(self.project(x)))  # type: ignore[no-any-return]
        return self.project(self.dropout(self.norm(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each with dropout, residual and LayerNorm after it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.attention = SelfAttention(width, config.num_attention_heads,
                                       config.attention_probs_dropout_prob)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.drops_mixed = "attention" in config.dropout_after
        self.drops_out = "perceptron" in config.dropout_after
        self.compiled = False

    def forward(self, x: Tensor, attended: Callable[[Tensor], Tensor],
                added: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the next hidden states (…, W).

        `attended` mixes tokens: (…, 3W) to (…, W). `added`, an adapter, sees the layer's input;
        what it returns joins the second residual, before the last LayerNorm.
        """
        mixed = attended(self.attention.qkv(x))
        if self.compiled and added is None:
            return compiled(Layer.dense)(self, x, mixed)  # type: ignore[no-any-return]
        return self.dense(x, mixed, added)

    def dense(self, x: Tensor, mixed: Tensor, added: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the next hidden states from what attention gathered: all that knows no neighbours."""
        p = self.dropout.now
        mixed = self.attention.output(mixed)
        middle = added_norm(x, mixed, self.attention_norm, p if self.drops_mixed else 0.0)
        out = self.down(self.activation(self.up(middle)))
        residual = middle if added is None else middle + added(x)
        return added_norm(residual, out, self.norm, p if self.drops_out else 0.0)


class Bert(FlatEncoder):
    """The encoder of BERT and of all its kin that `BertConfig` can tell apart."""

    config: BertConfig

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        layers = config.distinct_layers or config.num_hidden_layers
        super().__init__(config, Embeddings(config), [Layer(config) for _ in range(layers)], pooler)
        self.apply(self._start)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def positions(self, positions: Tensor, longest: int, whole: bool = False) -> Positions:
        config, tables = self.config, self.embeddings
        if config.relative == "bias":
            return RelativeBias(tables.relative.weight, longest, whole)
        if config.relative == "disentangled":
            return Disentangled(tables.relative.weight, tables.relative_norm or torch.nn.Identity(),
                                tables.dropout, longest, buckets=config.position_buckets,
                                farthest=config.farthest, terms=config.pos_att_type, whole=whole)
        return Positions()
