"""BERT (Devlin et al. 2019), read from top to bottom: sizes, embeddings, layer, encoder.

The encoder sees a flat batch: the tokens of all sequences one after the other, no padding. Only
attention knows where a sequence begins and ends. Results and gradients equal those of
`transformers.BertModel` to rounding. Shapes: T tokens, W width, S sequences, L longest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polytask.core.errors import CheckpointError, ConfigError, listed
from polytask.data.batch import TokenBatch
from polytask.model.attention import attend, attention_maps
from polytask.model.dropout import Dropout, added_norm
from polytask.model.sparse_embedding import SparseEmbedding

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT, named as in Hugging Face's config.json."""

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

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "config.json") -> BertConfig:
        """Read Hugging Face's config; raise `CheckpointError` for a model that is no BERT."""
        kind = values.get("model_type", "bert")
        if kind != "bert":
            raise CheckpointError(f'{where}: found model_type "{kind}", expected "bert"')
        positions = values.get("position_embedding_type") or "absolute"
        if positions != "absolute":
            raise CheckpointError(f'{where}: found position_embedding_type "{positions}", '
                                  'expected "absolute"')
        if values.get("is_decoder"):
            raise CheckpointError(f"{where}: found is_decoder = true, expected an encoder")
        known = {field.name for field in dataclasses.fields(cls)}
        made = cls(**{key: value for key, value in values.items() if key in known})
        if made.hidden_act not in _ACTIVATIONS:
            raise CheckpointError(f'{where}: found hidden_act "{made.hidden_act}", '
                                  f"expected one of {listed(_ACTIVATIONS)}")
        if made.hidden_size % made.num_attention_heads:
            raise CheckpointError(f"{where}: found hidden_size {made.hidden_size}, expected a "
                                  f"multiple of num_attention_heads {made.num_attention_heads}")
        return made

    def to_json(self) -> dict[str, Any]:
        """Return what `transformers.AutoModel` needs to open the checkpoint."""
        return {"architectures": ["BertModel"], "model_type": "bert",
                "position_embedding_type": "absolute", "dtype": "float32",
                **dataclasses.asdict(self)}


class Embeddings(nn.Module):
    """Word + segment + position, normalized."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word = SparseEmbedding(config.vocab_size, width)
        self.position = nn.Embedding(config.max_position_embeddings, width)
        self.segment = nn.Embedding(config.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, words: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        # words (…, W), segments and positions (…)
        x = words + self.segment(segments) + self.position(positions)
        return self.dropout(self.norm(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """The projections of multi-head self-attention and its dropout."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def qkv(self, x: Tensor) -> Tensor:
        """Return queries, keys and values beside one another: (…, 3W)."""
        parts = (self.query, self.key, self.value)
        if all(type(part) is nn.Linear for part in parts):
            # One product for the three; a projection that was wrapped (LoRA) is called by itself.
            return F.linear(x, torch.cat([part.weight for part in parts]),
                            torch.cat([part.bias for part in parts]))
        return torch.cat([part(x) for part in parts], -1)


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each with dropout, residual and LayerNorm after it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.activation = _ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor, attended: Callable[[Tensor], Tensor],
                added: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the next hidden states (…, W).

        `attended` mixes tokens: (…, 3W) to (…, W). `added`, an adapter, sees the layer's input;
        what it returns joins the second residual, before the last LayerNorm.
        """
        p = self.dropout.now
        mixed = self.attention.output(attended(self.attention.qkv(x)))
        middle = added_norm(x, mixed, self.attention_norm, p)
        out = self.down(self.activation(self.up(middle)))
        residual = middle if added is None else middle + added(x)
        return added_norm(residual, out, self.norm, p)


class BertPooler(nn.Module):
    """A dense layer and tanh over the states of [CLS]: (n, W) to (n, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        return self.dense(states).tanh()  # type: ignore[no-any-return]


class Bert(nn.Module):
    """The encoder. `adapter`, when set, is called in every layer as adapter(k, input, batch)."""

    pooler: BertPooler | None
    adapter: nn.Module | None

    def __init__(self, config: BertConfig, pooler: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = BertPooler(config.hidden_size) if pooler else None
        self.adapter = None
        self.notes: list[str] = []
        """What a reader of the checkpoint should know (a pooler that it lacks)."""
        self.apply(self._start)

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    @property
    def width(self) -> int:
        return self.config.hidden_size

    @property
    def num_layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def max_length(self) -> int:
        """The longest sequence that the position table can tell apart."""
        return self.config.max_position_embeddings

    def set_dropout(self, p: float) -> None:
        """Give every dropout of the encoder the probability p."""
        self.config = dataclasses.replace(self.config, hidden_dropout_prob=p,
                                          attention_probs_dropout_prob=p)
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = p

    def embed(self, batch: TokenBatch) -> Tensor:
        """Return the word embeddings alone: (T, W)."""
        return self.embeddings.word(batch.ids)  # type: ignore[no-any-return]

    def forward(self, batch: TokenBatch, embeddings: Tensor | None = None) -> Tensor:
        """Return the last hidden states (T, W); `embeddings` take the place of `embed(batch)`."""
        return self._run(batch, embeddings)

    def hidden_states(self, batch: TokenBatch) -> list[Tensor]:
        """Return the embeddings' output and every layer's: num_layers + 1 of (T, W)."""
        states: list[Tensor] = []
        self._run(batch, None, states)
        return states

    def attentions(self, batch: TokenBatch) -> list[list[Tensor]]:
        """Return for every layer and sequence its attention (heads, L, L), rows summing to 1."""
        inputs = self.hidden_states(batch)
        return [attention_maps(layer.attention.qkv(x), batch.lengths, layer.attention.heads)
                for layer, x in zip(self._layers(), inputs, strict=False)]

    def _run(self, batch: TokenBatch, words: Tensor | None,
             states: list[Tensor] | None = None) -> Tensor:
        self._fits(max(batch.lengths, default=0))
        words = self.embed(batch) if words is None else words
        x: Tensor = self.embeddings(words, batch.segments, batch.positions)
        for k, layer in enumerate(self._layers()):
            if states is not None:
                states.append(x)
            attention = layer.attention

            def attended(qkv: Tensor, attention: Attention = attention) -> Tensor:
                return attend(qkv, batch.lengths, attention.heads, attention.dropout.now)

            def added(x: Tensor, k: int = k) -> Tensor:
                assert self.adapter is not None
                added: Tensor = self.adapter(k, x, batch)
                return added

            x = layer(x, attended, None if self.adapter is None else added)
        if states is not None:
            states.append(x)
        return x

    def padded(self, input_ids: Tensor, attention_mask: Tensor,
               token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states (S, L, W) of a padded batch: the entry for export.

        Without adapter. Made of plain operations, so that a tracer sees all of them.
        """
        length = input_ids.shape[1]
        positions = torch.arange(length, device=input_ids.device).unsqueeze(0)
        mask = attention_mask.to(torch.bool)[:, None, None, :]              # (S, 1, 1, L)
        x: Tensor = self.embeddings(self.embeddings.word(input_ids), token_type_ids, positions)
        for layer in self._layers():
            heads, p = layer.attention.heads, layer.attention.dropout.now

            def attended(qkv: Tensor, heads: int = heads, p: float = p) -> Tensor:
                q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2)
                           for part in qkv.chunk(3, -1))                    # (S, heads, L, d)
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
                return mixed.transpose(1, 2).flatten(2)

            x = layer(x, attended)
        return x

    def _layers(self) -> list[Layer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _fits(self, longest: int) -> None:
        if longest > self.max_length:
            raise ConfigError(f"data.max_length: found a sequence of {longest} tokens, expected at "
                              f"most {self.max_length}, the encoder's number of positions")

    def layer_of(self, parameter: str) -> int:
        """Return 0 for embeddings, 1 … num_layers for layers, num_layers + 1 for the rest."""
        part, _, rest = parameter.partition(".")
        if part == "embeddings":
            return 0
        return int(rest.split(".")[0]) + 1 if part == "layers" else self.num_layers + 1


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read the config.json of a checkpoint folder."""
    path = Path(folder) / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file, expected a checkpoint folder in "
                              "Hugging Face's layout") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: is not readable JSON ({error})") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object")
    return values
