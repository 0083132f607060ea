"""Losses against what is not ours: loops from the papers, torch, sentence-transformers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from custom_loss import FOCAL
from polytask.core.errors import ConfigError
from polytask.core.settings import to_table
from polytask.data.labels import Labels
from polytask.losses.binary_cross_entropy import BinaryCrossEntropy
from polytask.losses.contract import LossContext, loss, share_of, total
from polytask.losses.cosine_embedding import CosineEmbedding
from polytask.losses.cross_entropy import CrossEntropy
from polytask.losses.mean_squared_error import MeanSquaredError
from polytask.losses.multiple_negatives import MultipleNegatives
from polytask.losses.ordinal_log_loss import OrdinalLogLoss, improbability
from polytask.losses.sim_cse import SimCSE
from polytask.model.heads.cosine import Cosine
from polytask.model.output import Output
from polytask.model.pairings.bi_encoder import BiEncoder
from polytask.model.pairings.twin import Twin
from polytask.tasks.resolved_task import resolve
from polytask.tasks.task import Task

FIVE = Labels("classes", ("0", "1", "2", "3", "4"))
TWO = Labels("binary", ("no", "yes"))
STARS = Labels("regression", low=0, high=5)
RAW = Labels("regression", low=0, high=5, unit=False)
MANY = Labels("multi-label", ("a", "b", "c"))


def logits(rows: int = 6, classes: int = 5, scale: float = 2.0) -> Tensor:
    return torch.randn(rows, classes) * scale


def vectors(rows: int = 6, width: int = 8) -> Output:
    return Output(u=torch.randn(rows, width, requires_grad=True),
                  v=torch.randn(rows, width, requires_grad=True))


# ---- cross-entropy


def smoothed(z: list[float], y: int, weights: list[float], s: float) -> tuple[float, float]:
    """The loss of one row and the weight that the mean divides by, after torch's documentation."""
    logs = [a - math.log(sum(math.exp(b) for b in z)) for a in z]
    spread = -sum(w * log for w, log in zip(weights, logs, strict=True)) / len(z)
    return (1 - s) * -weights[y] * logs[y] + s * spread, weights[y]


@pytest.mark.technique("M-3", "T-2", "P-7", "S-22")
@pytest.mark.parametrize("weights", [None, (0.5, 1, 2, 1, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_a_loop(weights: tuple[float, ...] | None, smoothing: float) -> None:
    z, y = logits(), torch.tensor([0, 1, 2, 3, 4, 2])
    chosen = CrossEntropy(class_weights=weights, label_smoothing=smoothing)
    rows = [smoothed(row, label, list(weights or [1] * 5), smoothing)
            for row, label in zip(z.tolist(), y.tolist(), strict=True)]
    expected = sum(loss for loss, _ in rows) / sum(weight for _, weight in rows)
    assert chosen(Output(logits=z), y).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.technique("G-11")
def test_balanced_weights_are_those_of_g11_and_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    counts = [1092, 2218, 1624, 2322, 1288]  # SST's training rows
    made = CrossEntropy(class_weights="balanced").prepared(FIVE, counts)
    assert made.class_weights == pytest.approx([sum(counts) / (5 * count) for count in counts])
    labels = np.repeat(np.arange(5), counts)
    assert made.class_weights == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(5), y=labels))
    assert loss.read(to_table(made)) == made


def test_a_class_without_rows_gets_a_finite_weight() -> None:
    made = CrossEntropy(class_weights="balanced").prepared(TWO, [4, 0])
    assert made.class_weights == (0.5, 2.0)


# ---- ordinal log loss


def ordinal_log_loss(z: list[float], y: int, alpha: float) -> float:
    """The formula of Castagnos et al. 2022, one class after the other."""
    top = sum(math.exp(each) for each in z)
    loss = 0.0
    for i, each in enumerate(z):
        p = math.exp(each) / top
        loss -= math.log(1 - p) * abs(y - i) ** alpha
    return loss


@pytest.mark.technique("P-5")
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_ordinal_log_loss_equals_a_loop_from_the_paper(alpha: float) -> None:
    z, y = logits(), torch.tensor([0, 1, 2, 3, 4, 2])
    rows = [ordinal_log_loss(row, label, alpha)
            for row, label in zip(z.tolist(), y.tolist(), strict=True)]
    loss = OrdinalLogLoss(alpha=alpha)(Output(logits=z), y)
    assert loss.item() == pytest.approx(sum(rows) / len(rows), rel=1e-4)


def test_ordinal_log_loss_grows_with_the_distance() -> None:
    z = torch.tensor([[4.0, 0, 0, 0, 0]])
    losses = [OrdinalLogLoss()(Output(logits=z), torch.tensor([y])).item() for y in range(5)]
    assert losses == sorted(losses) and losses[0] < losses[1]
    even = [CrossEntropy()(Output(logits=z), torch.tensor([y])).item() for y in range(1, 5)]
    assert max(even) == pytest.approx(min(even))


@pytest.mark.technique("P-5")
@pytest.mark.parametrize("lead", [0.0, 5.0, 17.0, 40.0, 1000.0])
def test_a_sure_mistake_costs_its_lead_and_has_the_whole_gradient(lead: float) -> None:
    """−log(1 − p) grows as the wrong logit's lead does; float32 loses 1 − p from a lead of 17 on."""
    z = torch.tensor([[lead, 0, 0, 0, 0]], requires_grad=True)
    loss = OrdinalLogLoss()(Output(logits=z), torch.tensor([4]))
    loss.backward()
    exact = z.detach().double().requires_grad_()
    others = [torch.cat([exact[0, :i], exact[0, i + 1:]]).logsumexp(0) for i in range(5)]
    terms = [torch.logaddexp(torch.zeros(()).double(), exact[0, i] - others[i]) * (4 - i) ** 1.5
             for i in range(5)]
    torch.stack(terms).sum().backward()
    assert loss.item() == pytest.approx(sum(term.item() for term in terms), rel=1e-5)
    torch.testing.assert_close(z.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)
    assert lead < 17 or z.grad[0, 0].item() == pytest.approx(4**1.5, rel=1e-4)


def test_improbability_is_exact_at_both_ends() -> None:
    z = torch.tensor([[30.0, 0.0, -30.0]])
    exact = -torch.log1p(-z.double().softmax(-1))
    exact[0, 0] = 30.0 - math.log1p(math.exp(-30))  # where 1 − p has no digits left even in float64
    torch.testing.assert_close(improbability(z).double(), exact, rtol=1e-6, atol=0)


@pytest.mark.technique("P-6")
def test_ceoll_is_the_list_of_the_two() -> None:
    z, y = logits(), torch.tensor([0, 1, 2, 3, 4, 2])
    output = Output(logits=z)
    pair = (CrossEntropy(), OrdinalLogLoss())
    assert total(pair, output, y) == CrossEntropy()(output, y) + OrdinalLogLoss()(output, y)
    halved = (CrossEntropy(weight=0.5), OrdinalLogLoss(weight=2))
    expected = 0.5 * CrossEntropy()(output, y) + 2 * OrdinalLogLoss()(output, y)
    torch.testing.assert_close(total(halved, output, y), expected)


# ---- one logit, one score


@pytest.mark.technique("M-8", "T-3")
@pytest.mark.parametrize("weight", [None, 3.0])
def test_binary_cross_entropy_equals_its_formula(weight: float | None) -> None:
    z, y = torch.randn(6), torch.tensor([0, 1, 1, 0, 1, 0])
    p, w = z.sigmoid(), weight or 1.0
    expected = -(w * y * p.log() + (1 - y) * (1 - p).log()).mean()
    loss = BinaryCrossEntropy(positive_weight=weight)(Output(logits=z), y)
    torch.testing.assert_close(loss, expected)


def test_binary_cross_entropy_of_many_labels_is_the_mean_over_labels_and_rows() -> None:
    z, y = torch.randn(6, 3), torch.randint(2, (6, 3)).float()
    columns = [BinaryCrossEntropy()(Output(logits=z[:, k]), y[:, k]) for k in range(3)]
    torch.testing.assert_close(BinaryCrossEntropy()(Output(logits=z), y), sum(columns) / 3)


def test_two_logits_and_one_logit_say_the_same() -> None:
    z, y = torch.randn(6), torch.tensor([0, 1, 1, 0, 1, 0])
    both = torch.stack([torch.zeros(6), z], 1)
    torch.testing.assert_close(CrossEntropy()(Output(logits=both), y),
                               BinaryCrossEntropy()(Output(logits=z), y))


@pytest.mark.technique("M-10", "T-4", "P-4")
def test_a_cosine_is_compared_with_the_unit_label_whatever_the_scale_of_the_labels() -> None:
    output = Output(score=torch.tensor([0.2, 0.9]))
    losses = []
    for labels in (STARS, RAW):
        seen = Cosine().target_labels(labels)
        target = torch.tensor([seen.scaled(value) for value in (0.0, 5.0)])
        losses.append(MeanSquaredError().prepared(seen, None)(output, target).item())
    assert losses == pytest.approx([(0.2**2 + 0.1**2) / 2] * 2)


# ---- two vectors


@pytest.mark.technique("M-11", "S-14")
@pytest.mark.parametrize("margin", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("labels", [STARS, RAW, TWO], ids=["unit", "raw", "binary"])
def test_cosine_embedding_is_torchs(labels: Labels, margin: float) -> None:
    output = vectors(6)
    values = torch.tensor([0.0, 2.0, 2.5, 2.6, 5.0, 1.0])
    target = torch.tensor([0, 0, 1, 1, 1, 0]) if labels is TWO else labels.scaled(values)
    sign = torch.tensor([-1.0, -1, 1, 1, 1, -1])  # half of the range counts as similar
    expected = nn.CosineEmbeddingLoss(margin=margin)(output.u, output.v, sign)
    chosen = CosineEmbedding(margin=margin).prepared(labels, None)
    torch.testing.assert_close(chosen(output, target), expected)
    assert loss.read(to_table(chosen)) == chosen


@pytest.mark.technique("M-11")
@pytest.mark.parametrize(("low", "labels"), [(0, (3.9, 4.0)), (1, (4.1, 4.2)), (-5, (2.9, 3.0))])
def test_the_threshold_of_cosine_embedding_is_a_share_of_the_range(
    low: float, labels: tuple[float, float],
) -> None:
    output, target = vectors(2), torch.tensor(labels)
    chosen = CosineEmbedding(threshold=0.8).prepared(replace(RAW, low=low), None)
    expected = nn.CosineEmbeddingLoss()(output.u, output.v, torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(chosen(output, target), expected)


@pytest.mark.technique("P-8")
@pytest.mark.parametrize("scale", [20.0, 1.0])
def test_multiple_negatives_is_sentence_transformers(scale: float) -> None:
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    theirs = losses.MultipleNegativesRankingLoss(nn.Identity(), scale=scale)
    output, target = vectors(7), torch.tensor([1, 0, 1, 1, 0, 0, 1])
    ours = MultipleNegatives(scale=scale)(output, target)
    kept = target == 1
    expected = theirs.compute_loss_from_embeddings([output.u[kept], output.v[kept]], None)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours, (output.u, output.v)),
                               torch.autograd.grad(expected, (output.u, output.v)))


@pytest.mark.technique("P-9")
@pytest.mark.parametrize("temperature", [0.05, 0.1])
def test_sim_cse_equals_a_loop_from_the_paper(temperature: float) -> None:
    output, target = vectors(5), torch.tensor([1, 1, 0, 1, 1])
    h = [row for row, y in zip(output.u, target, strict=True) if y]
    positive = [row for row, y in zip(output.v, target, strict=True) if y]

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return a @ b / (a.norm() * b.norm()) / temperature

    rows = [-torch.log(similarity(a, positive[i]).exp()
                       / sum(similarity(a, each).exp() for each in positive))
            for i, a in enumerate(h)]
    loss = SimCSE(temperature=temperature)(output, target)
    torch.testing.assert_close(loss, sum(rows) / len(rows))


@pytest.mark.parametrize("chosen", [MultipleNegatives(), SimCSE()], ids=lambda o: o.name)
@pytest.mark.parametrize("positives", [0, 1])
def test_fewer_than_two_positives_cost_nothing_and_have_a_gradient(
    chosen: MultipleNegatives | SimCSE, positives: int
) -> None:
    output, target = vectors(3), torch.tensor([1] * positives + [0] * (3 - positives))
    loss = chosen(output, target)
    loss.backward()
    assert loss.item() == 0 and loss.shape == ()
    assert (output.u.grad == 0).all() and (output.v.grad == 0).all()


@pytest.mark.parametrize("chosen", [MultipleNegatives(), SimCSE()], ids=lambda o: o.name)
def test_positives_of_a_regression_are_the_high_labels_on_either_scale(
    chosen: MultipleNegatives | SimCSE,
) -> None:
    output, values = vectors(5), torch.tensor([5.0, 3.9, 4.0, 4.5, 1.0])
    expected = chosen(output, torch.tensor([1, 0, 1, 1, 0]))
    from_one = chosen(output, torch.tensor([1, 0, 0, 1, 0]))  # of 1 to 5 four fifths are at 4.2
    for labels in (STARS, RAW):
        for low, right in ((0, expected), (1, from_one)):
            task = replace(labels, low=low)
            loss = chosen.prepared(task, None)(output, task.scaled(values))
            torch.testing.assert_close(loss, right)


@pytest.mark.parametrize("chosen", [MultipleNegatives(), SimCSE()], ids=lambda o: o.name)
def test_under_twin_every_row_is_a_positive(chosen: MultipleNegatives | SimCSE) -> None:
    output, target = vectors(4), torch.tensor([0, 1, 0, 4])
    twin = chosen.paired(Twin())
    assert twin.problem(LossContext(FIVE)) is None
    torch.testing.assert_close(twin.prepared(FIVE, None)(output, target),
                               chosen(output, torch.ones(4, dtype=torch.long)))
    assert chosen.paired(BiEncoder()).problem(LossContext(FIVE)) is not None
    assert loss.read(to_table(twin)) == twin


@pytest.mark.parametrize("chosen", [MultipleNegatives(), SimCSE()], ids=lambda o: o.name)
def test_of_a_draw_in_parts_every_positive_counts_alike(chosen: MultipleNegatives | SimCSE) -> None:
    output, target = vectors(8), torch.tensor([1, 1, 0, 0, 1, 1, 1, 1])
    parts = [slice(0, 4), slice(4, 8)]
    shares = [share_of(chosen, target[part], target) for part in parts]
    torch.testing.assert_close(torch.stack(shares), torch.tensor([2 / 6, 4 / 6]))
    of_two, of_four = (chosen(output[part], target[part]) for part in parts)
    torch.testing.assert_close(shares[0] * of_two + shares[1] * of_four, (2 * of_two + 4 * of_four) / 6)
    twin = chosen.paired(Twin())
    assert [share_of(twin, target[part], target) for part in parts] == [0.5, 0.5]
    assert share_of(chosen, target[2:4], target[2:4] * 0) == 0, "no positive in the whole draw"


# ---- refusals


@pytest.mark.parametrize(("chosen", "labels", "problem"), [
    (MeanSquaredError(), FIVE,
     'loss "mean_squared_error" needs a score but a head for 5 classes gives logits; use '
     'loss "cross_entropy", or kind = "regression"'),
    (CrossEntropy(), STARS,
     'loss "cross_entropy" needs classes but the labels are numbers from 0 to 5; use '
     'loss "mean_squared_error", or kind = "ordinal"'),
    (CrossEntropy(), MANY,
     'loss "cross_entropy" needs one class a row but a row has any number of 3 labels; use '
     'loss "binary_cross_entropy"'),
    (CrossEntropy(class_weights=(1, 2)), FIVE,
     "class_weights: found 2 weights, expected 5, one for each of 0, 1, 2, 3, 4"),
    (BinaryCrossEntropy(), FIVE,
     'loss "binary_cross_entropy" needs two classes or a multi-label task but the labels are '
     '5 classes; use loss "cross_entropy"'),
    (OrdinalLogLoss(), Labels("classes", ("bad", "fair", "good")),
     'loss "ordinal_log_loss" needs ordered classes but bad, fair, good have none; set '
     'kind = "ordinal" and classes = [...] from the lowest to the highest'),
    (CosineEmbedding(), FIVE,
     'loss "cosine_embedding" needs two classes or a number but the labels are 5 classes; use '
     'loss "cross_entropy"'),
    (MultipleNegatives(), FIVE,
     'loss "multiple_negatives" needs rows that are positive but the labels are 5 classes; '
     'use two classes, a number, or rows = "all"'),
])
def test_labels_that_a_loss_cannot_learn_from_are_refused_with_the_remedy(
    chosen: CrossEntropy, labels: Labels, problem: str
) -> None:
    assert chosen.problem(LossContext(labels)) == problem


@pytest.mark.parametrize(("chosen", "labels"), [
    (OrdinalLogLoss(), FIVE), (OrdinalLogLoss(), Labels("ordinal", ("bad", "fair", "good"))),
    (CrossEntropy(class_weights=(1, 2)), TWO), (MeanSquaredError(), TWO), (SimCSE(), STARS),
])
def test_labels_that_a_loss_can_learn_from_are_accepted(chosen: CrossEntropy, labels: Labels) -> None:
    assert chosen.problem(LossContext(labels)) is None


def test_a_task_without_positive_rows_is_refused() -> None:
    chosen = MultipleNegatives()
    assert chosen.problem(LossContext(TWO, np.array([0, 1, 1]), 2)) is None
    assert chosen.problem(LossContext(TWO, np.zeros(10, np.int64), 2)) == (
        '"multiple_negatives" needs rows of class "yes" but of the training rows 0 are; use '
        '"binary_cross_entropy"')
    assert str(chosen.problem(LossContext(TWO, np.array([0, 1, 1]), 1))).endswith(
        "the smallest batch (batch_size, schedule, accumulate) has 1 row; use 2 or more")
    assert SimCSE(rows="all").problem(LossContext(TWO, np.zeros(10, np.int64), 2)) is None


def test_a_regression_without_positive_rows_is_refused() -> None:
    stars = Labels("regression", (), 0.0, 5.0)
    chosen = MultipleNegatives().prepared(stars, None)
    assert chosen.problem(LossContext(stars, np.array([0.8, 0.9, 0.2], np.float32), 16)) is None
    assert chosen.problem(LossContext(stars, np.array([0.78, 0.9, 0.2], np.float32), 16)) == (
        '"multiple_negatives" needs rows labelled 4 or more, but of the training rows 1 are; lower its '
        '"positive", or use "mean_squared_error"')
    raw = Labels("regression", (), 0.0, 5.0, unit=False)
    context = LossContext(raw, np.array([4.0, 4.5]), 16)
    assert MultipleNegatives().prepared(raw, None).problem(context) is None


def test_cosine_embedding_of_one_text_is_refused() -> None:
    task = Task(train="a.csv", text=("a",), label="b", pairing=Twin(), loss=(CosineEmbedding(),))
    assert list(task.problems()) == [
        'loss: loss "cosine_embedding" compares two texts but pairing "twin" has one; use loss "sim_cse"']


def test_a_head_that_nothing_would_train_is_refused() -> None:
    similarity = Labels("regression", (), 0, 5)

    def task(*losses: Any) -> Task:
        return Task(train="x.csv", text=("a", "b"), label="y", pairing=BiEncoder(), loss=losses)

    with pytest.raises(ConfigError, match=r'cosine_embedding would leave head "linear" at its random '
                       r'initialisation; add "mean_squared_error", or set head = "cosine"'):
        resolve("sts", task(CosineEmbedding()), similarity, None, 32)
    both = resolve("sts", task(CosineEmbedding(), MeanSquaredError()), similarity, None, 32)
    assert len(both.losses) == 2


@pytest.mark.parametrize(("table", "said"), [
    ({"type": "cross_entropy", "label_smoothing": 1.0}, "found 1.0, expected less than 1"),
    ({"type": "cross_entropy", "class_weights": [1, -2]}, "expected all above 0"),
    ({"type": "ordinal_log_loss", "alpha": 0}, "found 0, expected greater than 0"),
    ({"type": "cosine_embedding", "threshold": 2.5}, "found 2.5, expected less than or equal to 1"),
    ({"type": "sim_cse", "temperature": 0}, "found 0, expected greater than 0"),
    ({"type": "sim_cse", "rows": "positives"}, 'did you mean "positive"'),
    ({"type": "sim_cse", "temprature": 0.1}, 'is not a setting; did you mean "temperature"'),
    ("cross_entrpy", 'did you mean "cross_entropy"'),
])
def test_a_wrong_setting_is_refused(table: object, said: str) -> None:
    with pytest.raises(Exception, match=said):
        loss.read(table)


# ---- a custom loss

def test_a_custom_loss_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_parts.py").write_text(FOCAL.replace("eq. 4.", "eq. 4, alone."))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loss, "members", dict(loss.members))
    focal = loss.read({"type": "my_own_parts:Focal", "gamma": 0, "weight": 0.5})
    assert focal.outputs(FIVE) == 5 and focal.problem(LossContext(FIVE)) is None
    assert focal.prepared(FIVE, [1] * 5) is focal and focal.paired(BiEncoder()) is focal
    z, y = logits(), torch.tensor([0, 1, 2, 3, 4, 2])
    output = Output(logits=z)
    torch.testing.assert_close(total((focal,), output, y), 0.5 * CrossEntropy()(output, y))
    (row,) = [about for about in loss.describe() if about["source"] == "Lin et al. 2017, eq. 4, alone."]
    assert row["name"] == "focal"
    assert [field["name"] for field in row["fields"]] == ["gamma", "weight"]
