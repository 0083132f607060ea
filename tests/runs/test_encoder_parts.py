"""Whole runs with adapters, other encoders and parts of the encoder frozen: trained, saved, loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError
from polytask.model.bert import Bert
from polytask.model.flat_encoder import FlatEncoder
from polytask.model.pretrained import load_encoder
from polytask.tasks.model_folder import load_model


def trained(table: dict[str, Any], folder: Path, **parts: dict[str, Any]) -> Any:
    """Train with parts of the table replaced; return the result."""
    for part, values in parts.items():
        table[part] = {**table[part], **values}
    return train(Run.from_table(table), folder, quiet=True)


def encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def moved(table: dict[str, Any], folder: Path) -> set[str]:
    """The encoder's weights that differ between the checkpoint and the run."""
    before = encoder_weights(Path(table["encoder"]["checkpoint"]))
    after = encoder_weights(folder / "model")
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_lora_is_merged_into_the_weights_it_names(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    trained(small_table, tmp_path / "run", encoder={"adapter": {"type": "lora", "rank": 2}})
    changed = moved(small_table, tmp_path / "run")
    assert changed
    assert all(name.endswith(("self.query.weight", "self.value.weight")) for name in changed)
    again = load_model(tmp_path / "run").model.encoder
    assert isinstance(again, Bert)
    assert "merged into the encoder's weights" in (tmp_path / "run/model/README.md").read_text()


def test_pal_is_saved_beside_the_encoder_and_found_again(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    trained(small_table, tmp_path / "run",
            encoder={"adapter": {"type": "pal", "size": 6, "heads": 2}})
    found = load_model(tmp_path / "run").model
    parts = found.encoder.adapter.tasks
    assert set(parts) == {"sst", "quora", "sts"}
    assert all(part.up.weight.abs().max() > 0 for part in parts.values())
    assert "lacks them" in (tmp_path / "run/model/README.md").read_text()


def test_going_on_from_a_run_keeps_its_task_adapters(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    pal = {"adapter": {"type": "pal", "size": 6, "heads": 2}}
    trained(small_table, tmp_path / "first", encoder=pal)
    first = load_model(tmp_path / "first").model.encoder.adapter.tasks
    trained(small_table, tmp_path / "second", encoder={"checkpoint": str(tmp_path / "first"), **pal},
            train={"tasks": ["sst"], "epochs": 1})
    second = load_model(tmp_path / "second").model.encoder.adapter.tasks
    for task in ("quora", "sts"):  # not trained: kept as they were
        for one, other in zip(first[task].parameters(), second[task].parameters(), strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(first["sst"].up.weight, second["sst"].up.weight)


def test_one_layer_is_trained_and_the_others_are_left_bit_equal(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    trained(small_table, tmp_path / "run", encoder={"trainable": [1]})
    changed = moved(small_table, tmp_path / "run")
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_rates_of_tasks_and_another_optimizer_train(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    trained(small_table, tmp_path / "run", train={"optimizer": {
        "type": "rmsprop", "lr": 1e-3, "head_lr": 1e-2, "weight_decay": 0.0, "layer_decay": 0.9,
        "options": {"momentum": 0.5}, "layer_rates": {"sst": {"0": 0.0}, "sts": {"other": 2.0}},
    }})
    assert moved(small_table, tmp_path / "run")


@pytest.mark.parametrize(("activation", "flat"), [("gelu", True), ("silu", False)])
def test_a_roberta_trains_and_opens_again_flat_or_padded(
    activation: str, flat: bool, small_table: dict[str, Any], tmp_path: Path,
) -> None:
    transformers = pytest.importorskip("transformers")
    from polytask.model.transformers_encoder import Backbone, wrap

    _, tokenizer = load_encoder(small_table["encoder"]["checkpoint"])
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=66, type_vocab_size=1, pad_token_id=0,
        hidden_act=activation)
    wrap(transformers.AutoModel.from_config(config)).save(tokenizer, tmp_path / "roberta")
    small_table["tasks"]["quora"]["pairing"] = {"type": "cross_encoder", "segments": False}
    trained(small_table, tmp_path / "run", encoder={"checkpoint": str(tmp_path / "roberta")})
    changed = moved(small_table, tmp_path / "run")
    assert any(name.startswith("encoder.layer.1.") for name in changed)
    opened = transformers.AutoModel.from_pretrained(tmp_path / "run/model")
    assert type(opened).__name__ == "RobertaModel"
    assert isinstance(load_model(tmp_path / "run").model.encoder, FlatEncoder if flat else Backbone)


@pytest.mark.parametrize(("part", "values", "said"), [
    ("encoder", {"adapter": "pal"}, 'encoder.adapter: "pal" needs the layers of an encoder on flat '
                                    'batches, but "albert" runs padded; use a checkpoint of another '
                                    'family, or adapter = "lora"'),
    ("encoder", {"trainable": [0]}, 'encoder.trainable: the 2 layers of "albert" share'),
    ("train", {"optimizer": {"layer_decay": 0.9}}, 'the 2 layers of "albert" share their weights'),
])
def test_what_a_padded_albert_cannot_do_is_reported(
    small_table: dict[str, Any], tmp_path: Path, part: str, values: dict[str, Any], said: str
) -> None:
    transformers = pytest.importorskip("transformers")
    from polytask.model.transformers_encoder import wrap

    _, tokenizer = load_encoder(small_table["encoder"]["checkpoint"])
    config = transformers.AlbertConfig(
        vocab_size=30522, embedding_size=8, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=66, hidden_act="silu")
    wrap(transformers.AutoModel.from_config(config)).save(tokenizer, tmp_path / "albert")
    small_table["encoder"]["checkpoint"] = str(tmp_path / "albert")
    with pytest.raises(ConfigError) as error:
        trained(small_table, tmp_path / "run", **{part: values})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("part", "values", "said"), [
    ("encoder", {"trainable": [5]}, "encoder.trainable: found layer 5, expected 0 to 1"),
    ("encoder", {"adapter": "lorra"}, 'did you mean "lora"?'),
    ("encoder", {"adapter": {"type": "lora", "targets": ["qeury"]}},
     'encoder.adapter: targets: found "qeury", expected a linear layer of the encoder; did you '
     'mean "query"?'),
    ("train", {"optimizer": {"layer_rates": {"9": 2.0}}},
     "train.optimizer.layer_rates: found layer 9, expected 0 to 1"),
    ("train", {"optimizer": {"layer_rates": {"stt": {"0": 2.0}}}}, 'did you mean "sts"?'),
    ("train", {"optimizer": {"type": "adamm"}}, 'type: "adamm" is not an optimizer'),
    ("train", {"regularizers": [{"type": "norm", "over": "head", "tasks": ["stss"]}]},
     'train.regularizers.0.tasks: found "stss", expected tasks of this run; did you mean "sts"?'),
])
def test_what_cannot_work_is_reported_in_one_sentence(
    small_table: dict[str, Any], tmp_path: Path, part: str, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        trained(small_table, tmp_path / "run", **{part: values})
    assert said in str(error.value)
    assert "\n" not in str(error.value)
