"""The public surface: what `import polytask as pk` offers, and that it costs nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polytask as pk
from custom_loss import FOCAL
from polytask.core.registry import Family


def test_every_public_name_can_be_had_and_all_is_sorted() -> None:
    assert pk.__all__ == sorted(pk.__all__)
    for name in pk.__all__:
        assert getattr(pk, name) is not None
    assert set(pk._PLACES) == set(pk.__all__)
    with pytest.raises(AttributeError, match="PCGard"):
        _ = pk.PCGard


def test_a_verb_stays_a_verb_where_a_package_has_its_name() -> None:
    for module in ("polytask.report.page", "polytask.report", "polytask.serve.engines", "polytask.serve"):
        importlib.import_module(module)
    assert callable(pk.serve) and pk.serve.__module__ == "polytask.commands.serve"
    assert callable(pk.report) and pk.report.__module__ == "polytask.commands.report"
    from polytask.report import page

    assert page.__name__ == "polytask.report.page"


def test_every_registered_component_of_ours_is_in_the_namespace_of_its_family() -> None:
    from polytask.commands.list import families

    for plural, family in families().items():
        namespace = getattr(pk, plural)
        if isinstance(family, Family):
            assert family.base is not None and getattr(namespace, family.base.__name__) is family.base
        for member in map(family.source, family.members.values()):
            if member.__module__.startswith("polytask."):
                assert getattr(namespace, member.__name__) is member
                assert member.__name__ in dir(namespace)
    with pytest.raises(AttributeError, match='did you mean "CrossEntropy"'):
        _ = pk.losses.CrossEntropie


@pytest.mark.parametrize("code", ["import polytask", "import polytask.cli"])
def test_importing_does_no_work_and_brings_no_torch(code: str) -> None:
    said = subprocess.run([sys.executable, "-c", f"{code}; import sys; print('torch' in sys.modules)"],
                          capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_a_run_built_from_objects_trains_predicts_and_embeds(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pair: dict[str, Any] = {"text": ("sentence1", "sentence2"), "limit": 32, "dev_limit": 16}
    run = pk.Run(
        seed=1, data=pk.Data(root="sample", max_length=32),
        encoder=pk.Encoder(checkpoint=str(tiny_checkpoint)),
        tasks={
            "quora": pk.Task(train="quora-train.csv", dev="quora-dev.csv", label="is_duplicate",
                             pairing=pk.pairings.CrossEncoder(separator=False),
                             head=pk.heads.MLP(hidden=8), **pair),
            "sts": pk.Task(train="sts-train.csv", dev="sts-dev.csv", label="similarity",
                           pairing=pk.pairings.BiEncoder(), head=pk.heads.Cosine(), **pair),
        },
        train=pk.Train(epochs=1, batch_size=8, surgery=pk.surgeries.PCGrad(),
                       weighting=pk.weightings.Automatic(lr=1e-2)),
    )
    result = pk.train(run, tmp_path / "run", quiet=True)
    assert result.folder == tmp_path / "run"
    assert set(result.evaluation.scores) == {"quora", "sts"}
    model = pk.load(tmp_path / "run")
    (answer,) = model.predict("quora", [("How old are you?", "What is your age?")])
    assert answer.label in ("0", "1")
    assert 0 <= answer.score <= 1
    (similarity,) = model.predict("sts", [("A man eats.", "A man eats.")])
    assert similarity.label == pytest.approx(5.0, abs=1e-3)  # the cosine of a text with itself is 1
    vectors = model.embed(["A sentence.", "Another, longer sentence.", "A sentence."])
    assert vectors.shape == (3, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    with pytest.raises(pk.ConfigError, match=r'"quor" is not a task .* did you mean "quora"'):
        model.predict("quor", ["x"])
    with pytest.raises(pk.ConfigError, match="expected 2 texts"):
        model.predict("quora", ["one text alone"])
    model.save_pretrained(tmp_path / "copy")
    again = pk.load(tmp_path / "copy").predict("quora", [("How old are you?", "What is your age?")])
    assert again == [answer]


def test_a_custom_component_is_one_file(
    small_table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_parts.py").write_text(FOCAL)
    monkeypatch.chdir(tmp_path)
    small_table["tasks"] = {"sst": small_table["tasks"]["sst"]}
    small_table["tasks"]["sst"]["loss"] = {"type": "my_parts:Focal", "gamma": 1.0}
    small_table["train"] = {"epochs": 1, "batch_size": 8}
    try:
        pk.train(pk.Run.from_table(small_table), "run", quiet=True)
        assert pk.load("run").tasks["sst"].losses[0].gamma == 1.0  # type: ignore[attr-defined]
        small_table["tasks"]["sst"]["loss"] = "my_parts:Focall"
        with pytest.raises(pk.ConfigError, match=r'has no loss .Focall.; did you mean "Focal"'):
            pk.Run.from_table(small_table)
    finally:
        Family.all["losses"].members.pop("focal", None)


def test_a_verb_stays_a_function_when_the_package_of_its_name_is_imported() -> None:
    importlib.import_module("polytask.report.page")
    importlib.import_module("polytask.export.graph")
    assert callable(pk.report) and callable(pk.export)
