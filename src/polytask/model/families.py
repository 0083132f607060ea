"""The families of encoders that run on flat batches: how each names its sizes and its weights.

A family is a table: what transformers calls the fields of `BertConfig` and the modules of `Bert`.
`model/flat_config.py` refuses a config.json that asks for more than these tables know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polytask.core.errors import listed
from polytask.model.bert import Bert, BertConfig
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.modernbert import ModernBert, ModernBertConfig

Config = dict[str, Any]

_BERT_MODULES = {
    "embeddings.word": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.segment": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "pooler.dense": "pooler.dense",
}
_BERT_LAYER = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
_SIZES = {name: name for name in (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings",
    "type_vocab_size", "layer_norm_eps", "initializer_range", "pad_token_id")}


def _without_segments(table: Mapping[str, str], *segments: str) -> dict[str, str]:
    return {ours: theirs for ours, theirs in table.items() if ours not in segments}


@dataclass(frozen=True)
class FlatFamily:
    """One family: its class in transformers, its names, its defaults and its peculiarities."""

    architecture: str
    prefix: str
    """What names of weights begin with in a checkpoint that has a head."""
    fields: Mapping[str, str] = field(default_factory=lambda: _SIZES)
    """From the fields of our config to the keys of config.json."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """transformers' own values of fields that config.json leaves out."""
    derived: Callable[[Config], Config] = lambda values: {}
    """The other fields of our config, from config.json completed with the defaults."""
    modules: Mapping[str, str] = field(default_factory=lambda: _BERT_MODULES)
    layer: str = "encoder.layer.{}"
    in_layer: Mapping[str, str] = field(default_factory=lambda: _BERT_LAYER)
    pooler: bool = True
    problem: Callable[[Config], str | None] = lambda values: None
    """Why a config.json asks for more than the flat path has, or None."""
    config: type[BertConfig] = BertConfig
    encoder: Callable[[Any, bool], FlatEncoder] = Bert

    def read(self, values: Mapping[str, Any]) -> Config:
        """Return the fields of our config that a config.json gives."""
        known = {ours: values.get(theirs, self.defaults.get(ours)) for ours, theirs
                 in self.fields.items() if theirs in values or ours in self.defaults}
        return {**known, **self.derived({**self.defaults, **known, **values})}

    def weight(self, name: str) -> str:
        """Return the name that transformers has for one of our parameters."""
        module, _, kind = name.rpartition(".")
        if inner := re.match(r"layers\.(\d+)\.(.*)", module):
            return f"{self.layer.format(inner[1])}.{self.in_layer[inner[2]]}.{kind}"
        return f"{self.modules[module]}.{kind}"


def _after_padding(values: Config) -> Config:
    pad = values.get("pad_token_id")
    return {"position_offset": 0 if pad is None else pad + 1}


def _roberta(architecture: str, vocabulary: int) -> FlatFamily:
    return FlatFamily(architecture, "roberta.", defaults={"pad_token_id": 1, "vocab_size": vocabulary},
                      derived=_after_padding)


def _deberta(values: Config) -> Config:
    span = values.get("max_relative_positions", -1)
    span = values.get("max_position_embeddings", 512) if span < 1 else span
    buckets = values.get("position_buckets", -1)
    terms = values.get("pos_att_type") or ()
    terms = terms.split("|") if isinstance(terms, str) else terms
    norm = str(values.get("norm_rel_ebd", "none")).lower().split("|")
    return {"embedding_size": values.get("embedding_size"), "relative": "disentangled",
            "position_biased_input": values.get("position_biased_input", True), "farthest": span,
            "relative_rows": 2 * (buckets if buckets > 0 else span), "position_buckets": buckets,
            "pos_att_type": tuple(term.strip() for term in terms),
            "norm_rel_ebd": "layer_norm" in [part.strip() for part in norm]}


def _deberta_problem(values: Config) -> str | None:
    if not values.get("relative_attention", False):
        return "found relative_attention = false"
    if not values.get("share_att_key", False):
        return "found share_att_key = false"
    if values.get("conv_kernel_size", 0):
        return f'found conv_kernel_size {values["conv_kernel_size"]}, a convolution after the first layer'
    if "attention_head_size" in values:
        return f'found attention_head_size {values["attention_head_size"]}'
    unknown = set(_deberta(values)["pos_att_type"]) - {"c2p", "p2c"}
    return f"found pos_att_type {listed(sorted(unknown))}" if unknown else None


def _modernbert(values: Config) -> Config:
    layers = values.get("num_hidden_layers", 22)
    every = values.get("global_attn_every_n_layers", 3)
    kinds = values.get("layer_types") or [
        "sliding_attention" if k % every else "full_attention" for k in range(layers)]
    ropes = values.get("rope_parameters") or {}

    def theta(kind: str, old: str, default: float) -> float:
        return float((ropes.get(kind) or {}).get("rope_theta") or values.get(old) or default)

    return {"local_layers": tuple(kind == "sliding_attention" for kind in kinds),
            "global_theta": theta("full_attention", "global_rope_theta", 160_000.0),
            "local_theta": theta("sliding_attention", "local_rope_theta", 10_000.0)}


def _modernbert_problem(values: Config) -> str | None:
    kinds = values.get("layer_types") or []
    if unknown := sorted(set(kinds) - {"sliding_attention", "full_attention"}):
        return f"found layer_types {listed(unknown)}"
    if kinds and len(kinds) != values.get("num_hidden_layers", 22):
        return f"found {len(kinds)} layer_types"
    ropes = [rope or {} for rope in (values.get("rope_parameters") or {}).values()]
    if values.get("rope_scaling") or any(rope.get("rope_type", "default") != "default" for rope in ropes):
        return "found scaled rotary positions"
    if any(set(rope) - {"rope_type", "rope_theta"} for rope in ropes):
        return "found rotary positions of an unknown kind"
    return None


FAMILIES: dict[str, FlatFamily] = {
    "bert": FlatFamily("BertModel", "bert."),
    "roberta": _roberta("RobertaModel", 50265),
    "xlm-roberta": _roberta("XLMRobertaModel", 30522),
    "camembert": _roberta("CamembertModel", 30522),
    "distilbert": FlatFamily(
        "DistilBertModel", "distilbert.",
        fields={"vocab_size": "vocab_size", "hidden_size": "dim", "num_hidden_layers": "n_layers",
                "num_attention_heads": "n_heads", "intermediate_size": "hidden_dim",
                "hidden_act": "activation", "hidden_dropout_prob": "dropout",
                "attention_probs_dropout_prob": "attention_dropout",
                "max_position_embeddings": "max_position_embeddings",
                "initializer_range": "initializer_range", "pad_token_id": "pad_token_id"},
        defaults={"num_hidden_layers": 6},
        derived=lambda values: {"type_vocab_size": 0, "dropout_after": ("perceptron",)},
        modules=_without_segments(_BERT_MODULES, "embeddings.segment", "pooler.dense"),
        layer="transformer.layer.{}",
        in_layer={"attention.query": "attention.q_lin", "attention.key": "attention.k_lin",
                  "attention.value": "attention.v_lin", "attention.output": "attention.out_lin",
                  "attention_norm": "sa_layer_norm", "up": "ffn.lin1", "down": "ffn.lin2",
                  "norm": "output_layer_norm"},
        pooler=False),
    "electra": FlatFamily(
        "ElectraModel", "electra.",
        defaults={"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
        derived=lambda values: {"embedding_size": values.get("embedding_size", 128)},
        modules={**_BERT_MODULES, "embeddings.project": "embeddings_project"}, pooler=False),
    "mpnet": FlatFamily(
        "MPNetModel", "mpnet.", defaults={"vocab_size": 30527, "pad_token_id": 1},
        derived=lambda values: {"type_vocab_size": 0, "relative": "bias", "position_offset": 2},
        modules={**_without_segments(_BERT_MODULES, "embeddings.segment"),
                 "embeddings.relative": "encoder.relative_attention_bias"},
        in_layer={"attention.query": "attention.attn.q", "attention.key": "attention.attn.k",
                  "attention.value": "attention.attn.v", "attention.output": "attention.attn.o",
                  "attention_norm": "attention.LayerNorm", "up": "intermediate.dense",
                  "down": "output.dense", "norm": "output.LayerNorm"},
        problem=lambda values: None if (rows := values.get("relative_attention_num_buckets", 32)) == 32
        else f"found relative_attention_num_buckets {rows}"),
    "albert": FlatFamily(
        "AlbertModel", "albert.",
        defaults={"vocab_size": 30000, "hidden_size": 4096, "num_attention_heads": 64,
                  "intermediate_size": 16384, "hidden_act": "gelu_new", "hidden_dropout_prob": 0.0,
                  "attention_probs_dropout_prob": 0.0},
        derived=lambda values: {"embedding_size": values.get("embedding_size", 128),
                                "dropout_after": ("attention",),
                                "distinct_layers": values.get("num_hidden_groups", 1)},
        modules={**_BERT_MODULES, "embeddings.project": "encoder.embedding_hidden_mapping_in",
                 "pooler.dense": "pooler"},
        layer="encoder.albert_layer_groups.{}.albert_layers.0",
        in_layer={"attention.query": "attention.query", "attention.key": "attention.key",
                  "attention.value": "attention.value", "attention.output": "attention.dense",
                  "attention_norm": "attention.LayerNorm", "up": "ffn", "down": "ffn_output",
                  "norm": "full_layer_layer_norm"},
        problem=lambda values: None if (inner := values.get("inner_group_num", 1)) == 1
        else f"found inner_group_num {inner}"),
    "deberta-v2": FlatFamily(
        "DebertaV2Model", "deberta.",
        defaults={"vocab_size": 128100, "hidden_size": 1536, "num_hidden_layers": 24,
                  "num_attention_heads": 24, "intermediate_size": 6144, "type_vocab_size": 0,
                  "layer_norm_eps": 1e-7},
        derived=_deberta,
        modules={**_BERT_MODULES, "embeddings.project": "embeddings.embed_proj",
                 "embeddings.relative": "encoder.rel_embeddings",
                 "embeddings.relative_norm": "encoder.LayerNorm"},
        in_layer={**_BERT_LAYER, "attention.query": "attention.self.query_proj",
                  "attention.key": "attention.self.key_proj",
                  "attention.value": "attention.self.value_proj"},
        pooler=False, problem=_deberta_problem),
    "modernbert": FlatFamily(
        "ModernBertModel", "model.",
        fields={**{key: key for key in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
            "intermediate_size", "max_position_embeddings", "initializer_range", "pad_token_id",
            "embedding_dropout", "norm_bias", "attention_bias", "mlp_bias", "local_attention")},
            "hidden_act": "hidden_activation", "hidden_dropout_prob": "mlp_dropout",
            "attention_probs_dropout_prob": "attention_dropout", "layer_norm_eps": "norm_eps"},
        defaults={"vocab_size": 50368, "intermediate_size": 1152, "num_hidden_layers": 22,
                  "max_position_embeddings": 8192, "hidden_dropout_prob": 0.0,
                  "attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-5, "pad_token_id": 50283},
        derived=lambda values: {"type_vocab_size": 0, "position_biased_input": False,
                                **_modernbert(values)},
        modules={"embeddings.word": "embeddings.tok_embeddings", "embeddings.norm": "embeddings.norm",
                 "final_norm": "final_norm"},
        layer="layers.{}",
        in_layer={"attention.Wqkv": "attn.Wqkv", "attention.output": "attn.Wo",
                  "attention_norm": "attn_norm", "up": "mlp.Wi", "down": "mlp.Wo", "norm": "mlp_norm"},
        pooler=False, problem=_modernbert_problem, config=ModernBertConfig, encoder=ModernBert),
}


def family_of(values: Mapping[str, Any]) -> FlatFamily | None:
    """Return the family of a config.json, or None where none of ours is meant."""
    return FAMILIES.get(str(values.get("model_type", "bert")))


def build_flat(config: BertConfig, pooler: bool = True) -> FlatEncoder:
    """Return an encoder of random weights."""
    family = FAMILIES[config.model_type]
    return family.encoder(config, pooler and family.pooler)


def hugging_face_name(name: str, kind: str = "bert") -> str:
    """Return the name that transformers has for one of our encoder's parameters."""
    return FAMILIES[kind].weight(name)
