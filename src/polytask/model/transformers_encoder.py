"""Encoders other than BERT, through `transformers.AutoModel`, behind the surface that `Bert` has.

They see flat batches like `Bert` but pad them inside, since their attention knows no other form.
What they cannot do is refused: task adapters inside the layers (`PAL.problem`), rates for layers
that share their weights (`trainable.apart_problem`), segments (`segments_problem`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polytask.core.atomic_files import storing, write_json
from polytask.core.errors import CheckpointError, ConfigError, MissingExtra
from polytask.data.batch import TokenBatch
from polytask.data.wordpiece import tokenizer_file
from polytask.model.bert import BertPooler, read_config
from polytask.model.pretrained import checkpoint_folder

_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class Traits:
    """What can be told of an encoder from its config.json alone."""

    kind: str
    num_layers: int
    has_segments: bool
    shared_layers: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Traits:
        """Read them from a config of Hugging Face."""
        kind = config.get("model_type", "bert")
        layers = int(config.get("num_hidden_layers") or config.get("n_layers") or 12)
        segments = config.get("type_vocab_size", 2 if kind in ("bert", "albert", "electra") else 0)
        groups = config.get("num_hidden_groups", layers)
        return cls(kind, layers, segments > 1, groups < layers)


def segments_problem(encoder: Any) -> str | None:
    """Return why an encoder (or its `Traits`) takes no segments, or None."""
    if getattr(encoder, "has_segments", True):
        return None
    return (f'"{encoder.kind}" has no segments to tell the two sentences apart; set '
            'pairing = { type = "cross_encoder", segments = false }')


class Backbone(nn.Module):
    """An encoder of another library. Shapes: T tokens, W width, S sequences, L longest."""

    pooler: BertPooler | None
    adapter: nn.Module | None

    def __init__(self, network: Any, pooler: BertPooler | None = None) -> None:
        super().__init__()
        self.network = network
        self.config = network.config
        self.pooler, self.adapter = pooler, None
        traits = Traits.of(network.config.to_dict())
        self.kind, self.has_segments = traits.kind, traits.has_segments
        self.shared_layers = traits.shared_layers
        self.notes = [f'encoder "{self.kind}": runs through transformers, on padded batches']

    @property
    def width(self) -> int:
        return int(self.config.hidden_size)

    @property
    def num_layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def vocab_size(self) -> int:
        return int(self.config.vocab_size)

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
        hidden: Tensor = self._run(batch, embeddings).last_hidden_state
        return hidden.flatten(0, 1)[self._places(batch)]

    def hidden_states(self, batch: TokenBatch) -> list[Tensor]:
        """Return the embeddings' output and every layer's: num_layers + 1 of (T, W)."""
        states = self._run(batch, output_hidden_states=True).hidden_states
        places = self._places(batch)
        return [state.flatten(0, 1)[places] for state in states]

    def attentions(self, batch: TokenBatch) -> list[list[Tensor]]:
        """Return for every layer and sequence its attention (heads, L, L), rows summing to 1."""
        used = self.config._attn_implementation
        self.network.set_attn_implementation("eager")  # the others keep no probabilities
        try:
            maps = self._run(batch, output_attentions=True).attentions
        finally:
            self.network.set_attn_implementation(used)
        return [[each[s, :, :n, :n] for s, n in enumerate(batch.lengths)] for each in maps]

    def padded(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the last hidden states (S, L, W) of a padded batch: the entry for export."""
        given = {"token_type_ids": token_type_ids} if self.has_segments else {}
        hidden: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask,
                                      **given).last_hidden_state
        return hidden

    def _run(self, batch: TokenBatch, words: Tensor | None = None, **wanted: bool) -> Any:
        longest = max(batch.lengths, default=0)
        if longest > self.max_length:
            raise ConfigError(f"data.max_length: found a sequence of {longest} tokens, expected at "
                              f"most {self.max_length}, the encoder's number of positions")
        words = self.embed(batch) if words is None else words
        places, shape = self._places(batch), (len(batch.lengths), longest)
        mask = batch.ids.new_zeros(shape).flatten().index_fill(0, places, 1).view(shape)
        given = {}
        if self.has_segments:
            segments = batch.ids.new_zeros(mask.numel()).index_copy(0, places, batch.segments)
            given["token_type_ids"] = segments.view(shape)
        rows = words.new_zeros(mask.numel(), words.shape[1]).index_copy(0, places, words)
        return self.network(inputs_embeds=rows.view(*shape, -1), attention_mask=mask, **given,
                            **wanted)

    def _places(self, batch: TokenBatch) -> Tensor:
        """Return where each token stands in the padded batch, row after row: (T,)."""
        return batch.owner * max(batch.lengths, default=0) + batch.positions

    def layer_of(self, parameter: str) -> int:
        """Return 0 for embeddings, 1 … num_layers for layers, num_layers + 1 for the pooler.

        Layers that share their weights are all 1; a norm after the last layer belongs to it, and
        what serves all layers (DeBERTa's relative positions) to the embeddings.
        """
        if parameter.startswith(("pooler.", "adapter.")):
            return self.num_layers + 1
        found = re.search(r"\.(?:layer|layers|albert_layer_groups)\.(\d+)\.", parameter)
        if found:
            return int(found.group(1)) + 1
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
            if tokenizer.resolve() != (folder / "tokenizer.json").resolve():
                shutil.copyfile(tokenizer, folder / "tokenizer.json")
            for name in _TOKENIZER_FILES:
                if tokenizer.parent != folder and tokenizer.with_name(name).exists():
                    shutil.copyfile(tokenizer.with_name(name), folder / name)
            if not (folder / _TOKENIZER_FILES[0]).exists():
                write_json(folder / _TOKENIZER_FILES[0],
                           {"tokenizer_class": "PreTrainedTokenizerFast",
                            "model_max_length": self.max_length})


def load_backbone(name: str | Path, dropout: float | None = None,
                  revision: str | None = None) -> tuple[Backbone, Path]:
    """Read an encoder that is no BERT and tell where its tokenizer.json is.

    `dropout` replaces every probability of the checkpoint's config. `Backbone.notes` says that it
    runs padded, and what the checkpoint lacked.
    """
    folder = checkpoint_folder(name, revision)
    config = read_config(folder)
    kind = config.get("model_type", "bert")
    try:
        import transformers
    except ImportError:
        raise MissingExtra(f'{folder}: an encoder of type "{kind}"', "transformers") from None
    _check_kind(folder, kind, transformers)
    try:
        with _quiet():
            network, told = transformers.AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{folder}: transformers cannot read it ({said})") from None
    backbone = wrap(network, not any("pooler" in key for key in told["missing_keys"]))
    if backbone.pooler is None:
        backbone.notes.append(f'{name}: has no pooler, so pooling = "pooler" cannot be used')
    if dropout is not None:
        backbone.set_dropout(dropout)
    return backbone.eval(), tokenizer_file(folder, backbone.vocab_size)


def wrap(network: Any, pooler: bool = True) -> Backbone:
    """Return a backbone around a model of transformers; its pooler, where it has one, is moved out.

    Without `pooler` it is dropped: transformers starts one at random where a checkpoint has none.
    """
    found = getattr(network, "pooler", None)
    taken = None
    if found is not None:
        dense = found if isinstance(found, nn.Linear) else getattr(found, "dense", None)
        if pooler and isinstance(dense, nn.Linear):
            taken = BertPooler(int(network.config.hidden_size))
            taken.dense = dense
        network.pooler = None
    return Backbone(network, taken)


def _check_kind(folder: Path, kind: str, transformers: Any) -> None:
    try:
        known = transformers.AutoConfig.for_model(kind)
    except ValueError:
        raise CheckpointError(f'{folder / "config.json"}: found model_type "{kind}", which '
                              f"transformers {transformers.__version__} does not know") from None
    read = type(known)
    one_way = (read in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
               and read not in transformers.MODEL_FOR_MASKED_LM_MAPPING)
    if known.is_encoder_decoder or one_way:
        raise CheckpointError(f'{folder / "config.json"}: found model_type "{kind}", which writes '
                              "text; expected an encoder, such as BERT, RoBERTa or ModernBERT")


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
