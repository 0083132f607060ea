"""The files by which sentence-transformers opens a folder whose root is an encoder.

    modules.json                      Transformer, Pooling and, for "pooler" or a head, Dense modules
    sentence_bert_config.json         the longest sequence
    config_sentence_transformers.json what is opened: a SentenceTransformer or a CrossEncoder
    1_Pooling/config.json   2_Dense/{config.json, model.safetensors} …
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from polytask.core.atomic_files import save_tensors
from polytask.core.encoder_paths import EncoderPaths, PartPaths
from polytask.model.poolings.contract import Pooling

_ACTIVATIONS = {nn.Tanh: "torch.nn.modules.activation.Tanh", nn.ReLU: "torch.nn.modules.activation.ReLU",
                nn.LeakyReLU: "torch.nn.modules.activation.LeakyReLU",
                nn.GELU: "torch.nn.modules.activation.GELU",
                nn.Identity: "torch.nn.modules.linear.Identity",
                nn.Sigmoid: "torch.nn.modules.activation.Sigmoid"}
_MODES = {"cls": "cls", "pooler": "cls", "mean": "mean", "max": "max"}


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer (outputs, inputs) and what is applied to what it gives."""

    weight: Tensor
    bias: Tensor
    activation: type[nn.Module] = nn.Identity


def pooling_problem(pooling: Pooling) -> str | None:
    """Return why sentence-transformers cannot pool so, or None."""
    if pooling.name in _MODES:
        return None
    return f'sentence-transformers has no pooling "{pooling.name}"; it has cls, max and mean'


def write_modules(folder: Path, pooling: Pooling, encoder: Any, max_length: int,
                  head: Sequence[DenseLayer] = (), activation: type[nn.Module] = nn.Identity) -> None:
    """Write the files beside an encoder: for its embeddings, or with a head for a task's scores.

    activation: of the scores, which a CrossEncoder applies itself.
    """
    layers = list(head)
    if pooling.name == "pooler":
        dense = encoder.pooler.dense
        layers.insert(0, DenseLayer(dense.weight, dense.bias, nn.Tanh))
    paths = EncoderPaths(folder)
    parts = [paths.pooling, *map(paths.dense, range(len(layers)))]
    names = ["", *(part.path.name for part in parts)]
    kinds = ["Transformer", "Pooling", *["Dense"] * len(layers)]
    _write(paths.modules, [
        {"idx": k, "name": str(k), "path": name, "type": f"sentence_transformers.models.{kind}"}
        for k, (name, kind) in enumerate(zip(names, kinds, strict=True))])
    _write(paths.transformer, {"max_seq_length": max_length, "do_lower_case": False})
    about: dict[str, Any] = {"__version__": {}, "model_type": "SentenceTransformer",
                             "similarity_fn_name": "cosine", "prompts": {}}
    if head:
        about = {"__version__": {}, "model_type": "CrossEncoder", "prompts": {},
                 "activation_fn": _ACTIVATIONS[activation]}
    _write(paths.sentence_transformer, about)
    mode = _MODES[pooling.name]
    _write(paths.pooling.config, {
        "word_embedding_dimension": encoder.width, "pooling_mode_cls_token": mode == "cls",
        "pooling_mode_mean_tokens": mode == "mean", "pooling_mode_max_tokens": mode == "max",
        "pooling_mode_mean_sqrt_len_tokens": False, "include_prompt": True})
    for k, layer in enumerate(layers):
        _write_dense(paths.dense(k), layer, scores=bool(head) and k == len(layers) - 1)


def _write_dense(part: PartPaths, layer: DenseLayer, scores: bool) -> None:
    outputs, inputs = layer.weight.shape
    _write(part.config, {"in_features": inputs, "out_features": outputs, "bias": True,
                         "activation_function": _ACTIVATIONS[layer.activation],
                         **({"module_output_name": "scores"} if scores else {})})
    save_tensors(part.weights, {
        "linear.weight": layer.weight.detach().float().cpu().contiguous(),
        "linear.bias": layer.bias.detach().float().cpu().contiguous()})


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
