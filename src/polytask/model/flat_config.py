"""The config.json of an encoder on flat batches: read, refused, written.

`flat_problem` says why a config.json asks for something that the tables of families do not know, so that no
checkpoint silently gives other numbers than its own library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from polytask.core.errors import CheckpointError, listed
from polytask.core.json_files import MISSHAPEN
from polytask.model.bert import BertConfig
from polytask.model.encoder_sizes import sizes_problem
from polytask.model.families import FAMILIES, Config, family_of
from polytask.model.flat_encoder import ACTIVATIONS


def refusal(values: Mapping[str, Any]) -> str | None:
    """Return why no path of ours gives what a config.json asks for, or None.

    transformers no longer knows relative positions of the old kind and passes over their settings.
    """
    positions = values.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        return (f'found position_embedding_type "{positions}", expected "absolute": neither polytask nor '
                "transformers computes other positions for this model type")
    for key, what in (("is_decoder", "a decoder"), ("add_cross_attention", "a decoder"),
                      ("is_encoder_decoder", "an encoder and a decoder")):
        if values.get(key):
            return f"found {key} = true, which makes it {what}; expected an encoder"
    code = values.get("auto_map")
    if code and (not isinstance(code, dict) or "AutoModel" in code):
        return ("found auto_map, the checkpoint's own code, which polytask does not run; expected a "
                "model type that transformers knows")
    if any("/" in str(value) for value in _implementations(values)):
        return "found an attention implementation from the hub, which polytask does not run; remove the key"
    if values.get("quantization_config"):
        return "found quantization_config, expected weights in floating point"
    return None


def _implementations(values: Mapping[str, Any]) -> Iterator[Any]:
    """Yield every implementation that a config.json, or one inside it, asks for."""
    for key, value in values.items():
        if str(key).lstrip("_") in ("attn_implementation", "experts_implementation"):
            yield value
        elif isinstance(value, Mapping):
            yield from _implementations(value)


def flat_problem(values: Mapping[str, Any]) -> str | None:
    """Return what a config.json asks for that the flat path does not know, or None."""
    family = family_of(values)
    if family is None:
        return f'found model_type "{values.get("model_type")}", expected one of {listed(FAMILIES)}'
    activation = family.read(values).get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        return (f'found {family.fields["hidden_act"]} "{activation}", expected one of '
                f"{listed(ACTIVATIONS)}")
    return family.problem(dict(values))


def read_flat(values: Mapping[str, Any], where: str = "config.json") -> BertConfig:
    """Read Hugging Face's config of a family; raise `CheckpointError` for what the family lacks."""
    with readable_config(where):
        if problem := refusal(values) or flat_problem(values):
            raise CheckpointError(f"{where}: {problem}")
        family = family_of(values)
        assert family is not None
        config = family.config(model_type=str(values.get("model_type", "bert")), source=dict(values),
                               **family.read(values))
    if problem := sizes_problem(config):
        raise CheckpointError(f"{where}: {problem}")
    if config.hidden_size % config.num_attention_heads:
        raise CheckpointError(f"{where}: found {family.fields['hidden_size']} {config.hidden_size}, "
                              f"expected a multiple of {family.fields['num_attention_heads']} "
                              f"{config.num_attention_heads}")
    return config


@contextmanager
def readable_config(where: str) -> Iterator[None]:
    """Raise `CheckpointError` where a value of a config.json is of a kind that its key never has."""
    try:
        yield
    except MISSHAPEN as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(f"{where}: cannot be read as the config of an encoder ({reason})") from error


def written(config: BertConfig) -> Config:
    """Return what `transformers.AutoModel` needs to open a checkpoint of this config."""
    family = FAMILIES[config.model_type]
    own = {theirs: getattr(config, ours) for ours, theirs in family.fields.items()}
    if config.model_type == "bert":
        return {"architectures": ["BertModel"], "model_type": "bert",
                "position_embedding_type": "absolute", "dtype": "float32", **own}
    kept = {key: value for key, value in config.source.items() if key not in ("torch_dtype", "auto_map")}
    return {**kept, "architectures": [family.architecture], "model_type": config.model_type,
            "dtype": "float32", **own}
