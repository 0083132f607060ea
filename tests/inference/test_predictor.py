"""Several tasks for one reading, files of any length, and what is made ahead."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import polytask as pk
from polytask.commands.evaluate import evaluate_run
from polytask.commands.predict import predict_file
from polytask.commands.train import train
from polytask.config import Run
from polytask.core.errors import ConfigError, DataError, RunError
from polytask.core.prefetch import prefetch
from polytask.inference import contract, predictor
from polytask.inference.records import RecordWriter, records

TEXTS = [(f"Is number {n} a {'prime' if n % 3 else 'square'}?", "Is it?" * (1 + n % 4)) for n in range(23)]


@pytest.fixture
def model(small_table: dict[str, Any], tmp_path: Path) -> predictor.Model:
    """Two tasks that read pairs alike (cross-encoder), one that reads them apart, one of single texts."""
    small_table["tasks"]["again"] = small_table["tasks"]["quora"] | {"head": {"type": "mlp", "hidden": 4}}
    small_table["tasks"]["sts"]["pairing"] = "bi_encoder"
    small_table["train"] = {"max_steps": 2, "batch_size": 8}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    return pk.load(tmp_path / "run")


def test_several_tasks_answer_as_each_alone_in_fewer_encoder_passes(
    model: predictor.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "CHUNK", 10)
    passes: list[int] = []
    model.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    alone = {name: model.predict(name, TEXTS) for name in ("quora", "again", "sts")}
    separately = len(passes)
    passes.clear()
    together = model.predict_all(["quora", "again", "sts"], TEXTS)
    for name, answers in alone.items():
        assert [each.label for each in together[name]] == [each.label for each in answers]
        torch.testing.assert_close(torch.tensor([each.score for each in together[name]]),
                                   torch.tensor([each.score for each in answers]))
    assert (separately, len(passes)) == (9, 6)  # three chunks: quora and again share theirs


@pytest.mark.parametrize("name", ["cross_encoder", "cross_bi_encoder"])
def test_exchanged_texts_have_the_same_score_where_the_pairing_is_symmetric(
    small_table: dict[str, Any], tmp_path: Path, name: str
) -> None:
    small_table["tasks"]["sts"]["pairing"] = name
    small_table["tasks"]["quora"]["pairing"] = {"type": name, "symmetric": True}
    small_table["train"] = {"max_steps": 2, "batch_size": 8}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    model = pk.load(tmp_path / "run")
    exchanged = [(second, first) for first, second in TEXTS]
    apart = {task: abs(torch.tensor([each.score for each in model.predict(task, TEXTS)])
                       - torch.tensor([each.score for each in model.predict(task, exchanged)])).max()
             for task in ("quora", "sts")}
    assert apart["quora"] < 1e-6 < 1e-5 < apart["sts"]


def test_tasks_with_adapters_of_their_own_do_not_share_a_pass(
    small_table: dict[str, Any], tmp_path: Path
) -> None:
    small_table["encoder"]["adapter"] = {"type": "pal", "size": 4, "heads": 2}
    small_table["tasks"]["again"] = small_table["tasks"]["quora"]
    small_table["train"] = {"epochs": 1, "batch_size": 8, "optimizer": {"lr": 0.05}}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    model = pk.load(tmp_path / "run")
    together = model.predict_all(["quora", "again"], TEXTS)
    for name in ("quora", "again"):
        torch.testing.assert_close(torch.tensor([each.score for each in together[name]]),
                                   torch.tensor([each.score for each in model.predict(name, TEXTS)]))


def test_a_file_a_task_comes_from_one_reading(model: predictor.Model, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    with pairs.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "sentence1", "sentence2"),
                                    *((f"row{n}", *texts) for n, texts in enumerate(TEXTS))])
    predict_file(tmp_path / "run", ["quora", "sts"], pairs, tmp_path / "out", "jsonl", quiet=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["quora.jsonl", "sts.jsonl"]
    for name in ("quora", "sts"):
        rows = [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        assert [row["id"] for row in rows] == [f"row{n}" for n in range(len(TEXTS))]
        labels = [str(each.label) for each in model.predict(name, TEXTS)]
        assert [str(row["prediction"]) for row in rows] == labels
    with pytest.raises(ConfigError, match="--out: is missing"):
        predict_file(tmp_path / "run", ["quora", "sts"], pairs, None, "csv", quiet=True)
    with pytest.raises(ConfigError, match='"sst" reads sentence and "quora" sentence1, sentence2'):
        predict_file(tmp_path / "run", ["quora", "sst"], pairs, tmp_path / "out", "csv", quiet=True)
    with pytest.raises(ConfigError, match="--text: found a, expected 2 columns in place of sentence1"):
        predict_file(tmp_path / "run", ["quora"], pairs, tmp_path / "out", "csv", quiet=True, text=["a"])
    with pytest.raises(DataError, match=r'no column "sentence3"; .* --text names the columns'):
        predict_file(tmp_path / "run", ["quora"], pairs, tmp_path / "out", "csv", quiet=True,
                     text=["sentence3", "sentence1"])
    predict_file(tmp_path / "run", ["quora"], pairs, tmp_path / "turned.jsonl", "jsonl", quiet=True,
                 text=["sentence2", "sentence1"])
    turned = [json.loads(line) for line in (tmp_path / "turned.jsonl").read_text().splitlines()]
    assert [(row["sentence2"], row["sentence1"]) for row in turned] == TEXTS


def test_a_wrong_text_is_named_by_its_place_in_the_whole_list(
    model: predictor.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "CHUNK", 4)
    with pytest.raises(ConfigError, match=r"texts\[9\]: found 'alone', expected 2 texts"):
        model.predict("quora", [*TEXTS[:9], "alone"])


def test_one_text_in_place_of_a_list_is_refused(model: predictor.Model) -> None:
    with pytest.raises(ConfigError, match="texts: found one text, 'A gem', expected a list"):
        model.predict("sst", "A gem")
    with pytest.raises(ConfigError, match="texts: found one text"):
        model.embed("A gem")
    with pytest.raises(ConfigError, match=r"texts\[1\]: found None, expected 1 text"):
        model.embed(["A gem", None])  # type: ignore[list-item]


def test_a_prediction_has_the_probability_of_every_class(model: predictor.Model) -> None:
    (stars,) = model.predict("sst", ["A gem"])
    assert stars.probabilities is not None
    assert sum(stars.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(stars.probabilities) == list(model.tasks["sst"].labels.classes)
    assert max(stars.probabilities, key=stars.probabilities.__getitem__) == stars.label
    (same,) = model.predict("quora", [("a", "b")])
    assert same.probabilities is not None
    assert same.probabilities[model.tasks["quora"].labels.classes[1]] == pytest.approx(same.score, abs=1e-5)
    (number,) = model.predict("sts", [("a", "b")])
    assert number.probabilities is None


def test_rows_are_named_by_the_id_column_or_their_lines(model: predictor.Model, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (run / "predictions" / "sst-dev.csv").open() as file:
        first = next(csv.DictReader(file))
    texts = tmp_path / "texts.csv"
    texts.write_text('sentence\n"two\nlines"\nshort\n')
    predict_file(run, ["sst"], texts, tmp_path / "out.jsonl", "jsonl", quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["2", "4"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    # The same rows of the same file have the same ids in a run's own predictions.
    sample = Path(pk.__file__).parent / "sample" / "data" / "sst-dev.csv"
    predict_file(run, ["sst"], sample, tmp_path / "dev.csv", "csv", quiet=True)
    with (tmp_path / "dev.csv").open() as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    assert found[first["id"]]["sentence"] == first["sentence"]
    assert found[first["id"]]["prediction"] == first["prediction"]


def test_a_column_asked_for_is_the_id(small_table: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("uid,sentence,stars\n" + "".join(
        f"u{n},text {n},{n % 2}\n" for n in range(40)))
    small_table["data"]["root"] = str(tmp_path)
    small_table["tasks"] = {
        "stars": {"train": "rows.csv", "text": "sentence", "label": "stars", "id": "uid"}}
    small_table["train"] = {"max_steps": 1, "batch_size": 8}
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    predict_file(tmp_path / "run", ["stars"], rows, out, "csv", quiet=True)
    with (tmp_path / "out.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == [f"u{n}" for n in range(40)]


def test_a_lone_carriage_return_does_not_end_a_row(model: predictor.Model) -> None:
    writer = RecordWriter("csv", model.tasks["sst"])
    split = model.split(model.tasks["sst"], ["a\rb", 'say "hi"\r\nthere', "c"])
    decision = model.decide([model.tasks["sst"]], split)["sst"]
    text = writer.text(records(model.tasks["sst"], decision, split.texts()))
    assert [row["sentence"] for row in csv.DictReader(io.StringIO(text, newline=""))] == [
        "a\rb", 'say "hi"\r\nthere', "c"]
    assert text.endswith("\n") and not text.endswith("\r\n")


def test_a_file_without_rows_has_predictions_without_rows(model: predictor.Model, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("sentence\n")
    predict_file(tmp_path / "run", ["sst"], tmp_path / "none.csv", tmp_path / "out.csv", "csv", quiet=True)
    assert (tmp_path / "out.csv").read_text() == "id,sentence,prediction,score,probabilities\n"


def test_a_split_without_labelled_rows_is_not_evaluated(model: predictor.Model, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no task has labelled test rows; name a labelled file with --data"):
        evaluate_run(tmp_path / "run", "test")


def test_ahead_keeps_the_order_is_one_item_ahead_and_raises_in_place() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for n in range(5):
            made.append(n)
            yield n
        raise OSError("the disk is gone")

    coming = prefetch(items())
    for n in range(5):
        assert next(coming) == n
        assert len(made) <= n + 2
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)
    assert list(prefetch([])) == []


def test_ahead_can_be_left_early() -> None:
    for n in prefetch(iter(range(10**9))):
        if n == 3:
            break
    assert n == 3


@pytest.mark.technique("P-28", "S-28")
def test_the_printed_sentences_are_answered_beside_the_reports(
    tmp_path: Path, small_table: dict[str, Any]
) -> None:
    small_table["train"] = {"max_steps": 2, "batch_size": 8}
    small_table["tasks"]["sts"]["range"] = [0, 5]
    train(Run.from_table(small_table), tmp_path / "run", quiet=True)
    script = Path(__file__).parents[2] / "examples" / "printed_sentences.py"
    said = subprocess.run([sys.executable, str(script), str(tmp_path / "run")], capture_output=True,
                          text=True, check=True).stdout.splitlines()
    assert sum(line.startswith(("| practices", "| swissbert")) for line in said) == 19
    assert "reported: 3 of 19 right" in said  # the eleven of practices are errors
    model = pk.load(tmp_path / "run")
    (first,) = model.predict("sst", ["Holden Caulfield did it better."])
    assert any(line.endswith(f"| 1 | 3 | {first.label} |") for line in said)


@pytest.mark.technique("S-25")
def test_attention_of_any_pair_in_any_layer_and_head(model: predictor.Model) -> None:
    tokens, maps = model.attention("sts", ("A man eats.", "A woman eats."))
    assert tokens == ["[CLS]", "a", "man", "eats", ".", "[SEP]", "a", "woman", "eats", ".", "[SEP]"]
    assert maps.shape == (2, 2, 11, 11)
    assert maps.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    single, _ = model.attention("sst", "A gem.")
    assert single[1:-1] == ["a", "gem", "."]
    with pytest.raises(pk.ConfigError, match="expected 2 texts"):
        model.attention("sts", "one alone")
