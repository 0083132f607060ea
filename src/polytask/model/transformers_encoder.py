"""Encoders outside our families, through `transformers.AutoModel`, behind the surface of `FlatEncoder`.

They see flat batches too but pad them inside, since their attention knows no other form: sequences of
like length together, so that little is padding. What they cannot do is refused: task adapters inside
the layers (`PAL.problem`), rates for layers that share their weights (`trainable.apart_problem`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.core.atomic_files import storing
from polytask.core.encoder_paths import EncoderPaths
from polytask.core.errors import CheckpointError, MissingExtra
from polytask.data.batch import TokenBatch
from polytask.data.wordpiece import tokenizer_file
from polytask.model.attention_plan import groups_of_like_length
from polytask.model.encoder_base import EncoderBase
from polytask.model.flat_encoder import BertPooler
from polytask.model.pretrained import checkpoint_folder, copy_tokenizer, read_config
from polytask.model.weights import refuse_not_finite


class Backbone(EncoderBase):
    """An encoder of another library. Shapes: T tokens, W width, S sequences, L longest."""

    pooler: BertPooler | None
    adapter: nn.Module | None

    def __init__(self, network: Any, pooler: BertPooler | None = None) -> None:
        super().__init__()
        self.network = network
        self.config = network.config
        self.pooler, self.adapter = pooler, None
        self.kind = str(network.config.model_type)
        self.has_segments = getattr(network.config, "type_vocab_size", 0) > 1
        self.shared_layers = getattr(network.config, "num_hidden_groups", self.num_layers) < self.num_layers
        self.notes = [f'encoder "{self.kind}": runs through transformers, on padded batches']

    @property
    def max_length(self) -> int:
        """The longest sequence that the position table can tell apart."""
        embeddings = getattr(self.network, "embeddings", None)
        # RoBERTa and its kin count positions from behind the padding's own.
        before = getattr(embeddings, "padding_idx", None)
        return int(self.config.max_position_embeddings) - (0 if before is None else before + 1)

    def set_dropout(self, p: float) -> None:
        """Give every dropout of the encoder the probability p."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = p
            for key, value in vars(module).items():
                if "dropout" in key and isinstance(value, float):
                    setattr(module, key, p)

    def embed(self, batch: TokenBatch) -> Tensor:
        """Return the word embeddings alone: (T, their own width)."""
        words: Tensor = self.network.get_input_embeddings()(batch.ids)
        return words

    def forward(self, batch: TokenBatch, embeddings: Tensor | None = None) -> Tensor:
        """Return the last hidden states (T, W); `embeddings` take the place of `embed(batch)`."""
        parts, order = self._run(batch, embeddings)
        return torch.cat([part.last_hidden_state.flatten(0, 1) for part in parts])[order]

    def hidden_states(self, batch: TokenBatch) -> list[Tensor]:
        """Return the embeddings' output and every layer's: num_layers + 1 of (T, W)."""
        parts, order = self._run(batch, output_hidden_states=True)
        return [torch.cat([state.flatten(0, 1) for state in states])[order]
                for states in zip(*(part.hidden_states for part in parts), strict=True)]

    def attentions(self, batch: TokenBatch) -> list[list[Tensor]]:
        """Return for every layer and sequence its attention (heads, L, L), rows summing to 1."""
        used = self.config._attn_implementation
        self.network.set_attn_implementation("eager")  # the others keep no probabilities
        try:
            parts, _ = self._run(batch, output_attentions=True)
        finally:
            self.network.set_attn_implementation(used)
        layers: list[dict[int, Tensor]] = [{} for _ in range(self.num_layers)]
        for group, part in zip(groups_of_like_length(batch.lengths), parts, strict=True):
            for by_sequence, maps in zip(layers, part.attentions, strict=True):
                by_sequence |= {s: maps[row, :, :batch.lengths[s], :batch.lengths[s]]
                                for row, s in enumerate(group)}
        return [[by_sequence[s] for s in sorted(by_sequence)] for by_sequence in layers]

    def padded(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states (S, L, W) of a padded batch: the entry for export."""
        segments = {"token_type_ids": token_type_ids} if self.has_segments else {}
        hidden: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask,
                                      **segments).last_hidden_state
        return hidden

    def _run(self, batch: TokenBatch, words: Tensor | None = None,
             **wanted: bool) -> tuple[list[Any], Tensor]:
        """Run groups of like length; return their outputs, and for each token its place in them."""
        self.check_length(batch)
        words = self.embed(batch) if words is None else words
        parts, place = [], 0
        order = torch.empty(batch.num_tokens, dtype=torch.long)
        for group in groups_of_like_length(batch.lengths):
            length = batch.lengths[group[0]]
            lengths = torch.tensor([batch.lengths[s] for s in group])[:, None]
            first = torch.tensor([batch.starts[s] for s in group])[:, None]
            real = torch.arange(length) < lengths                           # (n, L)
            tokens = torch.where(real, first + torch.arange(length), first)
            order[tokens[real]] = place + torch.arange(real.numel()).view_as(real)[real]
            place += real.numel()
            tokens = tokens.to(words.device)
            segments = {"token_type_ids": batch.segments[tokens]} if self.has_segments else {}
            parts.append(self.network(inputs_embeds=words[tokens], **segments, **wanted,
                                      attention_mask=real.long().to(words.device)))
        return parts, order.to(words.device)

    def layer_of(self, parameter: str) -> int:
        """Return 0 for embeddings, 1 … num_layers for layers, num_layers + 1 for the pooler.

        Layers that share their weights are all 1; a norm after the last layer belongs to it, and
        what serves all layers (DeBERTa's relative positions) to the embeddings.
        """
        if parameter.startswith(("pooler.", "adapter.")):
            return self.num_layers + 1
        match = re.search(r"\.(?:layer|layers|albert_layer_groups)\.(\d+)\.", parameter)
        if match:
            return int(match.group(1)) + 1
        return self.num_layers if ".final" in parameter else 0

    def save(self, tokenizer: str | Path, folder: str | Path) -> None:
        """Write a checkpoint folder that `transformers.AutoModel` and `AutoTokenizer` open."""
        folder, tokenizer = Path(folder), Path(tokenizer)
        weights = dict(self.network.state_dict())
        if self.pooler is not None:
            place = "pooler" if self.kind == "albert" else "pooler.dense"
            weights |= {f"{place}.{name}": value
                        for name, value in self.pooler.dense.state_dict().items()}
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _quiet():
                self.network.save_pretrained(folder, state_dict=weights)
            copy_tokenizer(tokenizer, folder, self.max_length, "PreTrainedTokenizerFast")


def load_backbone(name: str | Path, dropout: float | None = None, own: bool = False
                  ) -> tuple[Backbone, Path]:
    """Read an encoder through transformers and tell where its tokenizer.json is.

    `dropout` replaces every probability of the checkpoint's config. `Backbone.notes` says that it
    runs padded, and what the checkpoint lacked. Of a checkpoint that polytask saved (`own`) tensors that
    are missing or have no place are refused.
    """
    folder = checkpoint_folder(name)
    config = read_config(folder)
    kind = config.get("model_type", "bert")
    try:
        import transformers
    except ImportError:
        raise MissingExtra(f'{folder}: an encoder of type "{kind}"', "transformers") from None
    _check_kind(folder, kind, transformers)
    try:
        with _quiet():
            network, loading = transformers.AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True,
                trust_remote_code=False)
    except Exception as error:  # whatever a model's own code makes of settings that are none of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{folder}: transformers cannot read it ({reason})") from None
    if own and (odd := _odd_tensors(loading)):
        raise CheckpointError(f"{EncoderPaths(folder).weights}: {odd}; expected the weights and the config "
                              "that were saved together")
    lacking = _missing(loading)
    for key, tensor in network.named_parameters():
        refuse_not_finite(tensor.detach(), key, EncoderPaths(folder).weights)
    backbone = wrap(network, not any("pooler" in key for key in loading["missing_keys"]))
    if backbone.pooler is None:
        backbone.notes.append(f'{name}: has no pooler, so pooling = "pooler" cannot be used')
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        backbone.notes.append(f"{name}: its weights lack {lacking[0]}{more}, which start at random")
    if dropout is not None:
        backbone.set_dropout(dropout)
    return backbone.eval(), tokenizer_file(folder, backbone.vocab_size)


def _missing(loading: Mapping[str, Any]) -> list[str]:
    """Return the tensors that a checkpoint lacks; a pooler is often left out, and then not used."""
    return sorted(key for key in loading["missing_keys"] if "pooler" not in key)


def _odd_tensors(loading: Mapping[str, Any]) -> str:
    """Say which tensors a checkpoint of ours lacks or has too many, or nothing; it may have no pooler."""
    missing = _missing(loading)
    extra = sorted(loading["unexpected_keys"])
    if missing:
        return f"the weights lack {missing[0]}"
    return f"{extra[0]} has no place in the network that config.json describes" if extra else ""


def wrap(network: Any, pooler: bool = True) -> Backbone:
    """Return a backbone around a model of transformers; its pooler, where it has one, is moved out.

    Without `pooler` it is dropped: transformers starts one at random where a checkpoint has none.
    """
    theirs = getattr(network, "pooler", None)
    own = None
    if theirs is not None:
        dense = theirs if isinstance(theirs, nn.Linear) else getattr(theirs, "dense", None)
        if pooler and isinstance(dense, nn.Linear):
            own = BertPooler(int(network.config.hidden_size))
            own.dense = dense
        network.pooler = None
    return Backbone(network, own)


def _check_kind(folder: Path, kind: str, transformers: Any) -> None:
    place = EncoderPaths(folder).config
    try:
        known = transformers.AutoConfig.for_model(kind)
    except ValueError:
        raise CheckpointError(f'{place}: found model_type "{kind}", which '
                              f"transformers {transformers.__version__} does not know") from None
    read = type(known)
    one_way = (read in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
               and read not in transformers.MODEL_FOR_MASKED_LM_MAPPING)
    if known.is_encoder_decoder or one_way:
        raise CheckpointError(f'{place}: found model_type "{kind}", which '
                              "generates text; expected an encoder, such as BERT, RoBERTa or ModernBERT")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' reports and bars: what matters of them becomes a note."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
