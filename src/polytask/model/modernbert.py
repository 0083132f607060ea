"""ModernBERT (Warner et al. 2024): rotary positions, local and global layers, norms before, a GLU.

Results and gradients equal those of `transformers.ModernBertModel` to rounding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from polytask.model.bert import BertConfig
from polytask.model.compiled import compiled
from polytask.model.dropout import Dropout
from polytask.model.flat_encoder import ACTIVATIONS, FlatEncoder
from polytask.model.positions import Positions, Rotary
from polytask.model.sparse_embedding import SparseEmbedding


@dataclass(frozen=True)
class ModernBertConfig(BertConfig):
    """The sizes of a ModernBERT. `hidden_dropout_prob` is that inside the perceptron."""

    embedding_dropout: float = 0.0
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_layers: tuple[bool, ...] = ()
    """For every layer whether its attention is local."""
    local_attention: int = 128
    """The width of the window of local layers."""
    global_theta: float = 160_000.0
    local_theta: float = 10_000.0

    def with_dropout(self, p: float) -> ModernBertConfig:
        return dataclasses.replace(self, hidden_dropout_prob=p, attention_probs_dropout_prob=p,
                                   embedding_dropout=p)


class ModernEmbeddings(nn.Module):
    """The words, normalized; positions are attention's."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.word = SparseEmbedding(config.vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.norm_bias)
        self.dropout = Dropout(config.embedding_dropout)

    def forward(self, words: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        return self.dropout(self.norm(words))  # type: ignore[no-any-return]


class ModernAttention(nn.Module):
    """The projections: queries, keys and values are one matrix. `dropout` is that of its weights."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.Wqkv = nn.Linear(width, 3 * width, bias=config.attention_bias)
        self.output = nn.Linear(width, width, bias=config.attention_bias)
        self.dropout = Dropout(config.attention_probs_dropout_prob)


class ModernLayer(nn.Module):
    """Attention and a gated perceptron, each with its norm before and its residual after it."""

    def __init__(self, config: ModernBertConfig, first: bool) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        # The first layer's norm is that of the embeddings.
        self.attention_norm = None if first else nn.LayerNorm(width, eps=eps, bias=config.norm_bias)
        self.attention = ModernAttention(config)
        self.norm = nn.LayerNorm(width, eps=eps, bias=config.norm_bias)
        self.up = nn.Linear(width, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = nn.Linear(config.intermediate_size, width, bias=config.mlp_bias)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.compiled = False

    def forward(self, x: Tensor, attended: Callable[[Tensor], Tensor],
                added: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the next hidden states; `attended` and `added` as in `bert.Layer`."""
        normed = x if self.attention_norm is None else self.attention_norm(x)
        mixed = attended(self.attention.Wqkv(normed))
        if self.compiled and added is None:
            return compiled(ModernLayer.dense)(self, x, mixed)  # type: ignore[no-any-return]
        return self.dense(x, mixed, added)

    def dense(self, x: Tensor, mixed: Tensor, added: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the next hidden states from what attention gathered: all that knows no neighbours."""
        attention = self.attention
        middle = x + attention.dropout(attention.output(mixed))
        content, gate = self.up(self.norm(middle)).chunk(2, -1)
        out: Tensor = middle + self.down(self.dropout(self.activation(content) * gate))
        return out if added is None else out + added(x)


class ModernBert(FlatEncoder):
    """The encoder."""

    config: ModernBertConfig

    def __init__(self, config: ModernBertConfig, pooler: bool = False) -> None:
        layers = [ModernLayer(config, first=k == 0) for k in range(config.num_hidden_layers)]
        super().__init__(config, ModernEmbeddings(config), list[nn.Module](layers), pooler)
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps,
                                       bias=config.norm_bias)
        self.apply(self._start)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def positions(self, positions: Tensor, longest: int, whole: bool = False) -> Positions:
        config = self.config
        heads = config.num_attention_heads
        return Rotary(positions, config.hidden_size // heads, heads,
                      {True: config.local_theta, False: config.global_theta},
                      config.local_layers, config.local_attention // 2)

    def final(self, x: Tensor) -> Tensor:
        return self.final_norm(x)  # type: ignore[no-any-return]
