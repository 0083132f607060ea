"""LoRA (Hu et al. 2022) through PEFT: low-rank changes of frozen matrices, merged when saved."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import Field
from torch import nn

from polytask.core.errors import MissingExtra, listed, nearest
from polytask.core.settings import problem
from polytask.model.adapters.contract import Adapter, adapter

E = TypeVar("E", bound=nn.Module)

# One word for the same matrix in every encoder. Where queries, keys and values are one matrix
# (ModernBERT's Wqkv, DeBERTa's in_proj), each of the three words means that matrix.
_WORDS = {
    "query": ("query", "q_lin", "query_proj", "q_proj", "Wqkv", "in_proj"),
    "key": ("key", "k_lin", "key_proj", "k_proj", "Wqkv", "in_proj"),
    "value": ("value", "v_lin", "value_proj", "v_proj", "Wqkv", "in_proj"),
}


@adapter
class LoRA(Adapter):
    """Trains a low-rank change of some matrices and leaves the encoder's own weights as they are.

    Formula: W' = W + alpha / rank · B A, with A (rank, in) started at random and B (out, rank) at
    zero; when the model is saved, W' takes the place of W.

    Inputs: the encoder's linear layers whose names end in one of `targets`.

    Source: Hu et al. 2022, equation 3; computed by PEFT. In none of the five reports.
    """

    name = "lora"

    rank: Annotated[int, Field(gt=0, le=4096)] = 8
    """Rank of the change."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """The change is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the input of A."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("query", "value")
    """Which layers: query, key, value (in every encoder; where the three are one matrix, that one),
    or an encoder's own names (BERT: output, up, down)."""

    def __post_init__(self) -> None:
        if "" in self.targets:
            raise problem("targets: found an empty name, expected names of linear layers")

    def problem(self, encoder: Any) -> str | None:
        if any(_carries(module) for module in encoder.modules()):
            return "the encoder has LoRA already; merge that first, or leave the adapter out"
        names = {name.rpartition(".")[2] for name in _linears(encoder)}
        for target in self.targets:
            if not any(word in names for word in _WORDS.get(target, (target,))):
                return (f'targets: found "{target}", expected a linear layer of the encoder'
                        f"{nearest(target, names) or ' (' + listed(sorted(names)) + ')'}")
        return None

    def attach(self, model: Any, tasks: Iterable[str]) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError:
            raise MissingExtra('encoder.adapter = "lora"', "peft") from None
        self.refuse(model.encoder)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout,
                            target_modules=[name for name, _ in self._chosen(model.encoder)])
        inject_adapter_in_model(config, model.encoder)

    def num_parameters(self, encoder: Any) -> int:
        return sum(self.rank * (linear.in_features + linear.out_features)
                   for _, linear in self._chosen(encoder))

    def about(self) -> str:
        return (f"Trained with LoRA of rank {self.rank} on {', '.join(self.targets)}, which is "
                "merged into the encoder's weights.")

    def _chosen(self, encoder: Any) -> list[tuple[str, nn.Linear]]:
        """Return the layers that `targets` name, one that carries LoRA already as it was before."""
        words = {word for target in self.targets for word in _WORDS.get(target, (target,))}
        return [(name, linear) for name, linear in _linears(encoder).items()
                if name.rpartition(".")[2] in words]


def _linears(encoder: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of an encoder's own layers by name, adapters left out."""
    return {name.removesuffix(".base_layer"): module for name, module in encoder.named_modules()
            if isinstance(module, nn.Linear) and ".lora_" not in name
            and not name.startswith(("adapter.", "pooler."))}


def merged(encoder: E) -> E:
    """Return the encoder with LoRA's changes added to its matrices: a copy, or itself without LoRA.

    The copy has the parameters that the encoder had before LoRA, under the same names, all of them
    trained.
    """
    if not any(_carries(module) for module in encoder.modules()):
        return encoder
    plain = copy.deepcopy(encoder)
    for name, module in list(plain.named_modules()):
        if _carries(module):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, module.base_layer)
    del plain.peft_config
    return plain.requires_grad_(True)


def _carries(module: nn.Module) -> bool:
    return hasattr(module, "base_layer") and hasattr(module, "lora_A")
