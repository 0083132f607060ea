"""transformers and sentence-transformers answer as the model does where they can, and say why where not."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import MANY, PAIRS, RAW, STARS, TEXTS, THREE, TWO, saved, task

from polytask.core.errors import ConfigError
from polytask.data.dataset import DatasetStore, Split
from polytask.data.tokenization import Tokenizer
from polytask.export import sentence_transformers, transformers
from polytask.export.sentence_transformers import export_sentence_transformers
from polytask.export.transformers import export_transformers
from polytask.inference.predictor import Model
from polytask.model.adapters.pal import PAL
from polytask.model.heads.cosine import Cosine
from polytask.model.heads.linear import Linear
from polytask.model.heads.mlp import MLP
from polytask.model.heads.shared import Shared
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.cross_bi_encoder import CrossBiEncoder
from polytask.model.pairings.cross_encoder import CrossEncoder
from polytask.model.pairings.single import Single
from polytask.model.pairings.twin import Twin
from polytask.model.poolings.cls import Cls
from polytask.model.poolings.max import Max
from polytask.model.poolings.mean import Mean
from polytask.model.poolings.pooler import Pooler
from polytask.model.pretrained import default_pooling
from polytask.tasks.model_folder import ModelFolder, load_model

pytestmark = pytest.mark.filterwarnings("ignore")

TASKS = [
    task("pooled", THREE, Single(), Pooler(), Linear()),
    task("first", TWO, CrossEncoder(), Cls(), Linear()),
    task("bare", TWO, CrossEncoder(separator=False, segments=False), Pooler(), Linear(), outputs=2),
    task("stars", STARS, Single(), Cls(), Linear()),
    task("many", MANY, CrossEncoder(), Pooler(), Linear()),
    task("mean", THREE, CrossEncoder(), Mean(), MLP(hidden=8, activation="leaky_relu")),
    task("max", RAW, CrossEncoder(), Max(), Shared(hidden=8)),
    task("deep", STARS, CrossEncoder(), Pooler(), MLP(hidden=8, activation="gelu")),
    task("plain", THREE, CrossEncoder(), Mean(), Linear()),
    task("most", TWO, CrossEncoder(), Max(), Linear()),
    task("most-deep", STARS, CrossEncoder(), Max(), MLP(hidden=8)),
    task("first-deep", MANY, CrossEncoder(), Cls(), MLP(hidden=8)),
    task("twin", STARS, Twin(), Mean(), Cosine()),
    task("cosine", STARS, BiEncoder(), Mean(), Cosine()),
    task("features", THREE, BiEncoder(), Mean(), Linear()),
    task("together", TWO, CrossBiEncoder(), Cls(), Linear()),
    task("orders", TWO, CrossEncoder(symmetric=True), Cls(), Linear()),
]
BY_NAME = {each.name: each for each in TASKS}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> ModelFolder:
    folder = tmp_path_factory.mktemp("doors") / "model"
    return saved(folder, tokenizer, TASKS, Mean(), thresholds={"first": 0.3})


def splits_of(held: ModelFolder) -> dict[str, Split]:
    library = DatasetStore(Tokenizer(held.tokenizer))
    texts, pairs = (library.unlabeled(rows) for rows in ([(text,) for text in TEXTS], PAIRS))
    return {each.name: texts if len(each.text) == 1 else pairs for each in TASKS}


def difference(report: list[str]) -> float:
    return float(report[0].rpartition(" ")[2])


@pytest.mark.parametrize("name", ["pooled", "first", "bare", "stars", "many"])
def test_transformers_answers_as_the_model(held: ModelFolder, tmp_path: Path, name: str) -> None:
    from transformers import AutoModelForSequenceClassification, pipeline

    out = tmp_path / name
    assert difference(export_transformers(held, BY_NAME[name], out, splits_of(held)[name], 99)) < 2e-6
    opened = AutoModelForSequenceClassification.from_pretrained(out)
    labels = BY_NAME[name].labels
    assert list(opened.config.id2label.values()) == (list(labels.classes) or [name])
    if name in ("pooled", "first"):
        said = pipeline("text-classification", str(out), top_k=None)
        row: Any = TEXTS[2] if name == "pooled" else {"text": PAIRS[2][0], "text_pair": PAIRS[2][1]}
        found = said(row if name == "first" else [row])
        found = found[0] if isinstance(found[0], list) else found
        (want,) = Model(held, tmp_path).predict(name, [TEXTS[2] if name == "pooled" else PAIRS[2]])
        scores = {each["label"]: each["score"] for each in found}
        assert scores == pytest.approx(want.probabilities, abs=2e-6)
    if name == "first":
        assert json.loads((out / "config.json").read_text())["polytask"]["threshold"] == 0.3
        assert "yes from 0.3000 on" in (out / "README.md").read_text()


@pytest.mark.parametrize("name", ["first", "bare", "many", "mean", "max", "deep", "plain", "most",
                                  "most-deep", "first-deep"])
def test_a_cross_encoder_scores_as_the_model(held: ModelFolder, tmp_path: Path, name: str) -> None:
    splits = splits_of(held)
    report = export_sentence_transformers(held, tmp_path, BY_NAME[name], tmp_path / name, splits, 99)
    assert report[0].startswith(f"tasks.{name}: {len(PAIRS)} rows") and difference(report) < 5e-6
    card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
    assert ("yes from 0.3000 on); sentence-transformers has no setting" in card) == (name == "first")


@pytest.mark.parametrize("name", [None, "cosine", "twin"])
def test_a_sentence_transformer_embeds_as_the_model(held: ModelFolder, tmp_path: Path,
                                                    name: str | None) -> None:
    chosen = BY_NAME[name] if name else None
    source = Path(held.tokenizer).parent
    report = export_sentence_transformers(held, source, chosen, tmp_path / "out", splits_of(held), 99)
    assert difference(report) < 5e-6


@pytest.mark.parametrize("pooling", [Cls(), Mean(), Max(), Pooler()], ids=lambda each: each.name)
def test_a_model_folder_opens_as_a_sentence_transformer(tmp_path: Path, tokenizer: Path,
                                                        pooling: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    folder = tmp_path / "model"
    made = saved(folder, tokenizer, [task("one", THREE, Single(), pooling, Linear())], pooling)
    want = Model(made, folder).embed(TEXTS)
    opened = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(opened.encode(TEXTS), want, atol=2e-6)
    assert AutoModel.from_pretrained(folder).config.hidden_size == 64
    assert load_model(folder).pooling == pooling and default_pooling(folder) == pooling.name


@pytest.mark.parametrize(("name", "said"), [
    ("mean", 'no pooling "mean", only the first token; --to sentence-transformers --task mean, open to it'),
    ("deep", 'head "mlp" has two linear layers, BertForSequenceClassification has one; --to sentence-tr'),
    ("twin", 'pairing "twin" has two sequences per row'),
    ("features", 'pairing "bi_encoder" has two sequences per row'),
    ("together", 'pairing "cross_bi_encoder" has three sequences per row'),
    ("orders", 'pairing "cross_encoder" has two sequences per row, but a classifier there takes one')])
def test_what_transformers_cannot_is_refused_with_the_doors_that_are_open(
    held: ModelFolder, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        export_transformers(held, BY_NAME[name], tmp_path / "out", splits_of(held)[name], 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "said"), [
    ("pooled", "a CrossEncoder takes pairs only.*--to transformers --task pooled"),
    ("features", 'head "linear" sees features of two vectors'),
    ("together", 'head "linear" sees features of two vectors'),
    ("orders", "its pairs are read in both orders, a CrossEncoder reads one")])
def test_what_sentence_transformers_cannot_is_refused(held: ModelFolder, tmp_path: Path, name: str,
                                                      said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        export_sentence_transformers(held, tmp_path, BY_NAME[name], tmp_path / "out", splits_of(held), 9)
    assert not list(tmp_path.iterdir())


def test_adapters_of_tasks_have_no_place_elsewhere(tmp_path: Path, tokenizer: Path) -> None:
    one = task("pooled", THREE, Single(), Pooler(), Linear())
    made = saved(tmp_path / "model", tokenizer, [one], Pooler(), PAL(size=12, heads=3))
    assert not (tmp_path / "model" / "modules.json").exists()
    with pytest.raises(ConfigError, match="its adapter has layers that transformers"):
        export_transformers(made, one, tmp_path / "a", splits_of(made)["pooled"], 9)
    with pytest.raises(ConfigError, match="its adapter has layers that sentence-transformers"):
        export_sentence_transformers(made, tmp_path, None, tmp_path / "b", splits_of(made), 9)


def test_an_export_that_answers_otherwise_is_not_written(held: ModelFolder, tmp_path: Path) -> None:
    library, pooled = DatasetStore(Tokenizer(held.tokenizer)), splits_of(held)["pooled"]
    other = library.unlabeled([(text[::-1] + " no",) for text in TEXTS])
    # Rows whose tokens are not those of their texts: the libraries cannot agree on them.
    mixed = replace(pooled, columns=other.columns)
    with pytest.raises(ConfigError, match=r"tasks\.pooled: transformers differs by"):
        export_transformers(held, BY_NAME["pooled"], tmp_path / "out", mixed, 9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("to", "name"), [
    ("transformers", "pooled"), ("sentence_transformers", "first"), ("sentence_transformers", None)])
def test_an_export_with_a_wrong_weight_is_not_written(
    held: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, name: str | None
) -> None:
    module = {"transformers": transformers, "sentence_transformers": sentence_transformers}[to]
    if name is None:
        own = module.save_any

        def broken(encoder: Any, *rest: Any) -> None:
            encoder = copy.deepcopy(encoder)
            with torch.no_grad():
                encoder.layer(1).down.weight[0] += 0.05
            own(encoder, *rest)

        monkeypatch.setattr(module, "save_any", broken)
    else:
        layers = module.dense_layers
        monkeypatch.setattr(module, "dense_layers", lambda *given: [
            replace(layer, weight=1.5 * layer.weight) for layer in layers(*given)])
    source, splits = Path(held.tokenizer).parent, splits_of(held)

    def export() -> None:
        if to == "transformers":
            export_transformers(held, BY_NAME["pooled"], tmp_path / "out", splits["pooled"], 9)
        else:
            chosen = BY_NAME[name] if name else None
            export_sentence_transformers(held, source, chosen, tmp_path / "out", splits, 9)

    with pytest.raises(ConfigError, match=r"differs by .*; nothing was written"):
        export()
    assert not list(tmp_path.iterdir())
