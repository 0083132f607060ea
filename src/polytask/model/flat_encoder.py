"""The base of encoders over flat batches: projections, pooler, and the way through the layers.

The encoder sees the tokens of all sequences one after the other, no padding. Only attention knows
where a sequence begins and ends. Shapes: T tokens, W width, S sequences, L longest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from polytask.data.batch import TokenBatch
from polytask.model.attention import Scoring, attend, attention_maps
from polytask.model.dropout import Dropout
from polytask.model.encoder_base import EncoderBase
from polytask.model.positions import Positions, distances
from polytask.model.precision import rounds_on_cpu

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}

_ROWS = 64
"""A batch is filled up to a multiple of so many tokens where a CPU computes in bf16: its library compiles a
product anew for every number of rows, which takes as long as several products."""

Mix = Callable[[int, Any, Tensor], Tensor]
"""From the number of a layer, its projections and its (…, 3W) to what its tokens gather: (…, W)."""


class SelfAttention(nn.Module):
    """The projections of multi-head self-attention and its dropout."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.apart = False
        """Whether the matrices cannot lie in one piece of memory: those of a spread layer come and go."""

    def qkv(self, x: Tensor) -> Tensor:
        """Return queries, keys and values beside one another: (…, 3W)."""
        parts = (self.query, self.key, self.value)
        if self.apart or not all(type(part) is nn.Linear for part in parts):
            # A projection that was wrapped (LoRA) is called by itself.
            return torch.cat([part(x) for part in parts], -1)
        return F.linear(x, stacked([part.weight for part in parts]), stacked([part.bias for part in parts]))


def adjacent(tensors: Sequence[Tensor]) -> bool:
    """Tell whether tensors lie behind one another in one piece of memory."""
    first = tensors[0]
    at, place = first.data_ptr(), first.untyped_storage().data_ptr()
    for tensor in tensors:
        if (tensor.data_ptr() != at or tensor.untyped_storage().data_ptr() != place
                or not tensor.is_contiguous() or tensor.dtype != first.dtype):
            return False
        at += tensor.numel() * tensor.element_size()
    return True


def stacked(parameters: Sequence[Tensor]) -> Tensor:
    """Return parameters one under the other, without a copy at every call.

    The first call (and one after a copy or a move of the module) lays their numbers behind one
    another; they remain parameters of their own.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state():
        return torch.cat(list(parameters))
    if not adjacent(parameters):
        with torch.inference_mode(False), torch.no_grad():
            joined = torch.cat([parameter.data for parameter in parameters])
            for each, piece in zip(parameters, joined.chunk(len(parameters)), strict=True):
                each.data = piece
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
        return _Stacked.apply(*parameters)  # type: ignore[no-any-return, no-untyped-call]
    return _view(parameters)


def _view(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    shape = (sum(len(tensor) for tensor in tensors), *first.shape[1:])
    return first.new_empty(0).set_(first.untyped_storage(), first.storage_offset(), shape,
                                   first.stride())


class _Stacked(torch.autograd.Function):
    """`torch.cat` of tensors that lie behind one another: nothing is copied, forward or backward."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.sizes = [len(tensor) for tensor in tensors]
        return _view(tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad.split_with_sizes(ctx.sizes)


class BertPooler(nn.Module):
    """A dense layer and tanh over the states of [CLS]: (n, W) to (n, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        return self.dense(states).tanh()  # type: ignore[no-any-return]


class FlatEncoder(EncoderBase):
    """An encoder. `adapter`, when set, is called in every layer as adapter(k, input, batch).

    `embeddings` maps (words, segments, positions) to (T, W), and its `word` is the table of words;
    each of `layers` maps (x, attended, added) to (T, W), and its `attention` has the projections.
    """

    pooler: BertPooler | None
    adapter: nn.Module | None

    def __init__(self, config: Any, embeddings: nn.Module, layers: list[nn.Module],
                 pooler: bool) -> None:
        super().__init__()
        self.config = config
        self.embeddings: Any = embeddings
        self.layers = nn.ModuleList(layers)
        self.pooler = BertPooler(config.hidden_size) if pooler else None
        self.adapter = None
        self.notes: list[str] = []
        """What a reader of the checkpoint should know (a pooler that it lacks)."""

    @property
    def kind(self) -> str:
        """The `model_type` of the checkpoint's config.json."""
        return str(self.config.model_type)

    @property
    def max_length(self) -> int:
        """The longest sequence that the position table can tell apart."""
        return int(self.config.max_length)

    @property
    def has_segments(self) -> bool:
        return bool(self.config.type_vocab_size > 1)

    @property
    def shared_layers(self) -> bool:
        """Whether several layers are one and the same module (ALBERT)."""
        return len(self.layers) < self.num_layers

    def positions(self, positions: Tensor, longest: int, whole: bool = False) -> Positions:
        """Return what attention knows of positions in this pass; `whole` as in `Disentangled`."""
        return Positions()

    def final(self, x: Tensor) -> Tensor:
        """Return the last hidden states from what the last layer gives."""
        return x

    def set_dropout(self, p: float) -> None:
        """Give every dropout of the encoder the probability p."""
        self.config = self.config.with_dropout(p)
        for module in self.modules():
            if isinstance(module, Dropout):
                module.p = p

    def compile_layers(self, on: bool) -> None:
        """Let torch.compile fuse what lies between the attentions of two layers, or no longer."""
        layers: Any = self.layers
        for layer in layers:
            layer.compiled = on

    def embed(self, batch: TokenBatch) -> Tensor:
        """Return the word embeddings alone: (T, W), or narrower where a projection follows."""
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
        maps: list[list[Tensor]] = []
        self._run(batch, None, maps=maps)
        return maps

    def lower(self, batch: TokenBatch, depth: int) -> Tensor:
        """Return what the first `depth` layers make of a batch: (T, W), `LowerStates` for later passes."""
        return self._run(batch, None, depth=depth)

    def _run(self, batch: TokenBatch, words: Tensor | None, states: list[Tensor] | None = None,
             maps: list[list[Tensor]] | None = None, depth: int | None = None) -> Tensor:
        longest, begin, whole = self.check_length(batch), 0, batch
        if words is None and batch.lower is not None and states is None and maps is None:
            begin, x = batch.lower.depth, batch.lower.states
        else:
            words = self.embed(batch) if words is None else words
            x = self.embeddings(words, batch.segments, batch.positions)
        if states is None and maps is None and rounds_on_cpu(x):
            whole = batch.filled(_ROWS)
            x = F.pad(x, (0, 0, 0, whole.num_tokens - batch.num_tokens))
        positions = self.positions(whole.positions, longest)

        def mix(k: int, attention: Any, qkv: Tensor) -> Tensor:
            scoring = positions.scoring(k, attention)
            qkv = positions.turn(k, qkv)
            if maps is not None:
                maps.append(attention_maps(qkv, whole.lengths, attention.heads, scoring))
            return attend(qkv, whole.lengths, attention.heads, attention.dropout.now, scoring)

        return self._through(x, mix, whole, states, begin, depth)[:batch.num_tokens]

    def _through(self, x: Tensor, mix: Mix, batch: TokenBatch | None,
                 states: list[Tensor] | None = None, begin: int = 0, end: int | None = None) -> Tensor:
        """Pass states through the layers from `begin` to `end` (absent: all, and the last norm).

        Without `batch`, without the adapter.
        """
        for k in range(begin, self.num_layers if end is None else end):
            layer = self.layer(k)
            if states is not None:
                states.append(x)

            def attended(qkv: Tensor, k: int = k, attention: Any = layer.attention) -> Tensor:
                return mix(k, attention, qkv)

            def added(x: Tensor, k: int = k) -> Tensor:
                assert self.adapter is not None
                gain: Tensor = self.adapter(k, x, batch)
                return gain

            x = layer(x, attended, None if self.adapter is None or batch is None else added)
        if end is not None:
            return x
        x = self.final(x)
        if states is not None:
            states.append(x)
        return x

    def layer(self, k: int) -> Any:
        """Return the module of layer k; layers in equal shares where there are fewer modules."""
        return self.layers[int(k / (self.num_layers / len(self.layers)))]

    def padded(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states (S, L, W) of a padded batch: the entry for export.

        Without adapter. Made of plain operations, so that a tracer sees all of them.
        """
        length = input_ids.shape[1]
        at = torch.arange(length, device=input_ids.device).unsqueeze(0)
        seen = attention_mask.to(torch.bool)[:, None, None, :]              # (S, 1, 1, L)
        positions = self.positions(at, length, whole=True)
        x: Tensor = self.embeddings(self.embeddings.word(input_ids), token_type_ids, at)

        def mix(k: int, attention: Any, qkv: Tensor) -> Tensor:
            qkv = positions.turn(k, qkv)
            q, k_, v = (part.reshape(*part.shape[:2], attention.heads, -1).transpose(1, 2)
                        for part in qkv.chunk(3, -1))                       # (S, heads, L, d)
            scoring = positions.scoring(k, attention)
            mixed = F.scaled_dot_product_attention(
                q, k_, v, attn_mask=_padded_mask(scoring, seen, length, q, k_),
                dropout_p=attention.dropout.now, scale=scoring.scale)
            return mixed.transpose(1, 2).flatten(2)

        return self._through(x, mix, None)

    def layer_of(self, parameter: str) -> int:
        """Return 0 for embeddings, 1 … num_layers for layers, num_layers + 1 for the rest.

        Layers that share their weights have the number of the first; a norm after the last layer
        belongs to it; what serves all layers (relative positions), to the embeddings.
        """
        part, _, rest = parameter.partition(".")
        if part == "embeddings":
            return 0
        if part == "final_norm":
            return self.num_layers
        return int(rest.split(".")[0]) + 1 if part == "layers" else self.num_layers + 1


def _padded_mask(scoring: Scoring, seen: Tensor, length: int, q: Tensor, k: Tensor) -> Tensor:
    """Return what attention adds or lets through in a padded batch."""
    if scoring.window is not None:
        near = distances(length, seen.device).abs() <= scoring.window
        # Queries at padding see all tokens: a row without any would be NaN.
        seen = seen & (near | ~seen.transpose(2, 3))
    if scoring.bias is None:
        return seen
    bias = scoring.bias(length, lambda: (q, k))
    return bias.masked_fill(~seen, torch.finfo(bias.dtype).min)
